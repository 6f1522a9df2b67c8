"""Algorithm 1 of the paper in plain NumPy loops, float64: slow, obvious, and sharing no code."""

import math

import numpy as np


def softmax(logits):
  largest = max(float(z) for z in logits)
  weights = [math.exp(float(z) - largest) for z in logits]
  return np.array([w / math.fsum(weights) for w in weights])


def confidence(logits):
  return float(max(softmax(logits)))


def first_spike(logits, theta, length=None):
  """Lines 3-13 for one sequence: `[T][C]` outputs -> (zero-based step, spiked, label).

  theta is a number or one a step. Where two neurons cross at once the larger is the spike
  (eq. 1 speaks of the maximum activation); of equal ones the first.
  """
  last = (len(logits) if length is None else int(length)) - 1
  step, spiked = last, False
  for t in range(last + 1):
    threshold = float(theta[t]) if np.ndim(theta) else float(theta)
    if confidence(logits[t]) >= threshold:
      step, spiked = t, True
      break
  label = 0
  for j in range(len(logits[step])):
    if logits[step][j] > logits[step][label]:
      label = j
  return step, spiked, label


def first_spikes(logits, theta, lengths=None):
  """`first_spike` of `[B][T][C]`: three arrays `[B]`."""
  lengths = [None] * len(logits) if lengths is None else lengths
  rows = [first_spike(row, theta, n) for row, n in zip(logits, lengths, strict=True)]
  return tuple(np.array(column) for column in zip(*rows, strict=True))


def knife_edge(logits, theta, width=1e-5):
  """Whether some confidence is so near theta that float32 may see the other side of it."""
  theta = np.broadcast_to(np.asarray(theta, float), np.shape(logits)[:-1])
  flat = np.reshape(logits, (-1, np.shape(logits)[-1]))
  return any(abs(confidence(z) - t) < width for z, t in zip(flat, theta.ravel(), strict=True))


def cross_entropy(logits, label):
  largest = max(float(z) for z in logits)
  return math.log(math.fsum(math.exp(float(z) - largest) for z in logits)) - (
    float(logits[label]) - largest
  )


def entropy(logits):
  return -math.fsum(p * math.log(p) for p in softmax(logits) if p > 0)


def rc_loss(logits, label, beta=0.0):
  """Eq. 7 for one output."""
  return cross_entropy(logits, label) - beta * entropy(logits)


def sigmoid(z):
  return 1 / (1 + np.exp(-z))


def lstm_step(weights, c, h, x):
  """One LSTM step; `weights` has W `[F, 4 H]`, U `[H, 4 H]`, b `[4 H]`, gates in order i f g o."""
  units = len(h)
  gates = x @ weights["W"] + h @ weights["U"] + weights["b"]
  i, f, o = (sigmoid(gates[k * units : (k + 1) * units]) for k in (0, 1, 3))
  g = np.tanh(gates[2 * units : 3 * units])
  c = f * c + i * g
  return c, o * np.tanh(c)


def lstm_to_spike(weights, xs, theta, length=None):
  """Algorithm 1 with an LSTM and a dense output V, a: stops where it spikes.

  Returns the logits at the spike and its step.
  """
  units = len(weights["U"])
  c, h = np.zeros(units), np.zeros(units)
  last = (len(xs) if length is None else int(length)) - 1
  for t in range(last + 1):
    c, h = lstm_step(weights, c, h, xs[t])
    logits = h @ weights["V"] + weights["a"]
    if confidence(logits) >= theta:
      return logits, t
  return logits, last

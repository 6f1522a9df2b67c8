"""One threshold a step, learnt from the recorded outputs of a network that is trained."""

from typing import NamedTuple

import numpy as np

from rc_jax.batches import Batches
from rc_jax.checks import check_batch
from rc_jax.types import Batch

_ROUNDING = float(np.finfo(np.float32).eps)
_HIGHEST = 1 - _ROUNDING / 2  # nothing but a confidence of 1 reaches it
_MOST_SWEEPS = 6  # each one raises the mean value or is the last
_CONSTANTS = 66  # quantiles of the confidences, of which the inner ones are tried
_FEWEST_ROWS = 10  # that reach a step, for its threshold to be learnt
_MOST_LOG_ODDS = 15.0
_PRIOR = 1.0  # weight of the network's own probabilities in their calibration


def learn_thresholds(recorded: Batches, cost: float) -> np.ndarray:
  """Learns one threshold a step for any training, on held-out data.

  It maximizes `accuracy - cost * mean number of steps seen` over theta `[T]`, the problem of Tan et
  al. 2021, who bound the mean latency where this charges for it. Whether a row is right at a step
  is a coin, of which a few thousand rows say little; so a row counts with the probability that it
  is right, as the held-out data calibrate it. What a row gains by stopping rather than waiting is
  then fitted by a parabola in that probability, and a step's threshold is where the fit is worth
  most (Longstaff and Schwartz 2001 fit the value of waiting so). From the best constant theta on,
  steps are gone through from the last to the first, each with the others as they are, until a whole
  sweep gains nothing. Costs from small to large give a curve of accuracy against time.

  Args:
    recorded: batches whose inputs are logits `[B, T, C]`, as `record` gives them, of one T.
    cost: of a step, in units of accuracy, >= 0.

  Returns:
    `[T]` float32 in (1/C, 1), to be given to `evaluate` as theta.

  Raises:
    ValueError: a negative cost, no row, or labels or lengths out of range.
  """
  if not cost >= 0:
    raise ValueError(f"cost is {cost}; a step costs 0 or more")
  rows = _read_rows(recorded)
  steps = rows.confidence.shape[1]
  worth = rows.right - cost * np.arange(1, steps + 1)
  value = lambda theta: np.mean(_take(worth, _find_stops(rows, theta, 0)))
  grid = np.quantile(rows.confidence, np.linspace(0, 1, _CONSTANTS)[1:-1])
  grid = np.clip([*grid, _HIGHEST], _lowest(rows.classes), _HIGHEST)
  theta = max((np.full(steps, constant) for constant in grid), key=value)
  reached = value(theta)
  for _ in range(_MOST_SWEEPS):
    before = reached
    for step in reversed(range(steps)):
      changed = theta.copy()
      changed[step] = _find_best(rows, worth, theta, step)
      if (now := value(changed)) > reached + 1e-9:
        theta, reached = changed, now
    if reached == before:
      break
  return theta.astype(np.float32)


class _Rows(NamedTuple):
  """Confidence and probability of being right `[N, T]`, lengths `[N]`, and C."""

  confidence: np.ndarray
  right: np.ndarray
  lengths: np.ndarray
  classes: int


def _read_rows(recorded: Batches) -> _Rows:
  batches = [recorded] if isinstance(recorded, Batch) else list(recorded)
  if not batches:
    raise ValueError("there is nothing to learn thresholds from: recorded is empty")
  for batch in batches:
    check_batch(batch, num_classes=batch.inputs.shape[-1])
  logits = np.concatenate([np.asarray(batch.inputs, np.float64) for batch in batches])
  labels = np.concatenate([np.asarray(batch.labels) for batch in batches])
  lengths = np.concatenate([np.asarray(batch.lengths) for batch in batches])
  weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
  confidence = weights.max(axis=-1) / weights.sum(axis=-1)
  is_right = logits.argmax(axis=-1) == labels[:, None]
  return _Rows(confidence, _calibrate(confidence, is_right, lengths), lengths, logits.shape[-1])


def _calibrate(confidence: np.ndarray, is_right: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """The probability `[N, T]` that a row is right, by logistic regression on confidence and step.

  Features are the log odds of the confidence, the step, and their product. The coefficients are
  drawn to those of a calibrated network, as by one row of each feature's unit.
  """
  steps = confidence.shape[1]
  time = np.broadcast_to(np.linspace(-1, 1, steps), confidence.shape)
  odds = np.log(confidence) - np.log(np.maximum(1 - confidence, 1e-300))
  odds = np.minimum(odds, _MOST_LOG_ODDS)
  features = np.stack([np.ones_like(odds), odds, time, time * odds], axis=-1)
  heard = np.arange(steps) < lengths[:, None]
  weights = _fit_logistic(features[heard], is_right[heard], np.array([0.0, 1.0, 0.0, 0.0]))
  return _sigmoid(features @ weights)


def _fit_logistic(x: np.ndarray, y: np.ndarray, prior: np.ndarray) -> np.ndarray:
  """Logistic regression of `y` `[n]` on `x` `[n, k]` by Newton's method, from a prior on."""

  def loss(weights: np.ndarray) -> float:
    log_odds = np.where(y, 1, -1) * (x @ weights)
    return np.sum(np.logaddexp(0, -log_odds)) + 0.5 * _PRIOR * np.sum((weights - prior) ** 2)

  weights = prior
  for _ in range(20):
    p = _sigmoid(x @ weights)
    slope = x.T @ (y - p) - _PRIOR * (weights - prior)
    curvature = (x * (p * (1 - p))[:, None]).T @ x + _PRIOR * np.eye(len(prior))
    change = np.linalg.solve(curvature, slope)
    while loss(weights + change) > loss(weights) and np.max(np.abs(change)) > 1e-6:
      change = change / 2
    weights = weights + change
    if np.max(np.abs(change)) <= 1e-6:
      break
  return weights


def _sigmoid(x: np.ndarray) -> np.ndarray:
  return 0.5 * (1 + np.tanh(x / 2))


def _find_stops(rows: _Rows, theta: np.ndarray, first: int) -> np.ndarray:
  """The step `[N]` at which each row stops if it may from step `first` on."""
  time = np.arange(len(theta))
  stops = (rows.confidence >= theta) & (time >= first) & (time < rows.lengths[:, None])
  return np.where(stops.any(axis=1), stops.argmax(axis=1), rows.lengths - 1)


def _take(worth: np.ndarray, stop: np.ndarray) -> np.ndarray:
  """What each row is worth `[N]` if it stops at these steps."""
  return worth[np.arange(len(stop)), stop]


def _lowest(classes: int) -> float:
  """A threshold that every confidence reaches, but for rounding."""
  return 1 / classes + 1e-6


def _find_best(rows: _Rows, worth: np.ndarray, theta: np.ndarray, step: int) -> float:
  """The best threshold of one step for the rows that reach it, where the others stay."""
  reach = (_find_stops(rows, theta, 0) >= step) & (rows.lengths - 1 > step)
  if np.count_nonzero(reach) < _FEWEST_ROWS:
    return theta[step]
  waiting = _take(worth, _find_stops(rows, theta, step + 1))
  gain = (worth[:, step] - waiting)[reach]
  powers = rows.right[reach, step][:, None] ** np.arange(3)
  fitted = powers @ np.linalg.lstsq(powers, gain, rcond=None)[0]
  confidence = rows.confidence[reach, step]
  order = np.argsort(-confidence, kind="stable")
  confidence, total = confidence[order], np.cumsum(fitted[order])
  # Entry k: the threshold that stops the k most confident rows, halfway to the next one.
  between = [_HIGHEST, *(confidence[:-1] + confidence[1:]) / 2, _lowest(rows.classes)]
  return float(np.clip(between[np.argmax([0, *total])], _lowest(rows.classes), _HIGHEST))

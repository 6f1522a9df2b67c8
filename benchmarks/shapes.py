"""The networks that benchmarks run, with random weights, and the loss whose time they take."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rc_jax import Batch, Classifier, Engine, Metrics, conv_lstm, lstm, make_train


class Shape(NamedTuple):
  """A network and its sequences: units, hidden dense layers, classes, steps, a step's input."""

  units: int
  hidden: tuple[int, ...]
  classes: int
  steps: int
  features: tuple[int, ...]

  def classifier(self) -> Classifier:
    """An LSTM, or a ConvLSTM where a step is an image."""
    if len(self.features) == 1:
      return lstm(self.units, self.classes, hidden=self.hidden)
    height, width, _ = self.features
    return conv_lstm(self.units, self.classes, (height, width), hidden=self.hidden)

  def params(self) -> Any:
    """Random parameters."""
    return jax.jit(self.classifier().init)(jax.random.key(0), jnp.zeros(self.features))


PAPER = {
  "spotting": Shape(125, (), 2, 25, (1,)),
  "two_sequence": Shape(125, (), 2, 40, (1,)),
  "temporal_mnist": Shape(340, (), 10, 10, (784,)),
  "speech": Shape(128, (32,), 12, 81, (420,)),
}
SHAPES = PAPER | {
  "conv_lstm_10": Shape(10, (), 10, 10, (28, 28, 1)),
  "conv_lstm_20": Shape(20, (), 10, 10, (28, 28, 1)),
  "big": Shape(1024, (), 12, 256, (128,)),
}


def forced(classifier: Classifier) -> Classifier:
  """The classifier with one input channel more, whose last number is added to its first logit."""

  def encode(params: Any, x: jax.Array) -> Any:
    return classifier.encode(params, x[..., :-1]), x.reshape(-1)[-1]

  def step(params: Any, carry: Any, encoded: Any) -> Any:
    carry, output = classifier.step(params, carry, encoded[0])
    return carry, (output, encoded[1])

  def decode(params: Any, output: Any) -> jax.Array:
    return classifier.decode(params, output[0]).at[0].add(output[1])

  return classifier._replace(encode=encode, step=step, decode=decode)


def spike_steps(rng: np.random.Generator, rows: int, steps: int, fraction: float) -> np.ndarray:
  """Zero-based spike steps `[B]`, Beta-distributed with mean(step + 1) / T near the fraction."""
  if fraction in (0.0, 1.0):
    return np.full(rows, round(fraction * (steps - 1)))
  share = rng.beta(4 * fraction, 4 * (1 - fraction), rows)
  return np.clip(np.ceil(share * steps) - 1, 0, steps - 1).astype(int)


def forced_inputs(
  rng: np.random.Generator, shape: Shape, rows: int, fraction: float, push: float = 30.0
) -> tuple[jax.Array, np.ndarray]:
  """Random inputs of a `forced` classifier, whose last channel makes it spike when it is told to.

  Args:
    rng: consumed.
    shape: of the network.
    rows: B.
    fraction: mean share of the steps up to the spike.
    push: what is added to the first logit at the spike; far above the logits of random weights.

  Returns:
    `[B, T, ..., F + 1]` float32 inputs, and `[B]` zero-based spike steps.
  """
  spikes = spike_steps(rng, rows, shape.steps, fraction)
  channels = (*shape.features[:-1], shape.features[-1] + 1)
  xs = 0.1 * rng.standard_normal((rows, shape.steps, *channels), np.float32)
  xs[..., -1] = 0.0
  xs.reshape(rows, shape.steps, -1)[..., -1] = push * (np.arange(shape.steps) == spikes[:, None])
  return jnp.asarray(xs), spikes


def make_loss(classifier: Classifier, engine: Engine = "auto", objective: Any = "rc") -> Any:
  """What training differentiates, `(params, xs, labels) -> (mean loss, Metrics)`, at theta .95."""
  train = make_train(classifier, optax.identity(), objective=objective, engine=engine)

  def loss(params: Any, xs: jax.Array, labels: jax.Array) -> tuple[jax.Array, Metrics]:
    lengths = jnp.full(xs.shape[0], xs.shape[1], jnp.int32)
    return train.loss(params, Batch(xs, labels, lengths), jnp.int32(0))

  return loss

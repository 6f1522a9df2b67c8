"""The networks that benchmarks run, with random weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rc_jax import Classifier, conv_lstm, lstm


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
    carry, logits = classifier.step(params, carry, encoded[0])
    return carry, logits.at[0].add(encoded[1])

  return classifier._replace(encode=encode, step=step)


def start(shape: Shape, rows: int) -> tuple[Any, Any]:
  """Parameters, and the carries `[B, ...]` before the first step."""
  classifier = shape.classifier()
  params = jax.jit(classifier.init)(jax.random.key(0), jnp.zeros(shape.features))
  rowwise = lambda a: jnp.zeros((rows, *a.shape), a.dtype)
  return params, jax.tree.map(rowwise, classifier.initial_carry(params))

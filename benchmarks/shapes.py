"""The networks that benchmarks run, with random weights, and the loss whose time they take."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rc_jax import Classifier, conv_lstm, lstm, rc_loss
from rc_jax.unroll import Engine, unroll_and_count


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


def loss(
  classifier: Classifier,
  engine: Engine,
  params: Any,
  carry: Any,
  xs: jax.Array,
  labels: jax.Array,
  *,
  to_end: bool = False,
  zero_carry: bool = False,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """Mean loss of B rows at theta .95, with their spike steps `[B]` and the share computed."""
  code, computed = unroll_and_count(
    classifier.step,
    params,
    carry,
    xs,
    0.95,
    None,
    encode=classifier.encode,
    decode=classifier.decode,
    engine=engine,
    to_end=to_end,
    zero_carry=zero_carry,
  )
  return jnp.mean(rc_loss(code.logits, labels)), (code.step, computed)

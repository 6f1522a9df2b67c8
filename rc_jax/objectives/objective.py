"""What an objective is: a loss of every step of a row, and what a decision reads at each step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rc_jax.engine import vary_alike
from rc_jax.function_checks import check_act
from rc_jax.types import Array, Carry, Classifier, Encoded, Key, Params

RowLoss = Callable[[Key | None, Array, Array, Array], Array]


class Act(NamedTuple):
  """Turns a network's outputs, step by step, into the logits that theta is compared with.

  It goes forward in time, so that a rule that looks back (patience, a sum) decides on a stream as
  it does on recorded outputs.

  Attributes:
    initial: `O -> state` before the first step, where O is the number of outputs.
    step: `(state, outputs [O] float32) -> (state, logits [C] float32)`; theta is compared with the
      largest probability of their softmax, which is never below 1/C.
  """

  initial: Callable[[int], Any]
  step: Callable[[Any, Array], tuple[Any, Array]]


class Objective(NamedTuple):
  """What a training minimizes, where it needs more than one step of a row.

  Attributes:
    loss: `(key, outputs [T, O] float32, label int32, length int32) -> float scalar` of one row; the
      library maps it over rows. Outputs at or after `length` are zeros and carry no gradient. The
      key is the row's own in this update, or None where `Train.loss` was given none. A row whose
      label is not in `0..C-1` has a loss and a gradient of NaN, whatever this gives.
    act: what a decision reads at each step; None reads the outputs as they are.
    extra_outputs: O - C, outputs of the network beyond its C classes, behind them.
    until_spike: the loss's `length` is the number of steps up to the row's first spike, and early
      exit computes none after it; see `objectives.until_spike`. Not beside `act` or
      `extra_outputs`.
  """

  loss: RowLoss
  act: Act | None = None
  extra_outputs: int = 0
  until_spike: bool = False


def with_act(classifier: Classifier, act: Act | None, num_outputs: int) -> Classifier:
  """Makes the classifier whose logits are what a decision reads, of the network that was trained.

  `evaluate`, `frontier`, `accuracy_at_step`, `record` and `make_stream` read it as any other, with
  the same parameters.

  Args:
    classifier: of O outputs. A `with_dtype` goes around the network, not around what is made here:
      some acts count steps, which few bits cannot.
    act: of the objective; None gives the classifier back.
    num_outputs: O.

  Returns:
    Classifier of C outputs.
  """
  if act is None:
    return classifier

  def step(params: Params, carry: Carry, encoded: Encoded) -> tuple[Carry, Array]:
    inner, state = carry
    inner, output = classifier.step(params, inner, encoded)
    state, logits = act.step(state, classifier.decode(params, output).astype(jnp.float32))
    return (inner, state), logits

  return Classifier(
    classifier.init,
    initial_carry=lambda params: (classifier.initial_carry(params), act.initial(num_outputs)),
    step=step,
    encode=classifier.encode,
  )


def run_act(act: Act | None, outputs: Array, classes: int) -> Array:
  """What a decision reads at each step of one row.

  Args:
    act: of the objective; None reads the outputs as they are.
    outputs: `[T, O]` of the network.
    classes: C.

  Returns:
    `[T, C]` float32 logits.

  Raises:
    ValueError: `act` gives no logits `[C]`, or changes its state's structure, shape or dtype.
  """
  outputs = outputs.astype(jnp.float32)
  if act is None:
    return outputs
  state, outputs = vary_alike(act.initial(outputs.shape[-1]), outputs)
  check_act(act.step, state, outputs[0], classes)
  return jax.lax.scan(act.step, state, outputs)[1]


def logits_of(label: Array, probability: Array, classes: int) -> Array:
  """Logits `[C]` that give one class a probability, and the others what is left in equal parts.

  Args:
    label: scalar int, the class.
    probability: scalar; what lies below 1.001/C is raised to it, so that the class stays the most
      probable one.
    classes: C.
  """
  rounding = jnp.finfo(jnp.float32).eps
  probability = jnp.clip(probability, 1.001 / classes, 1 - rounding)
  rest = jnp.log((1 - probability) / (classes - 1))
  return jnp.where(jnp.arange(classes) == label, jnp.log(probability), rest)


def mean_over_steps(values: Array, length: Array) -> Array:
  """The mean of the values `[T]` of the steps before `length`."""
  return sum_over_steps(values, length) / length.astype(values.dtype)


def sum_over_steps(values: Array, length: Array) -> Array:
  """The sum of the values `[T]` of the steps before `length`."""
  return jnp.sum(jnp.where(jnp.arange(len(values)) < length, values, 0))


def count_steps(outputs: Array) -> Array:
  """Numbers of steps seen, 1..T: `[T, O]` -> `[T]` float32."""
  return jnp.arange(1, len(outputs) + 1, dtype=jnp.float32)


def cross_entropies(logits: Array, label: Array) -> Array:
  """Cross-entropy of each step's softmax with the label: `[T, C]` -> `[T]` float32, in nats."""
  return -jax.nn.log_softmax(logits)[:, label]

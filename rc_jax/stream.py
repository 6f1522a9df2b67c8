"""Decides while the input arrives, a step at a time."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export

from rc_jax.checks import check_classes, check_classifier, check_params, check_theta
from rc_jax.engine import initial_carries, select_rows
from rc_jax.function_checks import check_carry, check_logits
from rc_jax.rank_code import confidence
from rc_jax.types import Array, Carry, Classifier, Inputs, Params


class Decision(NamedTuple):
  """The decision of each row so far.

  Attributes:
    spiked: `[B]` bool, whether the row has decided; stays True until the row begins anew.
    step: `[B]` int32, zero-based: of the spike, or the latest step where there is none yet.
    label: `[B]` int32 at `step`.
    confidence: `[B]` float32, probability of `label` at `step`.
    probabilities: `[B, C]` float32 at the latest step, which may come after the spike.
    steps_seen: `[B]` int32 since the row began; goes on after a spike.
  """

  spiked: Array
  step: Array
  label: Array
  confidence: Array
  probabilities: Array
  steps_seen: Array


class StreamState(NamedTuple):
  """The state of a stream, with leading axis `[B]`.

  Attributes:
    carry: of the classifier, one a row.
    steps_seen: `[B]` int32 since the row began.
    spike: spiked, step, label and confidence as `push` last gave them; step is -1 before the first.
  """

  carry: Carry
  steps_seen: Array
  spike: tuple[Array, Array, Array, Array]


for _type in (Decision, StreamState):  # so that `jax.export` can write a `push`
  export.register_namedtuple_serialization(_type, serialized_name=f"rc_jax.{_type.__name__}")


class Stream(NamedTuple):
  """Three pure functions; jit `push` and `reset`, whose programs hold the parameters as constants.

  Attributes:
    init: `rows -> StreamState`, of a Python number of rows.
    push: `(state, xs) -> (state, Decision)`; `xs` is one step's input of every row: `[B, ...]`,
      or a tree of such arrays.
    reset: `(state, which [B] bool) -> state`; those rows begin a new sequence.
  """

  init: Callable[[int], StreamState]
  push: Callable[[StreamState, Inputs], tuple[StreamState, Decision]]
  reset: Callable[[StreamState, Array], StreamState]


def make_stream(
  classifier: Classifier,
  params: Params,
  theta: Any,
  *,
  per_class: bool = False,
  reset_on_decision: bool = False,
) -> Stream:
  """Makes a stream: after t steps each row's decision is `rank_code`'s for its first t steps.

  Args:
    classifier: any `Classifier`.
    params: of the classifier.
    theta: threshold in (1/C, 1): a scalar, or `[T]`, one a step, whose last holds after T steps.
    per_class: whether theta is `[C]`, one a class: a row spikes when its most probable class
      reaches its own.
    reset_on_decision: whether a row that has decided begins anew at the next push, for input
      without an end; False: it keeps its decision until `reset`.

  Returns:
    Stream(init, push, reset).

  Raises:
    ValueError: no `Classifier`, or theta out of range; at a push, a theta that is always crossed
      (<= 1/C) or of another number of classes, logits that are not floats `[C]` of two classes or
      more, inputs of another number of rows, or a step that changes its carry's shape or type.
  """
  check_classifier(classifier)
  check_params(params)
  if per_class and (jnp.ndim(theta) > 1 or jnp.shape(theta) == (0,)):
    raise ValueError(f"theta has shape {jnp.shape(theta)}; with per_class give one a class: [C]")
  check_theta(theta)
  thresholds = jnp.atleast_1d(jnp.asarray(theta, jnp.float32))

  def init(rows: int) -> StreamState:
    zeros = functools.partial(jnp.zeros, rows)  # an array for each, so that all may be donated
    spike = (zeros(bool), zeros(jnp.int32) - 1, zeros(jnp.int32), zeros(jnp.float32))
    return StreamState(initial_carries(classifier, params, rows), zeros(jnp.int32), spike)

  step_rows = jax.vmap(functools.partial(classifier.run_step, params))

  def push(state: StreamState, xs: Inputs) -> tuple[StreamState, Decision]:
    _check_rows(xs, len(state.steps_seen))
    if reset_on_decision:
      state = reset(state, state.spike[0])
    carry, logits = step_rows(state.carry, xs)
    check_carry(state.carry, carry)
    one_row = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), logits)
    (classes,) = check_logits(classifier.decode, one_row).shape
    _check_thresholds(theta, classes, per_class)
    step, label = state.steps_seen, jnp.argmax(logits, axis=-1).astype(jnp.int32)
    at = label if per_class else jnp.minimum(step, len(thresholds) - 1)
    sure = confidence(logits)
    new = (sure >= thresholds[at], step, label, sure)
    spike = select_rows(state.spike[0], state.spike, new)
    probabilities = jax.nn.softmax(logits.astype(jnp.float32))
    state = StreamState(carry, step + 1, spike)
    spiked, spike_step, spike_label, sure_then = spike
    decision = Decision(spiked, spike_step, spike_label, sure_then, probabilities, state.steps_seen)
    return state, decision

  def reset(state: StreamState, which: Array) -> StreamState:
    rows, which = len(state.steps_seen), jnp.asarray(which)
    if which.shape != (rows,):
      raise ValueError(f"which has shape {list(which.shape)}; give a bool a row: [{rows}]")
    return select_rows(which, init(rows), state)

  return Stream(init, push, reset)


def _check_thresholds(theta: Any, classes: int, per_class: bool) -> None:
  if per_class and jnp.shape(theta) not in ((), (classes,)):
    raise ValueError(
      f"theta has shape {jnp.shape(theta)}; with per_class give one threshold a class: [{classes}]"
    )
  check_classes(classes)
  check_theta(theta, classes)


def _check_rows(xs: Inputs, rows: int) -> None:
  for path, leaf in jax.tree_util.tree_leaves_with_path(xs):
    shape = jnp.shape(leaf)
    if shape[:1] != (rows,):
      name = f"xs{jax.tree_util.keystr(path)}"
      raise ValueError(
        f"{name} has shape {list(shape)}, but the stream has {rows} rows; give [{rows}, ...]"
      )

"""From steps to events: a network that runs on and on, and says each word once.

A network of rank coding decides about a sequence that begins where a word does. In sound without an
end nobody says where that is. So the spotter begins anew after each decision, and the network
itself waits until it is sure. What becomes of a decision is policy: some classes are not reported,
and within the refractory time after an event no second one follows.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.speech import UNKNOWN, heard_ms
from deploy.front_end import FrontEnd, FrontEndState
from rc_jax import Classifier, check_theta
from rc_jax.types import Array, Carry, Encoded, Params

BLOCK = 64  # steps to one call of the jitted loop; what is left over goes one by one


class Event(NamedTuple):
  """A decision that is reported.

  Attributes:
    seconds: of sound heard when it was made, from the first sample on.
    label: class.
    word: its name.
    probability: of the class, at that step.
    probabilities: `[C]` float32, of all classes.
    waited_seconds: 10 ms for each step since the network last began anew.
  """

  seconds: float
  label: int
  word: str
  probability: float
  probabilities: np.ndarray
  waited_seconds: float


NetworkState = tuple[Carry, Array, Array, Array]


class Loop(NamedTuple):
  """Two pure functions on steps.

  Attributes:
    init: `() -> state`: carry, steps since the network began anew, class of the last step and for
      how many steps on end it has reached its threshold.
    run: `(thresholds [C], state, steps [k, ...]) -> (state, (label [k], waited [k], p [k, C]))`:
      the class where a step decides, else -1; steps since the network began anew; probabilities.
  """

  init: Callable[[], NetworkState]
  run: Callable[[Array, NetworkState, Array], tuple[NetworkState, tuple[Array, Array, Array]]]


class SpotterState(NamedTuple):
  """What a spotter knows.

  Attributes:
    front_end: what the front end knows.
    steps: number of steps so far.
    network: what its loop knows.
    last_event: seconds of the latest event, -inf before the first.
  """

  front_end: FrontEndState
  steps: int
  network: NetworkState
  last_event: float


class Spotter(NamedTuple):
  """Two functions; a state is a value, so that many streams share one spotter.

  Attributes:
    init: `() -> SpotterState`.
    push: `(state, samples [n]) -> (state, events, probabilities [k, C])`; the probabilities are
      those of each of the k steps that these samples completed.
  """

  init: Callable[[], SpotterState]
  push: Callable[[SpotterState, np.ndarray], tuple[SpotterState, list[Event], np.ndarray]]


def make_spotter(
  classifier: Classifier,
  params: Params,
  class_names: Sequence[str],
  theta: Any,
  front_end: FrontEnd,
  *,
  refractory_s: float = 0.5,
  patience: int = 1,
  timeout_s: float | None = None,
  not_reported: Sequence[str] = (UNKNOWN,),
) -> Spotter:
  """Makes a spotter.

  Args:
    classifier: trained on steps of `front_end`.
    params: of the classifier.
    class_names: of the C classes.
    theta: threshold on the probability in (1/C, 1), one number or one a class `[C]`.
    front_end: of `make_front_end`.
    refractory_s: seconds after an event within which a further one is dropped.
    patience: steps on end at which one class must reach its threshold.
    timeout_s: seconds without a decision after which the network begins anew; None: never.
    not_reported: classes whose decisions are no events; the network begins anew after them, too.

  Returns:
    Spotter(init, push).

  Raises:
    ValueError: an option out of its range, or theta of another number of classes.
  """
  thresholds = _check_thresholds(theta, len(class_names))
  if patience < 1 or refractory_s < 0 or (timeout_s is not None and timeout_s <= 0):
    raise ValueError(
      f"patience is {patience}, refractory_s {refractory_s}, timeout_s {timeout_s}; give 1 or "
      "more, 0 or more, and above 0"
    )
  loop = make_loop(classifier, params, patience=patience, timeout_s=timeout_s)
  run = jax.jit(functools.partial(loop.run, thresholds))
  silent = set(not_reported)

  def init() -> SpotterState:
    return SpotterState(front_end.init(), 0, loop.init(), -np.inf)

  def push(
    state: SpotterState, samples: np.ndarray
  ) -> tuple[SpotterState, list[Event], np.ndarray]:
    heard, steps = front_end.push(state.front_end, samples)
    network, parts = run_in_blocks(run, state.network, steps)
    labels, waited, p = _concatenate(parts, len(class_names))
    events, last = [], state.last_event
    for k in np.flatnonzero(labels >= 0):
      seconds, label = float(heard_ms(state.steps + k)) / 1000, int(labels[k])
      word, waited_s = class_names[label], float(waited[k]) * _step_s()
      if word not in silent and seconds - last >= refractory_s:
        events.append(Event(seconds, label, word, float(p[k, label]), p[k], waited_s))
        last = seconds
    return SpotterState(heard, state.steps + len(steps), network, last), events, p

  return Spotter(init, push)


def _check_thresholds(theta: Any, classes: int) -> Array:
  """Thresholds `[C]` float32; raises ValueError as `make_spotter`."""
  check_theta(theta, classes)
  if np.shape(theta) not in ((), (classes,)):
    raise ValueError(f"theta has shape {list(np.shape(theta))}; give one number or [{classes}]")
  return jnp.broadcast_to(jnp.asarray(theta, jnp.float32), (classes,))


def _step_s() -> float:
  return float(heard_ms(1) - heard_ms(0)) / 1000


def make_loop(
  classifier: Classifier, params: Params, *, patience: int = 1, timeout_s: float | None = None
) -> Loop:
  """Makes the loop of a spotter: begin anew after each decision, until the steps end.

  Args:
    classifier: trained on such steps.
    params: of the classifier.
    patience: steps on end at which one class must reach its threshold.
    timeout_s: seconds without a decision after which the network begins anew; None: never.
  """
  never = np.iinfo(np.int32).max
  limit = never if timeout_s is None else max(1, round(timeout_s / _step_s()))

  def init() -> NetworkState:
    return classifier.initial_carry(params), jnp.int32(0), jnp.int32(-1), jnp.int32(0)

  def take_step(thresholds: Array, state: NetworkState, encoded: Encoded):
    carry, waited, last, count = state
    carry, output = classifier.step(params, carry, encoded)
    p = jax.nn.softmax(classifier.decode(params, output).astype(jnp.float32))
    label = jnp.argmax(p).astype(jnp.int32)
    reached = p[label] >= thresholds[label]
    count = jnp.where(reached, jnp.where(label == last, count + 1, 1), 0)
    waited, decides = waited + 1, count >= patience
    kept = (carry, waited, jnp.where(reached, label, -1), count)
    anew = decides | (waited >= limit)
    state = jax.tree.map(lambda a, b: jnp.where(anew, a, b), init(), kept)
    return state, (jnp.where(decides, label, -1), waited, p)

  def run(thresholds: Array, state: NetworkState, steps: Array):
    # What needs no carry is one product of all steps.
    encoded = jax.vmap(functools.partial(classifier.encode, params))(steps)
    return jax.lax.scan(functools.partial(take_step, thresholds), state, encoded)

  return Loop(init, run)


def run_in_blocks(run: Callable, state: Any, steps: np.ndarray) -> tuple[Any, list[Any]]:
  """Runs a jitted loop over any number of steps, in blocks of two lengths: two programs serve all.

  Args:
    run: `(state, steps [k, ...]) -> (state, found)`.
    state: before the first step.
    steps: `[n, ...]`.

  Returns:
    The state after the last step, and what was found in each block, as NumPy arrays.
  """
  parts, start = [], 0
  while start < len(steps):
    size = BLOCK if len(steps) - start >= BLOCK else 1
    state, found = run(state, steps[start : start + size])
    parts.append(jax.tree.map(np.asarray, found))
    start += size
  return state, parts


def _concatenate(parts: list[Any], classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Labels `[n]`, steps waited `[n]` and probabilities `[n, C]` of all blocks."""
  nothing = np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, classes), np.float32)
  labels, waited, p = (np.concatenate(part) for part in zip(nothing, *parts, strict=True))
  return labels, waited, p

"""From steps to events: a network that runs on and on, and says each word once.

A network of rank coding decides about a sequence that begins where a word does. In sound without an
end nobody says where that is. So the spotter begins anew after each decision, and the network
itself waits until it is sure. What becomes of a decision is policy: some classes are not reported,
and within the refractory time after an event no second one follows.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.speech import UNKNOWN, heard_ms
from deploy.front_end import FrontEnd, FrontEndState
from rc_jax import Classifier, check_theta
from rc_jax.types import Array, Carry, Params

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


class SpotterState(NamedTuple):
  """What a spotter knows.

  Attributes:
    front_end: what the front end knows.
    steps: number of steps so far.
    network: carry, steps since the network began anew, class of the last step and for how many
      steps on end it has reached its threshold.
    last_event: seconds of the latest event, -inf before the first.
  """

  front_end: FrontEndState
  steps: int
  network: tuple[Carry, Array, Array, Array]
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
  limit = np.iinfo(np.int32).max if timeout_s is None else max(1, round(timeout_s / _step_s()))
  run = _make_loop(classifier, params, thresholds, patience, limit)
  silent = set(not_reported)

  def init() -> SpotterState:
    start = (classifier.initial_carry(params), jnp.int32(0), jnp.int32(-1), jnp.int32(0))
    return SpotterState(front_end.init(), 0, start, -np.inf)

  def push(
    state: SpotterState, samples: np.ndarray
  ) -> tuple[SpotterState, list[Event], np.ndarray]:
    heard, steps = front_end.push(state.front_end, samples)
    network, labels, waited, p = _run_in_blocks(run, state.network, steps, len(class_names))
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


def _make_loop(
  classifier: Classifier, params: Params, thresholds: Array, patience: int, limit: int
) -> Callable:
  """`(network state, steps [K, ...]) -> (state, (decided label or -1, steps waited, p [C]))`."""
  fresh = lambda: (classifier.initial_carry(params), jnp.int32(0), jnp.int32(-1), jnp.int32(0))

  def take_step(state, x):
    carry, waited, last, count = state
    carry, output = classifier.step(params, carry, classifier.encode(params, x))
    p = jax.nn.softmax(classifier.decode(params, output).astype(jnp.float32))
    label = jnp.argmax(p).astype(jnp.int32)
    reached = p[label] >= thresholds[label]
    count = jnp.where(reached, jnp.where(label == last, count + 1, 1), 0)
    waited, decides = waited + 1, count >= patience
    kept = (carry, waited, jnp.where(reached, label, -1), count)
    anew = decides | (waited >= limit)
    state = jax.tree.map(lambda a, b: jnp.where(anew, a, b), fresh(), kept)
    return state, (jnp.where(decides, label, -1), waited, p)

  return jax.jit(lambda state, steps: jax.lax.scan(take_step, state, steps))


def _run_in_blocks(run: Callable, state: tuple, steps: np.ndarray, classes: int) -> tuple[Any, ...]:
  """Runs the loop over any number of steps, in blocks of two lengths: two programs serve all."""
  parts, start = [], 0
  while start < len(steps):
    size = BLOCK if len(steps) - start >= BLOCK else 1
    state, found = run(state, steps[start : start + size])
    parts.append(jax.tree.map(np.asarray, found))
    start += size
  if not parts:
    return state, np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, classes), np.float32)
  return state, *(np.concatenate(part) for part in zip(*parts, strict=True))

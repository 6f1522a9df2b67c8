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
from deploy.rule import check_patience, check_refractory, is_refractory
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
    stream: which of S streams it belongs to; 0 of one.
  """

  seconds: float
  label: int
  word: str
  probability: float
  probabilities: np.ndarray
  waited_seconds: float
  stream: int = 0


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
    network: what its loop knows, of each of S streams.
    last_event: `[S]`, seconds of the latest event, -inf before the first; S = 1 of one stream.
  """

  front_end: FrontEndState
  steps: int
  network: NetworkState
  last_event: np.ndarray


class Spotter(NamedTuple):
  """Two functions; a state is a value, so that many states share one spotter.

  Attributes:
    init: `(streams=None) -> SpotterState`, of one stream, or of S that are heard side by side.
    push: `(state, samples [n]) -> (state, events, probabilities [k, C])`; the probabilities are
      those of each of the k steps that these samples completed. Of S streams `[S, n]` and
      `[S, k, C]`, and the events of all in order of time. Each S compiles at its first push.
  """

  init: Callable[..., SpotterState]
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
  check_refractory(refractory_s)
  loop = make_loop(classifier, params, patience=patience, timeout_s=timeout_s)
  # Axis 0 is steps, which are cut into blocks; axis 1 is streams.
  run = jax.jit(jax.vmap(functools.partial(loop.run, thresholds), in_axes=(0, 1), out_axes=(0, 1)))
  silent = set(not_reported)

  def init(streams: int | None = None) -> SpotterState:
    heard, rows = front_end.init(streams), 1 if streams is None else streams
    network = jax.tree.map(lambda a: jnp.stack([a] * rows), loop.init())
    return SpotterState(heard, 0, network, np.full(rows, -np.inf))

  def push(
    state: SpotterState, samples: np.ndarray
  ) -> tuple[SpotterState, list[Event], np.ndarray]:
    heard, steps = front_end.push(state.front_end, samples)
    is_one, last = steps.ndim == 2, state.last_event.copy()
    steps = steps[:, None] if is_one else steps.swapaxes(0, 1)
    network, parts = run_in_blocks(run, state.network, steps)
    labels, waited, p = _concatenate(parts, len(last), len(class_names))
    events = []
    for k, stream in np.argwhere(labels >= 0):
      seconds, label = float(heard_ms(state.steps + k)) / 1000, int(labels[k, stream])
      word, waited_s = class_names[label], float(waited[k, stream]) * _step_s()
      if word not in silent and not is_refractory(seconds - last[stream], refractory_s):
        seen = p[k, stream]
        events.append(Event(seconds, label, word, float(seen[label]), seen, waited_s, int(stream)))
        last[stream] = seconds
    state = SpotterState(heard, state.steps + len(steps), network, last)
    return state, events, p[:, 0] if is_one else p.swapaxes(0, 1)

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

  Raises:
    ValueError: a patience or a timeout out of its range.
  """
  check_patience(patience)
  if timeout_s is not None and not timeout_s > 0:
    raise ValueError(f"timeout_s is {timeout_s}; give seconds above 0, or None")
  never = np.iinfo(np.int32).max
  limit = max(1, round(min(timeout_s or never, never * _step_s()) / _step_s()))

  def init() -> NetworkState:
    return classifier.initial_carry(params), jnp.int32(0), jnp.int32(-1), jnp.int32(0)

  def take_step(thresholds: Array, state: NetworkState, encoded: Encoded):
    carry, waited, last, sure_steps = state
    carry, output = classifier.step(params, carry, encoded)
    p = jax.nn.softmax(classifier.decode(params, output).astype(jnp.float32))
    label = jnp.argmax(p).astype(jnp.int32)
    reached = p[label] >= thresholds[label]
    sure_steps = jnp.where(reached, jnp.where(label == last, sure_steps + 1, 1), 0)
    waited, decides = waited + 1, sure_steps >= patience
    kept = (carry, waited, jnp.where(reached, label, -1), sure_steps)
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


def _concatenate(
  parts: list[Any], streams: int, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Labels `[n, S]`, steps waited `[n, S]` and probabilities `[n, S, C]` of all blocks."""
  none = np.zeros((0, streams), np.int32)
  nothing = none, none, np.zeros((0, streams, classes), np.float32)
  labels, waited, p = (np.concatenate(part) for part in zip(nothing, *parts, strict=True))
  return labels, waited, p

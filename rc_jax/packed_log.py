"""The two passes of the early-exit engine over a packed log of what was computed.

Forward, all rows take the first step; then a chain of while loops of falling width runs those that
are still silent: each gathers them, stops as soon as they fit into the next width, and puts its
rows back among all; one that no row needs does neither. Each step in a loop appends its rows to a
packed log, so that the log's beginning holds what was computed and nothing else. The first step is
outside: it needs no log, and no gradient to the carry where nobody asks for one (trained temporal
MNIST: 1/7 of a gradient's time).

Backward, the same loops run in reverse. They read from the log what the derivative of a step needs:
the carry before it and what was encoded, or in place of that the sum of products that `step` marks
(`split_vjp.keep`). What else autodiff would keep is more memory than to compute it again. Where
`encode` stands apart, cotangents of its results then take that place in the log, and its gradient
follows, of the first step and in blocks over the log: large products cost what was computed,
whatever the widths were.

`B` rows, `T` steps, `C` classes, `w` rows of a loop; flat positions are `row * T + t`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rc_jax.float_leaves import floats, vjp_of_floats
from rc_jax.rank_code import confidence
from rc_jax.sharding import vary_alike
from rc_jax.split_vjp import split_vjp
from rc_jax.types import Array, Carry, Encoded, Params

# Row-steps of the log to a product: large ones are the faster. What is left over goes with the
# first step into one product, rounded up to a multiple of the rest.
BLOCKS = (512, 128)
REST = 32


class Spike(NamedTuple):
  """The first spike of each row: step `[B]` int32, spiked `[B]` bool, and what was said.

  That is logits `[B, C]` at the spike; or, of rows that run to their end, the label `[B]` int32 at
  the spike and the logits at the end.
  """

  step: Array
  spiked: Array
  label: Array | None
  logits: Array


class Net(NamedTuple):
  """First step, later ones and `encode` of `w` rows.

  Encode is None where it is left in the step, or not given.
  """

  first: Callable[[Params, Carry, Encoded], tuple[Carry, Array]]
  step: Callable[[Params, Carry, Encoded], tuple[Carry, Array]]
  encode: Callable[[Params, Array], Encoded] | None


class _Log(NamedTuple):
  """Computed row-steps, packed: what the derivative of a step stores of each, its flat position.

  Where `encode` stands apart, cotangents of its results will take the place of something stored of
  the same shape, or have arrays of their own at the end. Where not, the position is None: then the
  input itself is at hand.
  """

  stored: list[Array]
  flat: Array | None


class _Stage(NamedTuple):
  """One loop of the chain: its rows `[w]`, its steps, and where its part of the log begins."""

  rows: Array
  first: Array
  end: Array
  offset: Array


class Trail(NamedTuple):
  """What the backward pass follows; `logged` row-steps are in the log.

  `first_encoded` is what the first step took, None where `encode` does not stand apart; `step` is
  where each row's gradient enters.
  """

  stages: list[_Stage]
  log: _Log
  logged: Array
  first_encoded: Encoded
  step: Array


def widths_of_loops(rows: int, steps: int) -> list[int]:
  """Up to twelve widths from B rows down, the narrower the closer.

  Where most rows spike at once, as in a trained network, the few that go on set the cost; equal
  falls computed a third more there (temporal MNIST) and saved little elsewhere. A loop has 8 rows
  more than the next on average, so that it has some work.
  """
  levels = max(1, min(12, 2 * (steps - 1), rows // 8))
  return [math.ceil(rows * (k / levels) ** 1.75) for k in range(levels, 0, -1)]


def predict(net, to_end, params, carry, xs, thresholds, lengths) -> tuple[Spike, Array]:
  """Spikes, and the int32 number of row-steps computed; logs nothing."""
  spike, _, _, logged, _ = _chain(net, to_end, params, carry, xs, thresholds, lengths, logs=False)
  return spike, logged + len(xs)


def forward(net, to_end, params, carry, xs, thresholds, lengths) -> tuple[Spike, Array, Trail]:
  """Spikes, the number of row-steps computed, and the trail that `backward` follows."""
  spike, stages, log, logged, encoded = _chain(
    net, to_end, params, carry, xs, thresholds, lengths, logs=True
  )
  first_encoded = None if net.encode is None else encoded
  enters = _last(xs, lengths) if to_end else spike.step
  return spike, logged + len(xs), Trail(stages, log, logged, first_encoded, enters)


class _State(NamedTuple):
  """The step, the end of the log, and what is known of each row: of all, or of a loop's `[w]`."""

  t: Array
  position: Array
  carry: Carry
  silent: Array
  spike: Spike
  log: _Log | None


def _last(xs: Array, lengths: Array | None) -> Array:
  """Each row's last step."""
  count, steps = xs.shape[:2]
  return jnp.full(count, steps - 1, jnp.int32) if lengths is None else lengths - 1


def _halves(net: Net, params: Params, carry: Carry, encoded: Encoded) -> tuple[Callable, Callable]:
  """Of the derivative of a step in a loop."""
  return split_vjp(net.step, params, carry, encoded, inputs_at_hand=net.encode is None)


def _places(log: list[Array], encoded: Encoded) -> list[int]:
  """Where cotangents of each float leaf of `encoded` go: in place of what is alike, or at the end.

  The same before arrays are added at the end and after.
  """
  free = dict(enumerate(log))
  places: list[int] = []
  for leaf in floats(encoded):
    alike = [i for i, a in free.items() if (a.shape[1:], a.dtype) == (leaf.shape[1:], leaf.dtype)]
    places.append(alike[0] if alike else len(log) + sum(i >= len(log) for i in places))
    free.pop(places[-1], None)
  return places


def _blank_log(net: Net, stored: list[Array], encoded: Encoded, xs: Array) -> _Log:
  """Zeros for all that may be computed."""
  rows, steps = xs.shape[:2]
  size = -(-rows * max(steps - 1, 1) // REST) * REST
  blank = lambda a: vary_alike(jnp.zeros((size, *a.shape[1:]), a.dtype), xs)[0]
  if net.encode is None:
    return _Log([blank(a) for a in stored], None)
  places = zip(_places(stored, encoded), floats(encoded), strict=True)
  at_end = [leaf for place, leaf in places if place >= len(stored)]
  return _Log([blank(a) for a in [*stored, *at_end]], blank(jnp.zeros(1, jnp.int32)))


class _Given(NamedTuple):
  """What every step of a pass reads; last is each row's last step `[B]`."""

  params: Params
  xs: Array
  thresholds: Array
  lengths: Array | None
  last: Array


def _chain(
  net, to_end, params, carry, xs, thresholds, lengths, *, logs
) -> tuple[Spike, list[_Stage], Any, Array, Encoded]:
  """First step and loops, which append to a log where there is one; what was encoded first."""
  count, steps = xs.shape[:2]
  rows = jnp.arange(count, dtype=jnp.int32)
  last = _last(xs, lengths)
  encode = net.encode or (lambda _, x: x)
  first_encoded = encode(params, xs[:, 0])
  log = None
  step: Callable = lambda *arguments: (net.step(*arguments), [])
  if logs:
    step, _ = _halves(net, params, carry, first_encoded)
    stored = jax.eval_shape(step, params, carry, first_encoded)[1]
    log = _blank_log(net, stored, first_encoded, xs)
  logits = jax.eval_shape(net.step, params, carry, first_encoded)[1]
  label: Any = jnp.zeros(count, jnp.int32) if to_end else None
  spike = Spike(last, jnp.zeros(count, bool), label, jnp.zeros(logits.shape, logits.dtype))
  state = _State(jnp.int32(0), jnp.int32(0), carry, jnp.ones(count, bool), spike, log)
  rows, last, state, _ = vary_alike(rows, last, state, xs)
  given = _Given(params, xs, thresholds, lengths, last)
  state = _noted(given, state, rows, *net.first(params, carry, first_encoded))

  stages = []
  advance = functools.partial(_advanced, given, encode, step)
  widths = widths_of_loops(count, steps)
  for width, floor in zip(widths, [*widths[1:], 0], strict=True):
    first, offset = state.t, state.position
    # Once or not at all: a loop that no row needs does not even look for its rows. After T steps no
    # row is silent: each ends at its last step.
    entered = lambda s, floor=floor: _more_silent_than(floor, s[0])
    once = lambda s, width=width, floor=floor: _looped(advance, width, floor, s[0], xs)
    blank = vary_alike(jnp.zeros(width, jnp.int32), xs)[0]
    state, rows = lax.while_loop(entered, once, (state, blank))
    stages.append(_Stage(rows, first, state.t, offset))
  return state.spike, stages, state.log, state.position, first_encoded


def _noted(given: _Given, s: _State, rows: Array, carry: Carry, logits: Array) -> _State:
  """After a step of these rows: who has spiked, who has ended, with which logits."""
  crossed = confidence(logits) >= given.thresholds[s.t]
  at_end = s.t >= given.last[rows]
  says = ends = s.silent & (crossed | at_end)
  label = s.spike.label
  if label is not None:
    says, ends = ends & ~s.spike.spiked, s.silent & at_end
    label = jnp.where(says, jnp.argmax(logits, axis=-1).astype(jnp.int32), label)
  # Selects here and one scatter a stage: a scatter a step costs more than a small step itself.
  spike = Spike(
    jnp.where(says, s.t, s.spike.step),
    jnp.where(says, crossed, s.spike.spiked),
    label,
    jnp.where(ends[:, None], logits, s.spike.logits),
  )
  s = s._replace(t=s.t + 1, carry=carry, silent=s.silent & ~ends, spike=spike)
  return vary_alike(s, given.xs)[0]


def _advanced(given: _Given, encode: Callable, step: Callable, s: _State, rows: Array) -> _State:
  """One step of these rows, appended to the log."""
  index = rows * given.xs.shape[1] + s.t
  encoded = encode(given.params, _inputs_at(given.xs, given.lengths, index))
  (carry, logits), stored = step(given.params, s.carry, encoded)
  if s.log is not None:
    of_others = s.log.stored[len(stored) :]
    log = _Log(
      _write(s.log.stored[: len(stored)], stored, s.position) + of_others,
      None if s.log.flat is None else _write(s.log.flat, index, s.position),
    )
    s = s._replace(log=log)
  return _noted(given, s._replace(position=s.position + rows.size), rows, carry, logits)


def _looped(
  advance: Callable, width: int, floor: int, s: _State, xs: Array
) -> tuple[_State, Array]:
  """After a loop over the rows that are silent, put back among all; and which they were."""
  rows = jnp.argsort(~s.silent, stable=True)[:width].astype(jnp.int32)  # the silent first
  of_all = (s.carry, s.silent, s.spike)
  carry, silent, spike = _gather(of_all, rows)
  own = s._replace(carry=carry, silent=silent, spike=spike)
  too_many = functools.partial(_more_silent_than, floor)
  own = lax.while_loop(too_many, functools.partial(advance, rows=rows), own)
  carry, silent, spike = _scatter(of_all, rows, (own.carry, own.silent, own.spike))
  after = own._replace(carry=carry, silent=silent, spike=spike)
  return vary_alike((after, rows), xs)[0]


def _more_silent_than(floor: int, state: _State) -> Array:
  return jnp.sum(state.silent, dtype=jnp.int32) > floor


def _not_before(first: Array, state: tuple) -> Array:
  return state[0] >= first


def _not_after(last: Array, state: tuple) -> Array:
  return state[0] <= last


def backward(net, params, carry, xs, lengths, trail, dlogits, dxs):
  """The loops in reverse.

  Args:
    net: as `forward` took it.
    params: as `forward` took them.
    carry: `[B, ...]`, before the first step.
    xs: `[B, T, ...]`.
    lengths: `[B]`, or None.
    trail: of `forward`.
    dlogits: `[B, C]` cotangent of the logits, which enters at `trail.step`.
    dxs: zeros like xs where a gradient to xs is wanted, else None.

  Returns:
    Gradients of the float leaves of params and of carry, two lists, and of xs, None where unwanted.
  """
  count, steps = xs.shape[:2]
  dparams = [jnp.zeros_like(p) for p in floats(params)]
  dcarry = [jnp.zeros_like(a) for a in floats(carry)]
  if dxs is not None:
    dxs = dxs.reshape(-1, *xs.shape[2:])
  first_inputs = xs[:, 0] if net.encode is None else trail.first_encoded
  _, derivative = _halves(net, params, carry, first_inputs)
  places = [] if net.encode is None else _places(trail.log.stored, first_inputs)
  dencoded = [trail.log.stored[i] for i in places]

  def dlogits_at(t, rows):
    now = (trail.step[rows] == t)[:, None]
    return jnp.where(now, dlogits[rows], jnp.zeros((), dlogits.dtype))

  def retreat(s, stage):
    t, dcarry, dparams, dencoded, dxs = s
    width = stage.rows.size
    position = stage.offset + (t - stage.first) * width
    index = stage.rows * steps + t
    stored = list(trail.log.stored)
    for i, a in zip(places, dencoded, strict=True):
      stored[i] = a
    stored = _read(stored, position, width)
    inputs = _inputs_at(xs, lengths, index) if net.encode is None else None
    cotangents = [*dcarry, dlogits_at(t, stage.rows)]
    dp, dcarry, dinputs = derivative(params, inputs, stored, cotangents)
    if net.encode is not None:
      dencoded = _write(dencoded, dinputs, position)
    elif dxs is not None:
      dxs = _scatter(dxs, index, dinputs[0])
    return vary_alike((t - 1, dcarry, _sums(dparams, dp), dencoded, dxs), xs)[0]

  for stage in reversed(trail.stages):
    within = functools.partial(_not_before, stage.first)

    def run(s, stage=stage, within=within):
      t, dcarry, *rest = s
      of_rows = (t, _gather(dcarry, stage.rows), *rest)
      t, of_rows, *rest = lax.while_loop(within, functools.partial(retreat, stage=stage), of_rows)
      return vary_alike((t, _scatter(dcarry, stage.rows, of_rows), *rest), xs)[0]

    state = vary_alike((stage.end - 1, dcarry, dparams, dencoded, dxs), xs)[0]
    _, dcarry, dparams, dencoded, dxs = lax.while_loop(within, run, state)
  rows = jnp.arange(count, dtype=jnp.int32)
  pull = vjp_of_floats(net.first, params, carry, first_inputs)
  dp, dcarry, dinputs = pull([*dcarry, dlogits_at(0, rows)])
  dparams = _sums(dparams, dp)
  if net.encode is not None:
    first, log = (rows * steps, dinputs), (trail.log.flat, dencoded)
    gradients = (dparams, dxs)
    dparams, dxs = _encode_gradient(net, params, xs, lengths, first, log, trail.logged, gradients)
  elif dxs is not None:
    dxs = dxs.at[rows * steps].add(dinputs[0])
  return dparams, dcarry, None if dxs is None else dxs.reshape(xs.shape)


def _encode_gradient(net, params, xs, lengths, first, log, logged, gradients):
  """Adds the gradients of `encode`: of the first step and the log's beginning, then in blocks.

  First and log are flat positions and cotangents. The log's end was never written: zero cotangents,
  for which any input will do.
  """

  def add(entries, gradients):
    dparams, dxs = gradients
    index, cotangents = entries
    x = _inputs_at(xs, lengths, index)
    dp, dx = vjp_of_floats(net.encode, params, x)(cotangents)
    if dxs is not None:
      dxs = dxs.at[index].add(dx[0])
    return vary_alike((_sums(dparams, dp), dxs), xs)[0]

  def add_first(count, gradients):
    rest = _read(log, jnp.int32(0), count)
    return add(jax.tree.map(lambda *a: jnp.concatenate(a), first, rest), gradients)

  def add_block(block, s):
    start, gradients = s
    return start + block, add(_read(log, start, block), gradients)

  counts = range(0, min(BLOCKS[-1], len(log[0])) + 1, REST)
  branch = -(-(logged % BLOCKS[-1]) // REST)
  branches = [functools.partial(add_first, count) for count in counts]
  start, gradients = branch * REST, lax.switch(branch, branches, gradients)
  end = start + logged // BLOCKS[-1] * BLOCKS[-1]
  for block in (b for b in BLOCKS if b <= len(log[0])):
    is_left = functools.partial(_not_after, end - block)
    start, gradients = lax.while_loop(
      is_left, functools.partial(add_block, block), (start, gradients)
    )
  return gradients


def _sums(first: list[Array], second: list[Array]) -> list[Array]:
  return [a + b for a, b in zip(first, second, strict=True)]


def _inputs_at(xs: Array, lengths: Array | None, index: Array) -> Array:
  """Inputs `[n, ...]` at flat positions `[n]`, zero in the padding (NaN there times 0 is NaN)."""
  steps = xs.shape[1]
  x = xs.reshape(-1, *xs.shape[2:]).at[index].get(mode="promise_in_bounds")
  if lengths is None:
    return x
  valid = index % steps < lengths[index // steps]
  return jnp.where(valid.reshape(-1, *(1,) * (x.ndim - 1)), x, jnp.zeros((), x.dtype))


def _write(log: Any, entry: Any, position: Array) -> Any:
  put = lambda a, b: lax.dynamic_update_slice_in_dim(a, b, position, axis=0)
  return jax.tree.map(put, log, entry)


def _read(log: Any, position: Array, count: int) -> Any:
  return jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, position, count, axis=0), log)


def _gather(tree: Any, index: Array) -> Any:
  return jax.tree.map(lambda a: a[index], tree)


def _scatter(tree: Any, index: Array, values: Any) -> Any:
  return jax.tree.map(lambda a, b: a.at[index].set(b, unique_indices=True), tree, values)

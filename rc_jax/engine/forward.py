"""The forward pass: all rows take the first step; loops of falling width run those still silent.

The first step stands outside the loops. It is not logged: the backward pass differentiates it
afresh. Where the carry is known to be zeros, its products with the carry are left out (trained
temporal MNIST: a seventh of a gradient's time). After it each stage gathers the active rows, stops
as soon as they fit into the next width, and puts its rows back among all. A row may run past its
spike until its stage ends; those outputs are ignored.

B rows, T steps, C classes, w rows of a loop.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rc_jax.engine.log import (
  blank_entries,
  blank_log,
  inputs_of_step,
  rows_and_steps,
  write_entries,
)
from rc_jax.engine.records import RowFunctions, Spike, Stage, Trail
from rc_jax.engine.rows import gather_rows, scatter_rows, select_rows
from rc_jax.engine.sharding import vary_alike
from rc_jax.engine.step_vjp import split_vjp
from rc_jax.engine.widths import loop_widths
from rc_jax.rank_code import confidence
from rc_jax.types import Array, Carry, Encoded, Output, Params


class _State(NamedTuple):
  """What a step changes: of all rows, or of the `[w]` of a loop.

  Attributes:
    t: int32, the next step.
    taken: int32, the number of row-steps taken in loops, that is the end of the log.
    carry: `[w, ...]`; rows that have spiked or ended go on, and nobody reads their carries.
    spike_code: `[w]` int32: -1 while a row is silent, then `2 * step + crossed`. One array, as each
      costs a kernel to compile and to start.
    label: `[w]` int32 at the spike, or None.
    output: `[w, ...]` at the spike or end; None where all outputs are wanted.
    log: or None.
    packed_outputs: the outputs of all steps, packed as the log, or None.
  """

  t: Array
  taken: Array
  carry: Carry
  spike_code: Array
  label: Array | None
  output: Output | None
  log: list[Array] | None
  packed_outputs: Output | None


class _Pass(NamedTuple):
  """What every step of a pass reads.

  Attributes:
    functions: of rows.
    advance: the step of rows that a loop runs: `-> ((carry, output), residuals)`.
    params: of the functions.
    xs: `[B, T, ...]` inputs.
    thresholds: `[T]`.
    lengths: `[B]`, or None.
    to_end: whether rows run to their ends.
    all_outputs: whether the outputs of all steps are wanted.
  """

  functions: RowFunctions
  advance: Callable
  params: Params
  xs: Any
  thresholds: Array
  lengths: Array | None
  to_end: bool
  all_outputs: bool


def run_without_log(
  functions: RowFunctions,
  to_end: bool,
  all_outputs: bool,
  most_widths: int,
  params: Params,
  carry: Carry,
  xs: Any,
  thresholds: Array,
  lengths: Array | None,
) -> tuple[Spike, Array]:
  """The spikes, and the int32 number of row-steps computed; arguments as of `run_and_log`.

  Without a backward pass a loop compiles in half the time, so there may be nearly twice as many as
  `most_widths`; one stays one.
  """
  plain: Callable = lambda *arguments: (functions.step(*arguments), [])
  pass_ = _Pass(functions, plain, params, xs, thresholds, lengths, to_end, all_outputs)
  encoded = _encode_first(functions, params, xs)
  spike, _, state = _run(pass_, carry, encoded, None, 2 * most_widths - 1)
  return spike, state.taken + len(spike.step)


def run_and_log(
  functions: RowFunctions,
  to_end: bool,
  all_outputs: bool,
  most_widths: int,
  params: Params,
  carry: Carry,
  xs: Any,
  thresholds: Array,
  lengths: Array | None,
) -> tuple[Spike, Array, Trail]:
  """Runs each row to its first spike, or to its end, and logs what the backward pass needs.

  Args:
    functions: of rows.
    to_end: run each row to its last step, and record its first spike on the way.
    all_outputs: give the outputs of all steps up to a row's spike or end, not of that alone.
    most_widths: the largest number of loops.
    params: of the functions.
    carry: `[B, ...]`, before the first step.
    xs: `[B, T, ...]` inputs.
    thresholds: `[T]` float32 on the confidence.
    lengths: `[B]` int32, or None for T.

  Returns:
    The spikes, the int32 number of row-steps computed, and the trail.
  """
  encoded = _encode_first(functions, params, xs)
  first_half, _ = step_halves(functions, params, carry, encoded)
  pass_ = _Pass(functions, first_half, params, xs, thresholds, lengths, to_end, all_outputs)
  residuals = jax.eval_shape(first_half, params, carry, encoded)[1]
  encode_apart = functions.encode is not None
  log = blank_log(residuals, encoded if encode_apart else None, xs)
  spike, stages, state = _run(pass_, carry, encoded, log, most_widths)
  assert state.log is not None
  final = _final_step(pass_, spike.step)
  trail = Trail(stages, state.log, state.taken, encoded if encode_apart else None, final)
  return spike, state.taken + len(final), trail


def step_halves(
  functions: RowFunctions, params: Params, carry: Carry, encoded: Encoded
) -> tuple[Callable, Callable]:
  """The two halves of the derivative of a step in a loop (see `split_vjp`)."""
  return split_vjp(functions.step, params, carry, encoded, inputs_at_hand=functions.encode is None)


def _encode_first(functions: RowFunctions, params: Params, xs: Any) -> Encoded:
  x = jax.tree.map(lambda a: a[:, 0], xs)
  return x if functions.encode is None else functions.encode(params, x)


def _run(
  pass_: _Pass, carry: Carry, encoded: Encoded, log: list[Array] | None, most_widths: int
) -> tuple[Spike, list[Stage], _State]:
  """The first step, of what `encoded` holds of it, and the loops."""
  xs = pass_.xs
  rows, steps = rows_and_steps(xs)
  carry, first_output = pass_.functions.first_step(pass_.params, carry, encoded)
  blank = None if pass_.all_outputs else jax.tree.map(jnp.zeros_like, first_output)
  packed = blank_entries(first_output, xs) if pass_.all_outputs else None
  label = jnp.zeros(rows, jnp.int32) if pass_.to_end else None
  zero, spike_code = jnp.int32(0), jnp.full(rows, -1, jnp.int32)
  state, _ = vary_alike(_State(zero, zero, carry, spike_code, label, blank, log, packed), xs)
  last = _last_step(pass_.lengths, steps)
  state = _record_outputs(pass_, state, last, carry, first_output)

  stages = []
  if pass_.to_end and pass_.lengths is None:
    most_widths = 1  # no row ends before another
  widths = loop_widths(rows, steps, most_widths)
  for width, floor in zip(widths, [*widths[1:], 0], strict=True):
    first, log_start = state.t, state.taken
    if width == rows:
      own_rows = jnp.arange(rows, dtype=jnp.int32)
      state = _run_loop(pass_, own_rows, last, floor, state)
    else:
      # An outer loop that runs once or not at all: a stage that no row needs costs nothing but this
      # test. No row is silent after T steps, since each ends at its last one.
      is_needed = lambda s, floor=floor: _count_active(pass_, s[0], last) > floor
      run = lambda s, width=width, floor=floor: _run_stage(pass_, width, floor, s[0])
      start = (state, vary_alike(jnp.zeros(width, jnp.int32), xs)[0])
      state, own_rows = lax.while_loop(is_needed, run, start)
    stages.append(Stage(own_rows, first, state.t, log_start))
  spike_code = state.spike_code
  step = jnp.where(spike_code < 0, last, spike_code // 2)
  if pass_.all_outputs:
    output = _unpack(stages, first_output, state.packed_outputs, _final_step(pass_, step), steps)
  else:
    output = state.output
  return Spike(step, (spike_code >= 0) & (spike_code % 2 == 1), state.label, output), stages, state


def _final_step(pass_: _Pass, spike_step: Array) -> Array:
  """The last step of each row `[B]` that counts: of its spike or, where rows run to it, its end."""
  if not pass_.to_end:
    return spike_step
  rows, steps = rows_and_steps(pass_.xs)
  return jnp.broadcast_to(_last_step(pass_.lengths, steps), (rows,))


def _unpack(
  stages: list[Stage], first_output: Output, packed: Output, final: Array, steps: int
) -> Output:
  """Outputs `[B, T, ...]` of the packed ones; from a row's `final` step on, always that step's.

  A stage packs `w` outputs a step, in the order of its rows. A row is in every stage up to its
  end; stages that it only fills up come after it.
  """
  rows = len(final)
  # Zeros after the end would go through a `decode` that may have no derivative there.
  time = jnp.minimum(jnp.arange(steps, dtype=jnp.int32)[None], final[:, None])
  entry = jnp.zeros((rows, steps), jnp.int32)
  for stage in stages:
    width = stage.rows.size
    place = jnp.full(rows, -1, jnp.int32).at[stage.rows].set(jnp.arange(width, dtype=jnp.int32))
    within = (time >= stage.first) & (time < stage.end) & (place[:, None] >= 0)
    own = stage.log_start + (time - stage.first) * width + place[:, None]
    entry = jnp.where(within, own, entry)
  unpacked = gather_rows(packed, entry.reshape(-1))
  first = jax.tree.map(lambda a: jnp.repeat(a, steps, axis=0), first_output)
  unpacked = select_rows((time == 0).reshape(-1), first, unpacked)
  return jax.tree.map(lambda a: a.reshape(rows, steps, *a.shape[1:]), unpacked)


def _run_stage(pass_: _Pass, width: int, floor: int, state: _State) -> tuple[_State, Array]:
  """Runs the active rows until at most `floor` are left, and puts them back among all.

  Returns:
    The state of all rows, and which rows the stage had `[w]`.
  """
  rows, steps = rows_and_steps(pass_.xs)
  index = jnp.arange(rows, dtype=jnp.int32)
  active = _is_active(pass_, state, _last_step(pass_.lengths, steps))
  # The active rows first: a bit above all row numbers marks the others. An argsort, which sorts
  # pairs, compiles to twice the code.
  bit = 1 << rows.bit_length()
  own_rows = jnp.sort(jnp.where(active, index, index + bit))[:width] & (bit - 1)
  of_all = (state.carry, state.spike_code, state.label, state.output)
  carry, spike_code, label, output = gather_rows(of_all, own_rows)
  own = state._replace(carry=carry, spike_code=spike_code, label=label, output=output)
  lengths = None if pass_.lengths is None else gather_rows(pass_.lengths, own_rows)
  own = _run_loop(pass_, own_rows, _last_step(lengths, steps), floor, own)
  of_own = (own.carry, own.spike_code, own.label, own.output)
  carry, spike_code, label, output = scatter_rows(of_all, own_rows, of_own)
  state = own._replace(carry=carry, spike_code=spike_code, label=label, output=output)
  return vary_alike((state, own_rows), pass_.xs)[0]


def _run_loop(pass_: _Pass, rows: Array, last: Array | int, floor: int, state: _State) -> _State:
  """Advances rows `[w]` until at most `floor` of them are active."""
  is_wide = lambda s: _count_active(pass_, s, last) > floor
  return lax.while_loop(is_wide, functools.partial(_advance, pass_, rows, last), state)


def _advance(pass_: _Pass, rows: Array, last: Array | int, s: _State) -> _State:
  """One step of the rows of a loop `[w]`, appended to the log where there is one."""
  x = inputs_of_step(pass_.xs, rows, s.t, last)
  encode = pass_.functions.encode
  encoded = x if encode is None else encode(pass_.params, x)
  (carry, output), residuals = pass_.advance(pass_.params, s.carry, encoded)
  if s.log is not None:
    written, of_cotangents = s.log[: len(residuals)], s.log[len(residuals) :]
    s = s._replace(log=write_entries(written, residuals, s.taken) + of_cotangents)
  if s.packed_outputs is not None:
    s = s._replace(packed_outputs=write_entries(s.packed_outputs, output, s.taken))
  s = s._replace(taken=s.taken + rows.size)
  return _record_outputs(pass_, s, last, carry, output)


def _record_outputs(
  pass_: _Pass, s: _State, last: Array | int, carry: Carry, output: Output
) -> _State:
  """The state after a step: which rows have spiked or ended, and with which output."""
  logits = pass_.functions.decode(pass_.params, output)
  crossed = confidence(logits) >= pass_.thresholds[s.t]
  stops = (s.spike_code < 0) & (crossed | (s.t >= last))
  spike_code = jnp.where(stops, 2 * s.t + crossed.astype(jnp.int32), s.spike_code)
  # Equal to `stops`, but read off the new codes: XLA can then write them over the old ones.
  label, is_final = s.label, spike_code >= 2 * s.t
  if pass_.to_end:
    predicted = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    label = predicted if label is None else jnp.where(is_final, predicted, label)
    is_final = jnp.broadcast_to(s.t == last, stops.shape)
  # Selects here and one scatter a stage: a scatter a step costs more than a small step itself.
  noted = s.output if pass_.all_outputs else select_rows(is_final, output, s.output)
  s = s._replace(t=s.t + 1, carry=carry, spike_code=spike_code, label=label, output=noted)
  return vary_alike(s, pass_.xs)[0]


def _is_active(pass_: _Pass, s: _State, last: Array | int) -> Array:
  """Which of the `[w]` rows need another step."""
  return jnp.broadcast_to(s.t <= last, s.spike_code.shape) if pass_.to_end else s.spike_code < 0


def _count_active(pass_: _Pass, s: _State, last: Array | int) -> Array:
  active = _is_active(pass_, s, last)
  if active.size > 32:
    # XLA makes three kernels of so long a sum; without the barrier these two would be one again.
    padded = jnp.pad(active, (0, -active.size % 32)).reshape(-1, 32)
    active = lax.optimization_barrier(jnp.sum(padded, axis=1, dtype=jnp.int32))
  return jnp.sum(active, dtype=jnp.int32)


def _last_step(lengths: Array | None, steps: int) -> Array | int:
  """The last step of each row, or of all rows."""
  return steps - 1 if lengths is None else lengths - 1

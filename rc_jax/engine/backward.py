"""The backward pass: the loops of the forward pass in reverse, along the log.

Each step reads its residuals from the log and pulls the cotangents of its rows' carries through the
step. A row's own cotangent enters at its spike or, where all outputs were given, at each step up to
it.
The first step follows outside the loops, then the gradient of `encode` where it stands apart.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from rc_jax.engine.encode_gradient import add_encode_gradient
from rc_jax.engine.float_leaves import add, floats, vjp_of_floats
from rc_jax.engine.forward import step_halves
from rc_jax.engine.log import (
  add_input_gradients,
  cotangent_slots,
  find_positions,
  inputs_of_step,
  read_entries,
  rows_and_steps,
  write_entries,
)
from rc_jax.engine.records import RowFunctions, Stage, Trail
from rc_jax.engine.rows import gather_rows, scatter_rows, select_rows
from rc_jax.engine.sharding import vary_alike
from rc_jax.types import Array, Carry, Params


class _Pass(NamedTuple):
  """What every step of the pass reads.

  Attributes:
    pull: the second half of the derivative of a step.
    params: of the step.
    xs: `[B, T, ...]` inputs.
    trail: of the forward pass.
    encode_apart: whether `encode` stands apart.
    slots: indices of the log's arrays that receive cotangents of its results.
    doutput_of_all: flat cotangents `[B * T, ...]` of the outputs of all steps, or None.
  """

  pull: Callable
  params: Params
  xs: Any
  trail: Trail
  encode_apart: bool
  slots: list[int]
  doutput_of_all: list[Array] | None


class _OfRows(NamedTuple):
  """What a stage reads of its rows `[w]`: where their gradient enters, which, and their lengths.

  `doutput` is empty where gradients enter at all steps.
  """

  final_step: Array
  doutput: list[Array]
  lengths: Array | None


class _State(NamedTuple):
  """What a step changes.

  Attributes:
    t: int32, the step that comes next, that is the one before in time.
    dcarry: cotangents of the float leaves of the carry, of all rows or of a stage's `[w]`.
    dparams: gradients of the float leaves of params so far.
    dencoded: the log's arrays in `slots`, written over from the end on.
    dxs: flat gradients of the inputs so far, or None.
  """

  t: Array
  dcarry: list[Array]
  dparams: list[Array]
  dencoded: list[Array]
  dxs: list[Array] | None


def run_backward(
  functions: RowFunctions,
  params: Params,
  carry: Carry,
  xs: Any,
  lengths: Array | None,
  trail: Trail,
  doutput: list[Array],
  dxs: list[Array] | None,
  *,
  all_outputs: bool,
) -> tuple[list[Array], list[Array], list[Array] | None]:
  """Gradients of a run that was logged.

  Args:
    functions: as `run_and_log` took them.
    params: as it took them.
    carry: `[B, ...]`, before the first step.
    xs: `[B, T, ...]` inputs.
    lengths: `[B]`, or None.
    trail: what `run_and_log` gave.
    doutput: `[B, ...]` cotangents of the output's float leaves, which enter at
      `trail.final_step`; `[B, T, ...]`, which enter up to there, where all are given.
    dxs: zeros like the float leaves of xs where their gradient is wanted, else None.
    all_outputs: whether the run gave the outputs of all steps.

  Returns:
    Gradients of the float leaves of params, of carry and of xs, three lists; None where unwanted.
  """
  encode_apart = functions.encode is not None
  inputs = trail.first_encoded if encode_apart else jax.tree.map(lambda a: a[:, 0], xs)
  pull = step_halves(functions, params, carry, inputs)[1]
  slots = cotangent_slots(trail.log, inputs) if encode_apart else []
  flatten = lambda arrays: [a.reshape(-1, *a.shape[2:]) for a in arrays]
  of_all = flatten(doutput) if all_outputs else None
  pass_ = _Pass(pull, params, xs, trail, encode_apart, slots, of_all)
  state = _State(
    t=jnp.int32(0),
    dcarry=[jnp.zeros_like(a) for a in floats(carry)],
    dparams=[jnp.zeros_like(p) for p in floats(params)],
    dencoded=[trail.log[i] for i in slots],
    dxs=None if dxs is None else flatten(dxs),
  )
  of_rows = _OfRows(trail.final_step, [] if all_outputs else doutput, lengths)
  for stage in reversed(trail.stages):
    state = _run_stage(pass_, stage, of_rows, state)
  dparams, dcarry, dxs = _finish(functions, pass_, carry, inputs, of_rows, state)
  if dxs is not None:
    dxs = [a.reshape(b.shape) for a, b in zip(dxs, floats(xs), strict=True)]
  return dparams, dcarry, dxs


def _run_stage(pass_: _Pass, stage: Stage, of_rows: _OfRows, state: _State) -> _State:
  """All steps of a stage; the rows of a narrow one are gathered from all rows and put back."""

  def run_loop(own: _OfRows, s: _State) -> _State:
    return lax.while_loop(is_within, functools.partial(_step_back, pass_, stage, own), s)

  def is_within(s: _State) -> Array:
    return s.t >= stage.first

  def run(s: _State) -> _State:
    own, own_dcarry = gather_rows((of_rows, s.dcarry), stage.rows)
    after = run_loop(own, s._replace(dcarry=own_dcarry))
    dcarry = scatter_rows(s.dcarry, stage.rows, after.dcarry)
    return vary_alike(after._replace(dcarry=dcarry), pass_.xs)[0]

  state = vary_alike(state._replace(t=stage.end - 1), pass_.xs)[0]
  if stage.rows.size == rows_and_steps(pass_.xs)[0]:
    return run_loop(of_rows, state)
  # An outer loop that runs once or not at all, as in the forward pass.
  return lax.while_loop(is_within, run, state)


def _step_back(pass_: _Pass, stage: Stage, own: _OfRows, s: _State) -> _State:
  """One step of the rows of a stage, backwards."""
  width = stage.rows.size
  start = stage.log_start + (s.t - stage.first) * width
  steps = rows_and_steps(pass_.xs)[1]
  flat = stage.rows * steps + s.t
  residuals = list(pass_.trail.log)
  for slot, array in zip(pass_.slots, s.dencoded, strict=True):
    residuals[slot] = array  # from `start + width` on it holds cotangents, before that residuals
  residuals = read_entries(residuals, start, width)
  inputs = None
  if not pass_.encode_apart:
    last = steps - 1 if own.lengths is None else own.lengths - 1
    inputs = inputs_of_step(pass_.xs, stage.rows, s.t, last)
  cotangents = [*s.dcarry, *_entering(pass_, own, s.t, flat)]
  dparams, dcarry, dinputs = pass_.pull(pass_.params, inputs, residuals, cotangents)
  s = s._replace(t=s.t - 1, dcarry=dcarry, dparams=add(s.dparams, dparams))
  if pass_.encode_apart:
    s = s._replace(dencoded=write_entries(s.dencoded, dinputs, start))
  elif s.dxs is not None:
    s = s._replace(dxs=add_input_gradients(s.dxs, flat, dinputs))
  return vary_alike(s, pass_.xs)[0]


def _finish(
  functions: RowFunctions, pass_: _Pass, carry: Carry, inputs: Any, of_rows: _OfRows, s: _State
) -> tuple[list[Array], list[Array], list[Array] | None]:
  """The first step's derivative and, where it stands apart, the gradient of `encode`."""
  rows, steps = rows_and_steps(pass_.xs)
  flat = jnp.arange(rows, dtype=jnp.int32) * steps
  pull = vjp_of_floats(functions.first_step, pass_.params, carry, inputs)
  dparams, dcarry, dinputs = pull([*s.dcarry, *_entering(pass_, of_rows, jnp.int32(0), flat)])
  dparams, dxs = add(s.dparams, dparams), s.dxs
  if functions.encode is not None and pass_.slots:
    dparams, dxs = add_encode_gradient(
      functions.encode,
      pass_.params,
      pass_.xs,
      first=(flat, dinputs),
      log=(find_positions(pass_.trail, of_rows.lengths, steps), s.dencoded),
      logged=pass_.trail.logged,
      gradients=(dparams, dxs),
    )
  elif not pass_.encode_apart and dxs is not None:
    dxs = add_input_gradients(dxs, flat, dinputs)
  return dparams, dcarry, dxs


def _entering(pass_: _Pass, own: _OfRows, t: Array, flat: Array) -> list[Array]:
  """Cotangents of the outputs of step t, of the rows `[w]` whose gradient enters there."""
  if pass_.doutput_of_all is None:
    doutput, enters = own.doutput, own.final_step == t
  else:
    doutput, enters = gather_rows(pass_.doutput_of_all, flat), own.final_step >= t
  return select_rows(enters, doutput, [jnp.zeros((), a.dtype) for a in doutput])

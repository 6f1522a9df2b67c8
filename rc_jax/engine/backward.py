"""The backward pass: the loops of the forward pass in reverse, along the log.

Each step reads its residuals from the log and pulls the cotangents of its rows' carries through the
step. A row's own cotangent enters at its spike. The first step follows outside the loops, then the
gradient of `encode` where it stands apart.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rc_jax.engine.encode_gradient import add_encode_gradient
from rc_jax.engine.float_leaves import add, floats, vjp_of_floats
from rc_jax.engine.forward import RowFunctions, Stage, Trail, step_halves
from rc_jax.engine.log import (
  add_input_gradients,
  cotangent_slots,
  inputs_at,
  read_entries,
  rows_and_steps,
  write_entries,
)
from rc_jax.engine.rows import gather_rows, scatter_rows, select_rows
from rc_jax.engine.sharding import vary_alike
from rc_jax.types import Array, Carry, Params


def run_backward(
  functions: RowFunctions,
  params: Params,
  carry: Carry,
  xs: Any,
  lengths: Array | None,
  trail: Trail,
  doutput: list[Array],
  dxs: list[Array] | None,
) -> tuple[list[Array], list[Array], list[Array] | None]:
  """Gradients of a run that was logged.

  Args:
    functions: as `run_and_log` took them.
    params: as it took them.
    carry: `[B, ...]`, before the first step.
    xs: `[B, T, ...]` inputs.
    lengths: `[B]`, or None.
    trail: what `run_and_log` gave.
    doutput: `[B, ...]` cotangents of the output's float leaves, which enter at `trail.enters`.
    dxs: zeros like the float leaves of xs where their gradient is wanted, else None.

  Returns:
    Gradients of the float leaves of params, of carry and of xs, three lists; None where unwanted.
  """
  rows, steps = rows_and_steps(xs)
  apart = functions.encode is not None
  first_inputs = trail.first_encoded if apart else jax.tree.map(lambda a: a[:, 0], xs)
  _, second_half = step_halves(functions, params, carry, first_inputs)
  slots = cotangent_slots(trail.log.residuals, first_inputs) if apart else []
  dcarry = [jnp.zeros_like(a) for a in floats(carry)]
  dparams = [jnp.zeros_like(p) for p in floats(params)]
  dencoded = [trail.log.residuals[i] for i in slots]  # written over, step by step
  if dxs is not None:
    dxs = [a.reshape(-1, *a.shape[2:]) for a in dxs]

  def retreat(
    stage: Stage, enters: Array, doutput: list[Array], lengths: Array | None, s: tuple
  ) -> tuple:
    """One step of the rows of a stage, of which the other arguments are."""
    t, dcarry, dparams, dencoded, dxs = s
    start = stage.log_start + (t - stage.first) * stage.rows.size
    flat = stage.rows * steps + t
    residuals = list(trail.log.residuals)
    for i, a in zip(slots, dencoded, strict=True):
      residuals[i] = a
    residuals = read_entries(residuals, start, stage.rows.size)
    valid = None if lengths is None else t < lengths
    inputs = None if apart else inputs_at(xs, flat, valid)
    cotangents = [*dcarry, *_entering(doutput, enters == t)]
    dp, dcarry, dinputs = second_half(params, inputs, residuals, cotangents)
    if apart:
      dencoded = write_entries(dencoded, dinputs, start)
    elif dxs is not None:
      dxs = add_input_gradients(dxs, flat, dinputs)
    return vary_alike((t - 1, dcarry, add(dparams, dp), dencoded, dxs), xs)[0]

  def run_stage(stage: Stage, within, s: tuple) -> tuple:
    """All steps of a stage, with its rows gathered from all and put back."""
    t, dcarry, *rest = s
    own, *others = gather_rows((dcarry, trail.enters, doutput, lengths), stage.rows)
    t, own, *rest = lax.while_loop(
      within, functools.partial(retreat, stage, *others), (t, own, *rest)
    )
    return vary_alike((t, scatter_rows(dcarry, stage.rows, own), *rest), xs)[0]

  for stage in reversed(trail.stages):
    within = lambda s, stage=stage: s[0] >= stage.first
    state = vary_alike((stage.end - 1, dcarry, dparams, dencoded, dxs), xs)[0]
    # Once or not at all, as in the forward pass.
    run = functools.partial(run_stage, stage, within)
    _, dcarry, dparams, dencoded, dxs = lax.while_loop(within, run, state)

  pull = vjp_of_floats(functions.first_step, params, carry, first_inputs)
  dp, dcarry, dinputs = pull([*dcarry, *_entering(doutput, trail.enters == 0)])
  dparams = add(dparams, dp)
  first = jnp.arange(rows, dtype=jnp.int32) * steps
  if apart:
    assert functions.encode is not None
    entries = ((first, dinputs), (trail.log.flat, dencoded))
    dparams, dxs = add_encode_gradient(
      functions.encode, params, xs, lengths, *entries, trail.logged, (dparams, dxs)
    )
  elif dxs is not None:
    dxs = add_input_gradients(dxs, first, dinputs)
  if dxs is not None:
    dxs = [a.reshape(b.shape) for a, b in zip(dxs, floats(xs), strict=True)]
  return dparams, dcarry, dxs


def _entering(doutput: list[Array], now: Array) -> list[Array]:
  """Cotangents of the outputs of a step: those of rows `[w]` whose gradient enters now."""
  return select_rows(now, doutput, [jnp.zeros((), a.dtype) for a in doutput])

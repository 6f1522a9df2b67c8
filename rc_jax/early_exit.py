"""The early-exit engine: what comes after a row's first spike is not computed, nor differentiated.

Its two passes over the packed log are in `packed_log.py`; here they become a differentiable
function of anything that JAX can trace.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from rc_jax.float_leaves import among, floats
from rc_jax.packed_log import Net, Spike, backward, forward, predict
from rc_jax.sharding import same_axes, vary_alike
from rc_jax.types import Array, Carry, Encode, Params, Step
from rc_jax.zeros import at_zero_carry


def run_to_spike(
  step: Step,
  encode: Encode | None,
  params: Params,
  carry: Carry,
  xs: Array,
  thresholds: Array,
  lengths: Array | None,
  *,
  to_end: bool = False,
  zero_carry: bool = False,
) -> tuple[Spike, Array]:
  """Runs each row to its first spike, and not further than its neighbours need.

  Differentiable once, in reverse, in the float leaves of params, carry and xs. Under `jax.vmap`
  members run one after the other, so that each stops by itself.

  Args:
    step: `(params, carry, encoded) -> (carry, logits [C])`, of one sequence.
    encode: `(params, x) -> encoded`, or None.
    params: of both.
    carry: with leading axis `[B]`.
    xs: `[B, T, ...]`.
    thresholds: `[T]` float32 on the confidence.
    lengths: `[B]` int32, or None for T.
    to_end: run each row to its last step, and note its first spike on the way.
    zero_carry: take the float leaves of carry for zeros: the first step leaves out their products,
      and no gradient reaches them.

  Returns:
    Spike, and the int32 number of row-steps computed, at most `B * T`.
  """
  params, carry, xs, thresholds, lengths = vary_alike(params, carry, xs, thresholds, lengths)
  net, params = _net(step, encode, params, carry, xs, zero_carry)
  # A while loop under vmap would run all members until the last one stops, and copy their logs.
  run_only, run_and_log, differentiate = (
    jax.custom_batching.sequential_vmap(f)
    for f in (
      functools.partial(predict, net, to_end),
      functools.partial(forward, net, to_end),
      functools.partial(backward, net),
    )
  )

  @jax.custom_vjp
  def run(params, carry, xs, thresholds, lengths):
    return run_only(params, carry, xs, thresholds, lengths)

  def run_forward(*arguments):
    params, carry, xs, thresholds, lengths = jax.tree.map(lambda a: a.value, arguments)
    spike, computed, trail = run_and_log(params, carry, xs, thresholds, lengths)
    dxs = jnp.zeros_like(xs) if arguments[2].perturbed else None
    return (spike, computed), (params, carry, xs, lengths, trail, dxs)

  def run_backward(residuals, cotangents):
    params, carry, xs, lengths, trail, dxs = residuals
    dlogits = cotangents[0].logits
    if isinstance(dlogits, jax.custom_derivatives.SymbolicZero):
      return None, None, None, None, None
    dparams, dcarry, dxs = differentiate(params, carry, xs, lengths, trail, dlogits, dxs)
    return among(params, dparams), among(carry, dcarry), dxs, None, None

  run.defvjp(run_forward, run_backward, symbolic_zeros=True)
  return run(params, carry, xs, thresholds, lengths)


def _net(
  step: Step, encode: Encode | None, params: Params, carry: Carry, xs: Array, zero_carry: bool
) -> tuple[Net, Params]:
  """The functions of rows, and params with all that `step` and `encode` closed over."""
  x = xs[0, 0]
  one = jax.tree.map(lambda a: a[0], carry)
  if encode is not None and not _stands_apart(encode, params, x):
    step, encode = _joined(step, encode), None
  encoded: Any = x
  captured: list[Array] = []
  if encode is not None:
    encoded = vary_alike(encode(params, x), x)[0]
    encode, captured = _opened(encode, params, x)
  at_first = at_zero_carry(step) if zero_carry else step
  first, captured_first = _opened(at_first, params, one, encoded)
  step, captured_step = _opened(step, params, one, encoded)
  of_rows = lambda f, i: lambda p, *rows: jax.vmap(lambda *row: f(p[i], p[0], *row))(*rows)
  net = Net(of_rows(first, 1), of_rows(step, 2), None if encode is None else of_rows(encode, 3))
  return net, (params, captured_first, captured_step, captured)


def _opened(fun: Callable, *examples: Any) -> tuple[Callable, list[Array]]:
  """`fun` with the traced values that it closes over as its first argument, and these values.

  `custom_vjp` and the loop over a population see arguments only.
  """
  closed, shape = jax.make_jaxpr(fun, return_shape=True)(*examples)
  structure = jax.tree.structure(shape)
  traced = [isinstance(value, jax.core.Tracer) for value in closed.consts]

  def opened(captured, *arguments):
    of_captured = iter(captured)
    consts = [next(of_captured) if t else c for t, c in zip(traced, closed.consts, strict=True)]
    call = jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, consts))
    return jax.tree.unflatten(structure, call(*jax.tree.leaves(arguments)))

  captured = [c for t, c in zip(traced, closed.consts, strict=True) if t]
  for value in floats(captured):
    if not same_axes(value, *examples):
      # Its gradient would be a sum over devices in a loop that each device leaves at its own time.
      raise ValueError(
        f"under shard_map, step and encode close over a replicated {value.dtype}"
        f"{list(value.shape)}; give it in params, or choose engine='full'"
      )
  return opened, captured


def _joined(step: Step, encode: Encode) -> Step:
  return lambda params, carry, x: step(params, carry, encode(params, x))


def _stands_apart(encode: Encode, params: Params, x: Array) -> bool:
  """Whether the gradient of `encode` is formed over the log, or within each step.

  Apart, each encoded number is written to the log and read again; within, each takes part in a
  second forward product and each weight in a sum per step. So it depends on how many weights there
  are to an encoded number, which for a dense layer is its number of inputs: 420 and 784 gain up to
  0.4 of a full step's time apart, 1 gains 0.1 to 0.2 within (2 cores, T * B = 1280 to 20480).
  """
  traced: Any = jax.make_jaxpr(encode)(params, x).jaxpr
  read = {id(v) for equation in traced.eqns for v in equation.invars}
  leaves = zip(traced.invars, jax.tree.leaves(params), strict=False)
  weights = sum(leaf.size for variable, leaf in leaves if id(variable) in read)
  return weights >= 32 * sum(v.aval.size for v in traced.outvars)

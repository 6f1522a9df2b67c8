"""Early exit as a differentiable function: nothing after a row's first spike is computed.

`run_to_spike` ties the forward and the backward pass together by `jax.custom_vjp`, for functions of
anything that JAX can trace: trees, integers, values that a step closes over.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rc_jax.engine.backward import run_backward
from rc_jax.engine.float_leaves import floats, replace_floats
from rc_jax.engine.forward import run_and_log, run_without_log
from rc_jax.engine.jax_internals import closure_convert
from rc_jax.engine.kept_sums import mark_sums
from rc_jax.engine.place_encode import place_encode
from rc_jax.engine.records import RowFunctions, Spike
from rc_jax.engine.sharding import varies_as, vary_alike
from rc_jax.engine.zero_carry import at_zero_carry
from rc_jax.types import Array, Carry, Decode, Encode, Params, Step

ONE_REVERSE_DERIVATIVE = (
  "early exit has one reverse derivative, no forward one and no second; choose engine='full'"
)


def run_to_spike(
  step: Step,
  encode: Encode | None,
  decode: Decode,
  params: Params,
  carry: Carry,
  xs: Any,
  thresholds: Array,
  lengths: Array | None,
  *,
  most_widths: int,
  to_end: bool = False,
  all_outputs: bool = False,
  zero_carry: bool = False,
) -> tuple[Spike, Array]:
  """Runs each row to its first spike; a row may run further until its loop narrows.

  Differentiable once, in reverse, in the float leaves of params, carry and xs. Under `jax.vmap`
  members run one after the other, so that each stops by itself.

  Args:
    step: `(params, carry, encoded) -> (carry, output)`, of one sequence.
    encode: `(params, x) -> encoded`, or None.
    decode: `(params, output) -> logits [C]`.
    params: of all three.
    carry: with leading axis `[B]`.
    xs: tree of `[B, T, ...]`.
    thresholds: `[T]` float32 on the confidence.
    lengths: `[B]` int32, or None for T.
    most_widths: the largest number of loops.
    to_end: run each row to its last step, and record its first spike on the way.
    all_outputs: give the outputs of all steps up to a row's spike or end, not of that alone.
    zero_carry: take carry's floats for zeros: no products with them, and no gradient to them.

  Returns:
    Spike, and the int32 number of row-steps computed, at most `B * T`.

  Raises:
    ValueError: a second or forward derivative, if it is taken where this function is traced.
  """
  params, carry, xs, thresholds, lengths = vary_alike(params, carry, xs, thresholds, lengths)
  functions, bound = _map_over_rows(step, encode, decode, params, carry, xs, zero_carry)
  run = _make_differentiable(
    functools.partial(run_without_log, functions, to_end, all_outputs, most_widths),
    functools.partial(run_and_log, functions, to_end, all_outputs, most_widths),
    functools.partial(run_backward, functions, all_outputs=all_outputs),
  )
  try:
    return run(bound, carry, xs, thresholds, lengths)
  except TypeError as error:
    if "forward-mode" in str(error):  # words of JAX's own TypeError; a test asks for ours
      raise ValueError(ONE_REVERSE_DERIVATIVE) from error
    raise


def _make_differentiable(run_only: Callable, log_run: Callable, pull_back: Callable) -> Callable:
  """A function `(params, carry, xs, thresholds, lengths) -> (Spike, computed)` of three passes."""
  # A while loop under vmap would run all members until the last one stops, and copy their logs.
  one_by_one = jax.custom_batching.sequential_vmap
  run = jax.custom_vjp(one_by_one(run_only))
  log_run, pull_back = map(_refuse_derivative, map(one_by_one, (log_run, pull_back)))

  def forward_rule(*arguments):
    params, carry, xs, thresholds, lengths = jax.tree.map(lambda a: a.value, arguments)
    spike, computed, trail = log_run(params, carry, xs, thresholds, lengths)
    asked = any(a.perturbed for a in jax.tree.leaves(arguments[2]))
    dxs = [jnp.zeros_like(a) for a in floats(xs)] if asked else None
    return (spike, computed), (params, carry, xs, lengths, trail, dxs)

  def backward_rule(residuals, cotangents):
    params, carry, xs, lengths, trail, dxs = residuals
    doutput = _instantiate(cotangents[0].output)
    if doutput is None:
      return None, None, None, None, None
    dparams, dcarry, dxs = pull_back(params, carry, xs, lengths, trail, doutput, dxs)
    dxs = None if dxs is None else replace_floats(xs, dxs)
    return replace_floats(params, dparams), replace_floats(carry, dcarry), dxs, None, None

  run.defvjp(forward_rule, backward_rule, symbolic_zeros=True)
  return run


def _refuse_derivative(fun: Callable) -> Callable:
  """`fun`, which must not be differentiated: a while loop has no reverse derivative."""

  @jax.custom_vjp
  def run(*arguments):
    return fun(*arguments)

  def refuse(*arguments):
    raise ValueError(ONE_REVERSE_DERIVATIVE)

  run.defvjp(refuse, refuse)
  return run


def _instantiate(cotangents: Any) -> list[Array] | None:
  """Cotangents of the float leaves, or None where nothing depends on any of them."""
  is_zero = lambda a: isinstance(a, jax.custom_derivatives.SymbolicZero)
  leaves = jax.tree.leaves(cotangents, is_leaf=is_zero)
  if all(is_zero(a) for a in leaves):
    return None
  leaves = [a for a in leaves if a.dtype != jax.dtypes.float0]
  return [jnp.zeros(a.shape, a.dtype) if is_zero(a) else a for a in leaves]


class _BoundParams(NamedTuple):
  """What the functions of rows take as their params, and get gradients to.

  Attributes:
    own: the classifier's params.
    first_step: the traced values that the first step closes over.
    step: those of later steps.
    encode: those of `encode`.
    decode: those of `decode`.
  """

  own: Params
  first_step: list[Array]
  step: list[Array]
  encode: list[Array]
  decode: list[Array]


def _map_over_rows(
  step: Step,
  encode: Encode | None,
  decode: Decode,
  params: Params,
  carry: Carry,
  xs: Any,
  zero_carry: bool,
) -> tuple[RowFunctions, _BoundParams]:
  """The functions of rows, and params with all that the classifier's functions close over."""
  x = jax.tree.map(lambda a: a[0, 0], xs)
  one = jax.tree.map(lambda a: a[0], carry)
  step, encode = place_encode(step, encode, params, x)
  encoded: Any = x
  of_encode: list[Array] = []
  if encode is not None:
    encoded = vary_alike(encode(params, x), x)[0]
    encode, of_encode = _convert(encode, params, x)
  output = jax.eval_shape(step, params, one, encoded)[1]
  at_first = at_zero_carry(step) if zero_carry else step
  first_step, of_first = _convert(at_first, params, one, encoded)
  num_params, num_carry = (len(jax.tree.leaves(tree)) for tree in (params, one))
  mark = functools.partial(mark_sums, num_params=num_params, num_carry=num_carry)
  step, of_step = _convert(step, params, one, encoded, rewrite=mark)
  decode, of_decode = _convert(decode, params, output)
  functions = RowFunctions(
    first_step=_over_rows(first_step, "first_step"),
    step=_over_rows(step, "step"),
    encode=None if encode is None else _over_rows(encode, "encode"),
    decode=_over_rows(decode, "decode"),
  )
  return functions, _BoundParams(params, of_first, of_step, of_encode, of_decode)


def _over_rows(converted: Callable, name: str) -> Callable:
  """Maps a function that `_convert` gave over rows: `(bound params, *rows) -> rows`."""

  def run(bound: _BoundParams, *rows: Any) -> Any:
    of_one = functools.partial(converted, getattr(bound, name), bound.own)
    return jax.vmap(of_one)(*rows)

  return run


def _convert(fun: Callable, *examples: Any, **options: Any) -> tuple[Callable, list[Array]]:
  """`closure_convert`, which refuses captured values that are replicated over devices."""
  converted, captured = closure_convert(fun, *examples, **options)
  for value in floats(captured):
    if not varies_as(value, *[e for e in examples if not _is_abstract(e)]):
      # Its gradient would be a sum over devices in a loop that each device leaves at its own time.
      raise ValueError(
        f"under shard_map, step and encode close over a replicated {value.dtype}"
        f"{list(value.shape)}; give it in params, or choose engine='full'"
      )
  return converted, captured


def _is_abstract(tree: Any) -> bool:
  return any(isinstance(a, jax.ShapeDtypeStruct) for a in jax.tree.leaves(tree))

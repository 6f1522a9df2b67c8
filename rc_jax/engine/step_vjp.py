"""The derivative of a step in two halves: what it stores of each row, and what it makes of that.

Between the forward and the backward pass lies the log, which must hold arrays with an axis of rows
and nothing else. `jax.vjp` keeps much more: every gate of every step. Here the first half stores
the arguments of a step, as far as its derivative needs them, and the values that `keep` marks; the
second half rematerialises all else from those. To store more costs memory traffic that takes longer
than to compute it again (measured for the paper's four networks on two CPU cores).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from rc_jax.engine.float_leaves import floats, replace_floats
from rc_jax.engine.jax_internals import pull_back_with, vjp_and_residuals
from rc_jax.types import Array, Carry, Encoded, Params

KEPT = "kept by early exit"


def keep(values: Array) -> Array:
  """Marks what early exit stores of a step rather than computes again; changes no value.

  It pays for the sum of a step's products, just before the nonlinearity: the backward pass then
  multiplies once less. Where that sum has the shape of `encode`'s result, the cotangent of that
  result can overwrite it, so that no array is added. A step that marks nothing has such sums marked
  for it (`engine/kept_sums.py`), so this is for who knows better.

  Args:
    values: of any shape, in a step.

  Returns:
    The same values.
  """
  return checkpoint_name(values, KEPT)


def split_vjp(
  step: Callable, params: Params, carry: Carry, inputs: Encoded, *, inputs_at_hand: bool
) -> tuple[Callable, Callable]:
  """Splits `jax.vjp` of a step into halves that exchange arrays with an axis of rows.

  The second half retraces the step on copies of the example's first row, substitutes the stored
  residuals for those that depend on rows, and lets XLA remove the computation that is then dead.

  Args:
    step: `(params, carry [w, ...], inputs [w, ...]) -> (carry, output [w, ...])` for any w.
    params: as both halves will get them.
    carry: `[B, ...]`, an example.
    inputs: `[B, ...]`, an example.
    inputs_at_hand: the second half will get the inputs too, so that they are not stored.

  Returns:
    `first(params, carry, inputs) -> (result, stored)`, a list of arrays `[w, ...]`; and
    `second(params, inputs, stored, cotangents) -> gradients`, of which inputs is None unless at
    hand, cotangents are those of the result's float leaves, and gradients three lists, of the float
    leaves of params, carry and inputs.

  Raises:
    ValueError: a residual in which the axis of rows cannot be told.
  """

  axes = _find_row_axes(step, params, carry, inputs, inputs_at_hand=inputs_at_hand)

  def first(params, carry, inputs):
    result, leaves, _ = _vjp(step, params, carry, inputs)
    of_rows = [(leaf, axis) for leaf, axis in zip(leaves, axes, strict=True) if axis is not None]
    return result, [jnp.moveaxis(leaf, axis, 0) for leaf, axis in of_rows]

  def second(params, inputs_or_none, stored, cotangents):
    rows = len(cotangents[-1])
    example = inputs_or_none if inputs_at_hand else _repeat_first_row(inputs, rows)
    _, leaves, structure = _vjp(step, params, _repeat_first_row(carry, rows), example)
    of_rows = iter(stored)  # replace all that depends on the examples
    leaves = [
      leaf if axis is None else jnp.moveaxis(next(of_rows), 0, axis)
      for leaf, axis in zip(leaves, axes, strict=True)
    ]
    return pull_back_with(structure, leaves, cotangents)

  return first, second


def _find_row_axes(
  step: Callable, params: Params, carry: Carry, inputs: Encoded, *, inputs_at_hand: bool
) -> list[int | None]:
  """The axis of rows of each residual; None for those that are not stored.

  Parameters, and what is computed of them alone, have the same shape for any number of rows: they
  are computed again. So shapes for 2 and 3 rows tell all, and small numbers cost little to trace.
  """

  def residual_shapes(rows: int) -> list[tuple[int, ...] | None]:
    """Residual shapes for a batch of `rows`; None for inputs that are at hand."""

    def residuals(params, carry, inputs):
      inputs = _repeat_first_row(inputs, rows)
      at_hand = floats(inputs) if inputs_at_hand else []
      leaves = _vjp(step, params, _repeat_first_row(carry, rows), inputs)[1]
      # JAX hands on an argument that it keeps as the same tracer. Did it not, inputs would be
      # stored in vain and results stay right.
      return [None if any(leaf is a for a in at_hand) else leaf for leaf in leaves]

    leaves = jax.eval_shape(residuals, params, carry, inputs)
    return [None if leaf is None else leaf.shape for leaf in leaves]

  pairs = zip(residual_shapes(2), residual_shapes(3), strict=True)
  return [None if two is None or three is None else _row_axis(two, three) for two, three in pairs]


def _row_axis(two: tuple[int, ...], three: tuple[int, ...]) -> int | None:
  """The axis of rows of a residual, from its shapes for 2 and for 3 rows; None if it has none."""
  if two == three:
    return None
  pairs = list(zip(two, three, strict=False))
  different = [axis for axis, sizes in enumerate(pairs) if sizes[0] != sizes[1]]
  if len(two) != len(three) or [pairs[axis] for axis in different] != [(2, 3)]:
    raise ValueError(
      f"a residual of step has shape {list(two)} for 2 rows and {list(three)} for 3, so early exit "
      "cannot tell its axis of rows; choose engine='full'"
    )
  return different[0]


def _vjp(step: Callable, *arguments: Any) -> tuple[Any, list[Array], Any]:
  """The result of a step, its residuals and their structure."""

  def of_floats(*leaves):
    pairs = zip(arguments, leaves, strict=True)
    result = step(*(replace_floats(a, f, a) for a, f in pairs))
    return floats(result), result

  policy = jax.checkpoint_policies.save_only_these_names(KEPT)
  # Both halves are bodies of loops of their own, so XLA finds nothing to merge across them.
  rematerialised = jax.checkpoint(of_floats, policy=policy, prevent_cse=False)
  return vjp_and_residuals(rematerialised, *map(floats, arguments))


def _repeat_first_row(tree: Any, rows: int) -> Any:
  """`rows` copies of the first row."""
  return jax.tree.map(lambda a: jnp.broadcast_to(a[:1], (rows, *a.shape[1:])), tree)

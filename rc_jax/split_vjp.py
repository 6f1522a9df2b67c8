"""The derivative of a step in two halves: what it keeps of each row, and what it makes of that."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from rc_jax.float_leaves import among, floats
from rc_jax.types import Array, Carry, Encoded, Params

_KEPT = "kept by early exit"


def keep(values: Array) -> Array:
  """Marks what early exit should keep of a step rather than compute again; changes nothing.

  Worth it for the sum of a step's products, where that is as large as what `encode` gives: then it
  takes the place of that. Anything else is memory against work.

  Args:
    values: of any shape, in a step.

  Returns:
    The same values.
  """
  return checkpoint_name(values, _KEPT)


def split_vjp(
  step: Callable, params: Params, carry: Carry, inputs: Encoded, *, inputs_at_hand: bool
) -> tuple[Callable, Callable]:
  """Halves of `jax.vjp`, between which an array of each row is all that must be stored.

  These are the step's arguments, as far as its derivative needs them, and what `keep` marks. All
  else is computed again: of the parameters alone, or of what is stored.

  Args:
    step: `(params, carry [w, ...], inputs [w, ...]) -> (carry, logits [w, C])` for any w.
    params: as both halves will get them.
    carry: `[B, ...]`, an example.
    inputs: `[B, ...]`, an example.
    inputs_at_hand: the second half will have the inputs too, so that they are not stored.

  Returns:
    `first(params, carry, inputs) -> (result, stored)`, a list of arrays `[w, ...]`; and
    `second(params, inputs, stored, cotangents) -> gradients`, of which inputs is None unless at
    hand, cotangents are those of the result's float leaves, and gradients three lists, of the float
    leaves of params, carry and inputs.
  """

  def shapes(rows):
    """Of the residuals of so many rows; `()` of inputs at hand."""

    def residuals(params, carry, inputs):
      inputs = _first_row(inputs, rows)
      at_hand = floats(inputs) if inputs_at_hand else []
      leaves = _vjp(step, params, _first_row(carry, rows), inputs)[1]
      return [None if any(leaf is a for a in at_hand) else leaf for leaf in leaves]

    leaves = jax.eval_shape(residuals, params, carry, inputs)
    return [() if leaf is None else leaf.shape for leaf in leaves]

  # What has an axis of rows, and is to be stored, is longer there with more rows.
  axes = [
    next((axis for axis, sizes in enumerate(zip(*pair, strict=True)) if sizes == (2, 3)), None)
    for pair in zip(shapes(2), shapes(3), strict=True)
  ]

  def first(params, carry, inputs):
    result, leaves, _ = _vjp(step, params, carry, inputs)
    of_rows = [(leaf, axis) for leaf, axis in zip(leaves, axes, strict=True) if axis is not None]
    return result, [jnp.moveaxis(leaf, axis, 0) for leaf, axis in of_rows]

  def second(params, given, stored, cotangents):
    rows = len(cotangents[-1])
    example = given if inputs_at_hand else _first_row(inputs, rows)
    _, leaves, structure = _vjp(step, params, _first_row(carry, rows), example)
    of_rows = iter(stored)  # in place of all that depends on the examples
    leaves = [
      leaf if axis is None else jnp.moveaxis(next(of_rows), 0, axis)
      for leaf, axis in zip(leaves, axes, strict=True)
    ]
    return jax.tree.unflatten(structure, leaves)(cotangents)

  return first, second


def _vjp(step: Callable, *arguments: Any) -> tuple[Any, list[Array], Any]:
  """The result, and `jax.vjp`'s function of cotangents as its residuals and their structure."""

  def of_floats(*leaves):
    result = step(*(among(a, f, a) for a, f in zip(arguments, leaves, strict=True)))
    return floats(result), result

  policy = jax.checkpoint_policies.save_only_these_names(_KEPT)
  # Both halves are bodies of loops of their own, where XLA finds nothing to merge.
  remade = jax.checkpoint(of_floats, policy=policy, prevent_cse=False)
  _, pull, result = jax.vjp(remade, *map(floats, arguments), has_aux=True)
  leaves, structure = jax.tree.flatten(pull)
  return result, leaves, structure


def _first_row(tree: Any, rows: int) -> Any:
  """Its first row, so many times."""
  return jax.tree.map(lambda a: a[jnp.zeros(rows, jnp.int32)], tree)

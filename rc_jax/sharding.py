"""What `jax.shard_map` asks of values that meet in a loop."""

from typing import Any

import jax
import jax.numpy as jnp


def vary_alike(*trees: Any) -> tuple[Any, ...]:
  """Marks all leaves as varying over every mapped axis that one of them varies over.

  Inside `shard_map(check_vma=True)` a loop's carry must keep its type, so constants that start a
  loop over device-varying values must be marked as such. Elsewhere this changes nothing. The
  gradient of a marked value is the sum over the axis, as that of an unmarked one would be.
  """
  leaves, structure = jax.tree.flatten(trees)
  leaves = [jnp.asarray(leaf) for leaf in leaves]
  axes = frozenset().union(*map(_axes, leaves))

  def mark(leaf):
    missing = tuple(axes - _axes(leaf))
    return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

  return jax.tree.unflatten(structure, [mark(leaf) for leaf in leaves])


def same_axes(value: jax.Array, *trees: Any) -> bool:
  """Whether a value varies over the same mapped axes as every leaf of the trees."""
  return all(_axes(leaf) == _axes(value) for leaf in jax.tree.leaves(trees))


def zeros_of(aval: Any) -> jax.Array:
  """Zeros of an abstract value's shape and dtype, which vary over the mapped axes that it does."""
  zeros = jnp.zeros(aval.shape, aval.dtype)
  varying = tuple(aval.manual_axis_type.varying)
  return jax.lax.pcast(zeros, varying, to="varying") if varying else zeros


def _axes(value: jax.Array) -> frozenset:
  return jax.typeof(value).manual_axis_type.varying

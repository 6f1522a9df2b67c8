"""Types of values under `jax.shard_map`, which wants a loop's carry to keep its own."""

from typing import Any

import jax
import jax.numpy as jnp

from rc_jax.engine.jax_internals import varying_axes


def vary_alike(*trees: Any) -> tuple[Any, ...]:
  """Marks all leaves as varying over every mapped axis over which one of them varies.

  Inside `shard_map(check_vma=True)` a loop's carry must keep its type, so constants that start a
  loop over device-varying values must be marked as such. Elsewhere this changes nothing. The
  gradient of a marked value is the sum over the axis, as that of an unmarked one would be.

  Args:
    trees: of arrays.

  Returns:
    The same trees.
  """
  leaves, structure = jax.tree.flatten(trees)
  leaves = [jnp.asarray(leaf) for leaf in leaves]
  axes = frozenset().union(*map(varying_axes, leaves))
  return jax.tree.unflatten(structure, [_mark(leaf, axes - varying_axes(leaf)) for leaf in leaves])


def varies_as(value: jax.Array, *trees: Any) -> bool:
  """Whether a value varies over the same mapped axes as every leaf of the trees."""
  return all(varying_axes(leaf) == varying_axes(value) for leaf in jax.tree.leaves(trees))


def zeros_of_type(aval: Any) -> jax.Array:
  """Zeros of an abstract value's shape and dtype, which vary over the mapped axes that it does."""
  return _mark(jnp.zeros(aval.shape, aval.dtype), varying_axes(aval))


def _mark(leaf: jax.Array, axes: frozenset) -> jax.Array:
  return jax.lax.pcast(leaf, tuple(axes), to="varying") if axes else leaf

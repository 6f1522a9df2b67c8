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
  axes = frozenset().union(*(jax.typeof(leaf).manual_axis_type.varying for leaf in leaves))

  def mark(leaf):
    missing = tuple(axes - jax.typeof(leaf).manual_axis_type.varying)
    return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

  return structure.unflatten([mark(leaf) for leaf in leaves])

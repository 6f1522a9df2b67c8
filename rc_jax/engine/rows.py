"""From one sequence, which a classifier describes, to B rows."""

from typing import Any

import jax
import jax.numpy as jnp

from rc_jax.types import Array, Classifier, Params

# Each check of an index is a kernel more to compile and to start.
_IN_BOUNDS: Any = {"mode": "promise_in_bounds", "wrap_negative_indices": False}


def num_rows(tree: Any) -> int:
  """B of a tree of `[B, ...]` arrays."""
  return jax.tree.leaves(tree)[0].shape[0]


def initial_carries(classifier: Classifier, params: Params, rows: int) -> Any:
  """The carry before the first step, with a leading axis of `rows`."""
  carry = classifier.initial_carry(params)
  return jax.tree.map(lambda c: jnp.broadcast_to(c, (rows, *jnp.shape(c))), carry)


def gather_rows(tree: Any, index: Array) -> Any:
  """Rows `[w]` of a tree of `[B, ...]` arrays."""
  return jax.tree.map(lambda a: a.at[index].get(**_IN_BOUNDS), tree)


def scatter_rows(tree: Any, index: Array, values: Any) -> Any:
  """A tree of `[B, ...]` arrays with `values` `[w, ...]` in rows `[w]`, all of them different."""
  put = lambda a, b: a.at[index].set(b, unique_indices=True, **_IN_BOUNDS)
  return jax.tree.map(put, tree, values)


def select_rows(which: Array, chosen: Any, other: Any) -> Any:
  """Row by row of two trees `[B, ...]`: `chosen` where `which` `[B]` holds, else `other`.

  Leaves of `other` may also be scalars, for all rows.
  """
  pick = lambda a, b: jnp.where(which.reshape(which.shape + (1,) * (a.ndim - 1)), a, b)
  return jax.tree.map(pick, chosen, other)

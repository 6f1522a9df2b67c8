"""B rows of a classifier, which is a matter of one sequence."""

from typing import Any

import jax
import jax.numpy as jnp

from rc_jax.types import Array, Batch, Classifier, Params
from rc_jax.unroll import mask_padding, unroll


def initial_carries(classifier: Classifier, params: Params, rows: int) -> Any:
  """The carry before the first step, with a leading axis of `rows`."""
  carry = classifier.initial_carry(params)
  return jax.tree.map(lambda c: jnp.broadcast_to(c, (rows, *jnp.shape(c))), carry)


def unroll_rows(classifier: Classifier, params: Params, batch: Batch) -> Array:
  """Logits `[B, T, C]` of every step of every row; padding is cut at the entrance."""
  carries = initial_carries(classifier, params, batch.inputs.shape[0])
  one = lambda c, x: unroll(classifier.step, params, c, x, encode=classifier.encode)
  return jax.vmap(one)(carries, mask_padding(batch.inputs, batch.lengths))


def select_rows(which: Array, chosen: Any, other: Any) -> Any:
  """Row by row of two trees `[B, ...]`: `chosen` where `which` `[B]` holds, else `other`."""
  pick = lambda a, b: jnp.where(which.reshape(which.shape + (1,) * (a.ndim - 1)), a, b)
  return jax.tree.map(pick, chosen, other)

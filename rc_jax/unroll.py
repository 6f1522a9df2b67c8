"""Running a step function along its sequence."""

from typing import Any

import jax
import jax.numpy as jnp

from rc_jax.rank_code import rank_code
from rc_jax.types import Array, Carry, Encode, Params, RankCode, Step, identity


def unroll(
  step: Step, params: Params, carry: Carry, xs: Array, *, encode: Encode | None = None
) -> Array:
  """Runs every step of one sequence; `jax.vmap` it for more.

  Args:
    step: `(params, carry, encoded) -> (carry, logits [C])`.
    params: of `step` and `encode`.
    carry: before the first step.
    xs: `[T, ...]` inputs.
    encode: `(params, x) -> encoded`, the part of a step that needs no carry. It runs over all
      steps at once, so that its product is one large one. None: `step` takes `x`.

  Returns:
    `[T, C]` logits.

  Raises:
    ValueError: `step` changes the carry's structure, shape or dtype, or its logits are not `[C]`.
  """
  encoded = jax.vmap(encode or identity, (None, 0))(params, xs)
  _check_step(step, params, carry, encoded)
  return jax.lax.scan(lambda c, e: step(params, c, e), carry, encoded)[1]


def unroll_to_spike(
  step: Step,
  params: Params,
  carry: Carry,
  xs: Array,
  theta: Any,
  lengths: Array | None = None,
  *,
  encode: Encode | None = None,
) -> RankCode:
  """Runs each row up to its first spike (Algorithm 1); equals `rank_code` of `unroll`.

  Args:
    step: `(params, carry, encoded) -> (carry, logits [C])`, of one sequence.
    params: of `step` and `encode`.
    carry: with leading axis `[B]`.
    xs: `[B, T, ...]` inputs. Values at or after a row's length, NaN included, change nothing.
    theta: threshold in (1/C, 1): a scalar, or `[T]`, one a step.
    lengths: `[B]` int in `1..T`, or None for T.
    encode: `(params, x) -> encoded`, the part of a step that needs no carry.

  Returns:
    RankCode of `[B]` rows. Gradients flow through its logits.

  Raises:
    ValueError: as `unroll` and `first_crossing`, or leading axes that disagree.
  """
  _check_rows(carry, xs, lengths)
  logits = jax.vmap(lambda c, x: unroll(step, params, c, x, encode=encode))(
    carry, mask_padding(xs, lengths)
  )
  return rank_code(logits, theta, lengths)


def mask_padding(xs: Array, lengths: Array | None) -> Array:
  """Zeroes `[B, T, ...]` inputs at and after `[B]` lengths.

  A cotangent of zero does not stop a NaN (0 * NaN is NaN), so padding is cut at the entrance.
  """
  if lengths is None:
    return xs
  steps = jnp.arange(xs.shape[1], dtype=jnp.int32)
  valid = steps[None] < jnp.asarray(lengths, jnp.int32)[:, None]
  valid = valid.reshape(valid.shape + (1,) * (xs.ndim - 2))
  return jnp.where(valid, xs, jnp.zeros((), xs.dtype))


def _check_step(step: Step, params: Params, carry: Carry, encoded: Any) -> None:
  describe = lambda tree: jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)
  before = jax.eval_shape(lambda c: c, carry)
  first = jax.eval_shape(lambda tree: jax.tree.map(lambda a: a[0], tree), encoded)
  try:
    after, logits = jax.eval_shape(step, params, carry, first)
  except (TypeError, ValueError) as error:
    raise ValueError(
      f"step cannot take carry {describe(before)} with encoded input {describe(first)}: {error}"
    ) from error
  if describe(after) != describe(before):
    raise ValueError(f"step turns a carry {describe(before)} into {describe(after)}; keep it alike")
  if logits.ndim != 1:
    raise ValueError(f"step gives logits of shape {list(logits.shape)}; give [C] for one sequence")


def _check_rows(carry: Carry, xs: Array, lengths: Array | None) -> None:
  if xs.ndim < 2:
    raise ValueError(f"xs has shape {list(xs.shape)}; give [B, T, ...]")
  rows = {leaf.shape[:1] for leaf in jax.tree.leaves(carry)} | {xs.shape[:1]}
  if lengths is not None:
    rows.add(jnp.shape(lengths))
  if len(rows) > 1:
    raise ValueError(
      f"xs has {xs.shape[0]} rows, but carry and lengths have {sorted(rows - {xs.shape[:1]})}; "
      "give all of them the same leading axis [B]"
    )

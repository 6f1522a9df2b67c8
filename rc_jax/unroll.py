"""Running a step function along its sequence."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from rc_jax.checks import check_lengths
from rc_jax.early_exit import run_to_spike
from rc_jax.rank_code import at_step, rank_code, thresholds
from rc_jax.sharding import vary_alike
from rc_jax.types import Array, Carry, Encode, Params, RankCode, Step, identity

Engine = Literal["auto", "full", "early_exit"]


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
  params, carry, xs = vary_alike(params, carry, xs)
  encoded = jax.vmap(encode or identity, (None, 0))(params, xs)
  _check_step(step, params, carry, jax.tree.map(lambda a: a[0], encoded))
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
  engine: Engine = "auto",
) -> RankCode:
  """Runs each row up to its first spike (Algorithm 1); equals `rank_code` of `unroll`.

  Args:
    step: `(params, carry, encoded) -> (carry, logits [C])`, of one sequence.
    params: of `step` and `encode`.
    carry: with leading axis `[B]`.
    xs: `[B, T, ...]` inputs. Values at or after a row's length, NaN included, change nothing.
    theta: threshold in (1/C, 1): a scalar, or `[T]`, one a step.
    lengths: `[B]` int in `1..T`, or None for T. Traced ones are clipped to that range.
    encode: `(params, x) -> encoded`, the part of a step that needs no carry.
    engine: "early_exit" leaves out what comes after a row's spike, forward and backward, with the
      same results but for rounding; it has one reverse derivative, no forward ones and no second.
      "full" computes every row-step. "auto" takes what `choose_engine` says. Under `jax.vmap` early
      exit runs one member of a population after the other; "full" all at once.

  Returns:
    RankCode of `[B]` rows. Gradients flow through its logits.

  Raises:
    ValueError: as `unroll` and `first_crossing`, leading axes that disagree, an unknown engine.
  """
  return unroll_and_count(step, params, carry, xs, theta, lengths, encode=encode, engine=engine)[0]


def unroll_and_count(
  step: Step,
  params: Params,
  carry: Carry,
  xs: Array,
  theta: Any,
  lengths: Array | None,
  *,
  encode: Encode | None,
  engine: Engine,
  to_end: bool = False,
  zero_carry: bool = False,
) -> tuple[RankCode, Array]:
  """`unroll_to_spike`, or a run of each row to its end that notes its first spike on the way.

  With `zero_carry` early exit takes the float leaves of carry for zeros, as `run_to_spike` says.

  Returns:
    The rank code, whose logits are those at the end where rows run `to_end`; the share of the
    row-steps of `[B, T]` that were computed, float32.
  """
  if engine not in get_args(Engine):
    raise ValueError(f"engine is {engine!r}; choose one of {get_args(Engine)}")
  _check_rows(carry, xs, lengths)
  rows, steps = xs.shape[:2]
  if lengths is not None:
    # Traced ones cannot be checked: 0 would never end a row, T + 1 would read its neighbour.
    lengths = jnp.clip(jnp.asarray(lengths, jnp.int32), 1, steps)
  if engine == "auto":
    engine = choose_engine(rows, steps)
  if engine == "full":
    logits = jax.vmap(lambda c, x: unroll(step, params, c, x, encode=encode))(
      carry, mask_padding(xs, lengths)
    )
    code = rank_code(logits, theta, lengths)
    if to_end:
      last = jnp.full(rows, steps - 1, jnp.int32) if lengths is None else lengths - 1
      code = code._replace(logits=at_step(logits, last))
    return code, jnp.float32(1)
  first = jax.tree.map(lambda a: a[0], carry)
  encoded = jax.eval_shape(encode or identity, params, xs[0, 0])
  (classes,) = _check_step(step, params, first, encoded).shape
  spike, computed = run_to_spike(
    step,
    encode,
    params,
    carry,
    xs,
    thresholds(theta, steps, classes),
    lengths,
    to_end=to_end,
    zero_carry=zero_carry,
  )
  label = spike.label
  if label is None:
    label = jnp.argmax(spike.logits, axis=-1).astype(jnp.int32)
  fraction = computed.astype(jnp.float32) / (rows * steps)
  return RankCode(spike.step, spike.spiked, label, spike.logits), fraction


def choose_engine(rows: int, steps: int) -> Literal["full", "early_exit"]:
  """The engine of "auto": the full scan on a GPU or where there is little work, else early exit.

  Little is less than 4 of T steps or 512 row-steps of `[B, T]`: what it could save is less than it
  costs to compile a loop for every width. On a GPU early exit was slower for the paper's networks
  (docs/results/gpu.md); within jit only `jax.default_backend()` tells the device.
  """
  on_gpu = jax.default_backend() == "gpu"
  return "full" if on_gpu or steps < 4 or rows * steps < 512 else "early_exit"


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


def _check_step(step: Step, params: Params, carry: Carry, first: Any) -> jax.ShapeDtypeStruct:
  """Checks one step of one sequence, and says what logits it gives."""
  describe = lambda tree: jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)
  before, first = jax.eval_shape(lambda *trees: trees, carry, first)
  try:
    after, logits = jax.eval_shape(step, params, carry, first)
  except (TypeError, ValueError) as error:
    raise ValueError(
      f"step cannot take carry {describe(before)} with encoded input {describe(first)}: {error}"
    ) from error
  if describe(after) != describe(before):
    raise ValueError(f"step turns a carry {describe(before)} into {describe(after)}; keep it alike")
  if not jnp.issubdtype(logits.dtype, jnp.floating):
    raise ValueError(f"step gives {logits.dtype} logits; give floats")
  if logits.ndim != 1:
    raise ValueError(f"step gives logits of shape {list(logits.shape)}; give [C] for one sequence")
  return logits


def _check_rows(carry: Carry, xs: Array, lengths: Array | None) -> None:
  if xs.ndim < 2 or not all(xs.shape[:2]):
    raise ValueError(f"xs has shape {list(xs.shape)}; give [B, T, ...], B and T >= 1")
  rows = {leaf.shape[:1] for leaf in jax.tree.leaves(carry)} | {xs.shape[:1]}
  if lengths is not None:
    rows.add(jnp.shape(lengths))
    check_lengths(lengths, xs.shape[1])
  if len(rows) > 1:
    raise ValueError(
      f"xs has {xs.shape[0]} rows, but carry and lengths have {sorted(rows - {xs.shape[:1]})}; "
      "give all of them the same leading axis [B]"
    )

"""Running a step function along its sequence."""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from rc_jax.checks import check_lengths
from rc_jax.engine import initial_carries, run_to_spike, vary_alike
from rc_jax.engine.widths import MOST_WIDTHS
from rc_jax.rank_code import rank_code, thresholds
from rc_jax.types import (
  Array,
  Batch,
  Carry,
  Classifier,
  Decode,
  Encode,
  Output,
  Params,
  RankCode,
  Step,
  identity,
)


class EarlyExit(NamedTuple):
  """The early-exit engine, with its options.

  Attributes:
    widths: the largest number of loops of falling width, 1 or more. More skip more and take longer
      to compile, each about a third of the full scan's compile time. One alone stops the whole
      batch at its slowest row.
  """

  widths: int = MOST_WIDTHS


EngineName = Literal["auto", "full", "early_exit"]
Engine = EngineName | EarlyExit


def check_engine(engine: Any) -> None:
  """Raises ValueError if there is no such engine."""
  if isinstance(engine, EarlyExit):
    if not isinstance(engine.widths, int) or engine.widths < 1:
      raise ValueError(f"EarlyExit has widths={engine.widths!r}; give a whole number of 1 or more")
  elif engine not in get_args(EngineName):
    raise ValueError(
      f"engine is {engine!r}; choose one of {get_args(EngineName)} or EarlyExit(widths=...)"
    )


def unroll(
  step: Step,
  params: Params,
  carry: Carry,
  xs: Any,
  *,
  encode: Encode | None = None,
  decode: Decode | None = None,
) -> Array:
  """Runs every step of one sequence; `jax.vmap` it for more.

  Args:
    step: `(params, carry, encoded) -> (carry, output)`.
    params: of `step`, `encode` and `decode`.
    carry: before the first step.
    xs: `[T, ...]` inputs, or a tree of such.
    encode: `(params, x) -> encoded`, the part of a step that needs no carry. It runs over all
      steps at once, so that its product is one large one. None: `step` takes `x`.
    decode: `(params, output) -> logits [C]`, the part that feeds nothing back; it also runs over
      all steps at once. None: `step` gives logits.

  Returns:
    `[T, C]` logits.

  Raises:
    ValueError: `step` changes the carry's structure, shape or dtype, or the logits are not `[C]`.
  """
  outputs = _unroll_outputs(step, params, carry, xs, encode, decode)
  return jax.vmap(decode or identity, (None, 0))(params, outputs)


def unroll_rows(classifier: Classifier, params: Params, batch: Batch) -> Array:
  """Logits `[B, T, C]` of every step of every row; inputs in the padding are replaced by zeros."""
  carries = initial_carries(classifier, params, len(batch.labels))
  functions = {"encode": classifier.encode, "decode": classifier.decode}
  one = lambda c, x: unroll(classifier.step, params, c, x, **functions)
  return jax.vmap(one)(carries, mask_padding(batch.inputs, batch.lengths))


def unroll_to_spike(
  step: Step,
  params: Params,
  carry: Carry,
  xs: Any,
  theta: Any,
  lengths: Array | None = None,
  *,
  encode: Encode | None = None,
  decode: Decode | None = None,
  engine: Engine = "auto",
) -> RankCode:
  """Runs each row up to its first spike (Algorithm 1); equals `rank_code` of `unroll`.

  Args:
    step: `(params, carry, encoded) -> (carry, output)`, of one sequence.
    params: of `step`, `encode` and `decode`.
    carry: with leading axis `[B]`.
    xs: `[B, T, ...]` inputs, or a tree of such. Values at or after a row's length, NaN included,
      change nothing.
    theta: threshold in (1/C, 1): a scalar, or `[T]`, one a step.
    lengths: `[B]` int in `1..T`, or None for T. Traced ones are clipped to that range.
    encode: `(params, x) -> encoded`, the part of a step that needs no carry; None: `step` takes
      `x`.
    decode: `(params, output) -> logits [C]`, the part that feeds nothing back; None: `step` gives
      logits.
    engine: "early_exit", or `EarlyExit` with its options, leaves out what comes after a row's
      spike, forward and backward, with the same results but for rounding; it has one reverse
      derivative, no forward one and no second. "full" computes every row-step. "auto" takes what
      `choose_engine` says. Under `jax.vmap` early exit runs one member of a population after the
      other; "full" all at once.

  Returns:
    RankCode of `[B]` rows. Gradients flow through its logits.

  Raises:
    ValueError: as `unroll` and `first_crossing`, leading axes that disagree, an unknown engine, a
      forward or second derivative of early exit.
  """
  return unroll_and_count(
    step, params, carry, xs, theta, lengths, encode=encode, decode=decode, engine=engine
  )[0]


def unroll_and_count(
  step: Step,
  params: Params,
  carry: Carry,
  xs: Any,
  theta: Any,
  lengths: Array | None,
  *,
  encode: Encode | None,
  decode: Decode | None,
  engine: Engine,
  to_end: bool = False,
  zero_carry: bool = False,
) -> tuple[RankCode, Array]:
  """`unroll_to_spike`, and the share of row-steps that it computed; or a run to the rows' ends.

  Args:
    step: as `unroll_to_spike`, like the arguments up to `engine`.
    params: of the functions.
    carry: `[B, ...]`.
    xs: `[B, T, ...]` inputs, or a tree of such.
    theta: threshold.
    lengths: `[B]`, or None.
    encode: or None.
    decode: or None.
    engine: which computes it.
    to_end: run each row to its last step and record its first spike on the way.
    zero_carry: take the float leaves of carry for zeros, which saves early exit their products.

  Returns:
    The rank code, whose logits are those at the end where rows run `to_end`; the share of the
    row-steps of `[B, T]` that were computed, float32.
  """
  check_engine(engine)
  rows, steps = _check_rows(carry, xs, lengths)
  if lengths is not None:
    # Traced ones cannot be checked: 0 would never end a row, T + 1 would read its neighbour.
    lengths = jnp.clip(jnp.asarray(lengths, jnp.int32), 1, steps)
  if engine == "auto":
    engine = choose_engine(rows, steps)
  decode = decode or identity
  if engine == "full":
    code = _run_every_step(step, params, carry, xs, theta, lengths, encode, decode, to_end)
    return code, jnp.float32(1)
  first = jax.tree.map(lambda a: a[0], carry)
  x = jax.tree.map(lambda a: a[0, 0], xs)
  encoded = jax.eval_shape(encode or identity, params, x)
  (classes,) = _check_step(step, decode, params, first, encoded).shape
  spike, computed = run_to_spike(
    step,
    encode,
    decode,
    params,
    carry,
    xs,
    thresholds(theta, steps, classes),
    lengths,
    most_widths=engine.widths if isinstance(engine, EarlyExit) else MOST_WIDTHS,
    to_end=to_end,
    zero_carry=zero_carry,
  )
  # The engine gives outputs; their logits, and the gradient of `decode`, are formed once a row.
  logits = jax.vmap(decode, (None, 0))(params, spike.output)
  label = spike.label
  if label is None:
    label = jnp.argmax(logits, axis=-1).astype(jnp.int32)
  fraction = computed.astype(jnp.float32) / (rows * steps)
  return RankCode(spike.step, spike.spiked, label, logits), fraction


def _run_every_step(
  step: Step,
  params: Params,
  carry: Carry,
  xs: Any,
  theta: Any,
  lengths: Array | None,
  encode: Encode | None,
  decode: Decode,
  to_end: bool,
) -> RankCode:
  """The full scan: outputs of all row-steps, of which those at the spikes have a gradient.

  All logits are formed in one product, which is not differentiated, to find the spikes; a second
  one of B rows carries the gradient.
  """
  one = lambda c, x: _unroll_outputs(step, params, c, x, encode, decode)
  outputs = jax.vmap(one)(carry, mask_padding(xs, lengths))
  rows, steps = jax.tree.leaves(outputs)[0].shape[:2]
  decode_rows = jax.vmap(decode, (None, 0))
  all_logits = jax.vmap(decode_rows, (None, 0))(*jax.lax.stop_gradient((params, outputs)))
  code = rank_code(all_logits, theta, lengths)
  enters = code.step
  if to_end:
    enters = jnp.full(rows, steps - 1, jnp.int32) if lengths is None else lengths - 1
  at_step = lambda a: a.at[jnp.arange(rows), enters].get(mode="promise_in_bounds")
  return code._replace(logits=decode_rows(params, jax.tree.map(at_step, outputs)))


def _unroll_outputs(
  step: Step,
  params: Params,
  carry: Carry,
  xs: Any,
  encode: Encode | None,
  decode: Decode | None,
) -> Output:
  """Outputs `[T, ...]` of every step of one sequence."""
  params, carry, xs = vary_alike(params, carry, xs)
  encoded = jax.vmap(encode or identity, (None, 0))(params, xs)
  first = jax.tree.map(lambda a: a[0], encoded)
  _check_step(step, decode or identity, params, carry, first)
  return jax.lax.scan(lambda c, e: step(params, c, e), carry, encoded)[1]


def choose_engine(rows: int, steps: int) -> Literal["full", "early_exit"]:
  """The engine of "auto": the full scan on a GPU or where there is little work, else early exit.

  Little is less than 4 of T steps or 512 row-steps of `[B, T]`: what it could save is less than it
  costs to compile a loop for every width. On a GPU early exit was slower for the paper's networks
  (docs/results/gpu.md); within jit only `jax.default_backend()` tells the device.
  """
  on_gpu = jax.default_backend() == "gpu"
  return "full" if on_gpu or steps < 4 or rows * steps < 512 else "early_exit"


def mask_padding(xs: Any, lengths: Array | None) -> Any:
  """Zeroes `[B, T, ...]` inputs, or a tree of such, at and after `[B]` lengths.

  A cotangent of zero does not stop a NaN (0 * NaN is NaN), so padding is cut at the entrance.
  """
  if lengths is None:
    return xs

  def mask(leaf: Array) -> Array:
    steps = jnp.arange(leaf.shape[1], dtype=jnp.int32)
    valid = steps[None] < jnp.asarray(lengths, jnp.int32)[:, None]
    valid = valid.reshape(valid.shape + (1,) * (leaf.ndim - 2))
    return jnp.where(valid, leaf, jnp.zeros((), leaf.dtype))

  return jax.tree.map(mask, xs)


def _check_step(
  step: Step, decode: Decode, params: Params, carry: Carry, first: Any
) -> jax.ShapeDtypeStruct:
  """Checks one step of one sequence, and returns the shape and dtype of its logits."""
  describe = lambda tree: jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)
  before, first = jax.eval_shape(lambda *trees: trees, carry, first)
  try:
    after, output = jax.eval_shape(step, params, carry, first)
  except (TypeError, ValueError) as error:
    raise ValueError(
      f"step cannot take carry {describe(before)} with encoded input {describe(first)}: {error}"
    ) from error
  if describe(after) != describe(before):
    raise ValueError(f"step turns a carry {describe(before)} into {describe(after)}; keep it alike")
  logits = output
  if decode is not identity:
    try:
      logits = jax.eval_shape(decode, params, output)
    except (TypeError, ValueError) as error:
      raise ValueError(f"decode cannot take step's output {describe(output)}: {error}") from error
  name = "step" if decode is identity else "decode"
  if not hasattr(logits, "dtype"):
    raise ValueError(
      f"{name} gives {describe(logits)} where logits [C] are needed; give the classifier's decode, "
      "too, or one array"
    )
  if not jnp.issubdtype(logits.dtype, jnp.floating):
    raise ValueError(f"{name} gives {logits.dtype} logits; give floats")
  if logits.ndim != 1:
    raise ValueError(
      f"{name} gives logits of shape {list(logits.shape)}; give [C] for one sequence"
    )
  return logits


def _check_rows(carry: Carry, xs: Any, lengths: Array | None) -> tuple[int, int]:
  """Checks leading axes, and returns B and T."""
  leaves = jax.tree.leaves(xs)
  for leaf in leaves:
    if leaf.ndim < 2 or not all(leaf.shape[:2]):
      raise ValueError(f"xs has shape {list(leaf.shape)}; give [B, T, ...], B and T >= 1")
    if leaf.shape[:2] != leaves[0].shape[:2]:
      shapes = " and ".join(str(list(a.shape)) for a in (leaves[0], leaf))
      raise ValueError(f"xs has leaves of shapes {shapes}; give all of them the same B and T")
  if not leaves:
    raise ValueError("xs is an empty tree; give [B, T, ...] inputs")
  count, steps = leaves[0].shape[:2]
  rows = {leaf.shape[:1] for leaf in jax.tree.leaves(carry)} | {(count,)}
  if lengths is not None:
    rows.add(jnp.shape(lengths))
    check_lengths(lengths, steps)
  if len(rows) > 1:
    raise ValueError(
      f"xs has {count} rows, but carry and lengths have {sorted(rows - {(count,)})}; "
      "give all of them the same leading axis [B]"
    )
  return count, steps

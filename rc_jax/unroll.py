"""Running a step function along its sequence."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rc_jax.checks import check_rows, read_lengths
from rc_jax.engine import initial_carries, place_encode, run_to_spike, split_step, vary_alike
from rc_jax.engine_choice import EarlyExit, Engine, check_engine, choose_engine
from rc_jax.function_checks import check_encode, check_step
from rc_jax.rank_code import rank_code, read_thresholds
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
    encode: `(params, x) -> encoded`, the part of a step that needs no carry. Where it has many
      weights it runs over all steps at once, so that its product is one large one; else within each
      step. None: `step` takes `x`.
    decode: `(params, output) -> logits [C]`, the part that feeds nothing back; it also runs over
      all steps at once. None: `step` gives logits.

  Returns:
    `[T, C]` logits.

  Raises:
    ValueError: there is no step, `step` changes the carry's structure, shape or dtype, or the
      logits are not `[C]`.
  """
  outputs = _unroll_outputs(step, params, carry, xs, encode, decode)
  return jax.vmap(decode or identity, (None, 0))(params, outputs)


def unroll_rows(classifier: Classifier, params: Params, batch: Batch) -> Array:
  """Logits `[B, T, C]` of every step of every row, of which those in the padding mean nothing."""
  carries = initial_carries(classifier, params, len(batch.labels))
  functions = {"encode": classifier.encode, "decode": classifier.decode}
  one = lambda c, x: unroll(classifier.step, params, c, x, **functions)
  return jax.vmap(one)(carries, fill_padding(batch.inputs, batch.lengths))


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
      `x`. Products that could stand here are found in `step` and treated as if they did.
    decode: `(params, output) -> logits [C]`, the part that feeds nothing back; None: `step` gives
      logits. It is found likewise.
    engine: "early_exit", or `EarlyExit` with its options, leaves out what comes after a row's
      spike, forward and backward, with the same results but for rounding; of a NaN between a spike
      and the row's length it may read nothing. It has one reverse derivative, no forward one and no
      second. "full" computes every row-step. "auto" takes what `choose_engine` says. Under
      `jax.vmap` early exit runs one member of a population after the other; "full" all at once.

  Returns:
    RankCode of `[B]` rows. Gradients flow through its logits.

  Raises:
    ValueError: as `unroll` and `first_crossing`, leading axes that disagree, an unknown engine, a
      forward or second derivative of early exit.
  """
  code, _, _ = unroll_and_count(
    step, params, carry, xs, theta, lengths, encode=encode, decode=decode, engine=engine
  )
  return code


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
  all_outputs: bool = False,
  zero_carry: bool = False,
) -> tuple[RankCode, Array, Array | None]:
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
    all_outputs: give the logits of all steps up to a row's spike, or end, too.
    zero_carry: take the float leaves of carry for zeros, which saves early exit their products.

  Returns:
    The rank code, whose logits are those at the end where rows run `to_end`; the share of the
    row-steps of `[B, T]` that were computed, float32; and None or, where all are kept, logits
    `[B, T, C]`, of no meaning after a row's spike or end. Take gradients of these then: early exit
    has none of the rank code's logits beside them.
  """
  check_engine(engine)
  rows, steps = check_rows(carry, xs, lengths)
  if lengths is not None:
    lengths = read_lengths(lengths, steps)
  if engine == "auto":
    engine = choose_engine(rows, steps)
  decode = decode or identity
  params, carry, xs = vary_alike(params, carry, xs)
  one, x = jax.tree.map(lambda a: a[0], carry), jax.tree.map(lambda a: a[0, 0], xs)
  encoded = check_encode(encode, params, x)
  (classes,) = check_step(step, decode, params, one, encoded).shape
  encode, step, decode = split_step(step, encode, decode, params, one, x)
  run = _Run(step, encode, decode, params, carry, xs, theta, lengths, to_end, all_outputs)
  if engine == "full":
    code, logits = _run_every_step(run)
    return code, jnp.float32(1), logits
  options = engine if isinstance(engine, EarlyExit) else EarlyExit()
  code, computed, logits = _run_early_exit(run, steps, classes, options, zero_carry)
  return code, computed.astype(jnp.float32) / (rows * steps), logits


class _Run(NamedTuple):
  """The arguments of a run, as `unroll_and_count` names them."""

  step: Step
  encode: Encode | None
  decode: Decode
  params: Params
  carry: Carry
  xs: Any
  theta: Any
  lengths: Array | None
  to_end: bool
  all_outputs: bool

  def decode_all(self, params: Params, outputs: Output) -> Array:
    """Logits `[B, T, C]` of outputs `[B, T, ...]`."""
    return jax.vmap(jax.vmap(self.decode, (None, 0)), (None, 0))(params, outputs)


def _run_early_exit(
  run: _Run, steps: int, classes: int, options: EarlyExit, zero_carry: bool
) -> tuple[RankCode, Array, Array | None]:
  """The rank code by early exit, the number of row-steps computed, and all logits or None."""
  params = run.params
  spike, computed = run_to_spike(
    run.step,
    run.encode,
    run.decode,
    params,
    run.carry,
    run.xs,
    read_thresholds(run.theta, steps, classes),
    run.lengths,
    most_widths=options.widths,
    to_end=run.to_end,
    all_outputs=run.all_outputs,
    zero_carry=zero_carry,
  )
  # The engine gives outputs; their logits, and the gradient of `decode`, are formed once a row or,
  # where all are kept, once a row-step.
  all_logits = run.decode_all(params, spike.output) if run.all_outputs else None
  if all_logits is None:
    logits = jax.vmap(run.decode, (None, 0))(params, spike.output)
  else:
    # The last output that counts stands there. A gradient at step T - 1 would be lost: the engine
    # takes none after a row's spike or end.
    logits = jax.lax.stop_gradient(all_logits[:, -1])
  label = spike.label
  if label is None:
    label = jnp.argmax(logits, axis=-1).astype(jnp.int32)
  return RankCode(spike.step, spike.spiked, label, logits), computed, all_logits


def _run_every_step(run: _Run) -> tuple[RankCode, Array | None]:
  """The rank code by the full scan: outputs of all row-steps, of which the spikes' have a gradient.

  All logits are formed in one product, which is not differentiated, to find the spikes; a second
  one of B rows carries the gradient, unless all are kept.
  """
  one = lambda c, x: _unroll_outputs(run.step, run.params, c, x, run.encode, run.decode)
  outputs = jax.vmap(one)(run.carry, fill_padding(run.xs, run.lengths))
  rows, steps = jax.tree.leaves(outputs)[0].shape[:2]
  decoded = (run.params, outputs)
  all_logits = run.decode_all(*(decoded if run.all_outputs else jax.lax.stop_gradient(decoded)))
  code = rank_code(all_logits, run.theta, run.lengths)
  enters = code.step
  if run.to_end:
    last = steps - 1 if run.lengths is None else run.lengths - 1
    enters = jnp.broadcast_to(jnp.int32(last), (rows,))
  pick = lambda a: a.at[jnp.arange(rows), enters].get(mode="promise_in_bounds")
  logits = jax.vmap(run.decode, (None, 0))(run.params, jax.tree.map(pick, outputs))
  return code._replace(logits=logits), all_logits if run.all_outputs else None


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
  if any(jnp.shape(leaf)[:1] == (0,) for leaf in jax.tree.leaves(xs)):
    raise ValueError("xs has no step; give [T, ...], T >= 1")
  x = jax.tree.map(lambda a: a[0], xs)
  check_step(step, decode or identity, params, carry, check_encode(encode, params, x))
  step, encode = place_encode(step, encode, params, x)
  encoded = jax.vmap(encode or identity, (None, 0))(params, xs)
  return jax.lax.scan(lambda c, e: step(params, c, e), carry, encoded)[1]


def fill_padding(xs: Any, lengths: Array | None) -> Any:
  """Repeats each row's last input before its `[B]` length in its padding, in `[B, T, ...]` inputs.

  A cotangent of zero does not stop a NaN (0 * NaN is NaN), so padding is cut at the entrance. Zeros
  in its place would do for most steps, but not for one that has no derivative there.
  """
  if lengths is None:
    return xs
  lengths = jnp.asarray(lengths, jnp.int32)

  def fill(leaf: Array) -> Array:
    steps = jnp.arange(leaf.shape[1], dtype=jnp.int32)
    valid = steps[None] < lengths[:, None]
    valid = valid.reshape(valid.shape + (1,) * (leaf.ndim - 2))
    # Row by row: of rows on several devices each then takes its own, without traffic.
    last = jax.vmap(lambda row, length: row[length - 1])(leaf, lengths)
    return jnp.where(valid, leaf, last[:, None])

  return jax.tree.map(fill, xs)

"""Checks of a run at trace time: its step function, its carry and its inputs."""

from typing import Any

import jax
import jax.numpy as jnp

from rc_jax.checks import check_lengths
from rc_jax.types import Array, Carry, Decode, Params, Step, identity


def check_step(
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


def check_act(step: Any, state: Any, outputs: Array, classes: int) -> None:
  """Raises ValueError if one step of an `Act` gives no logits `[C]` or another state."""
  describe = lambda tree: jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)
  before, row = jax.eval_shape(lambda *trees: trees, state, outputs)
  after, logits = jax.eval_shape(step, state, outputs)
  if describe(after) != describe(before):
    raise ValueError(f"act turns a state {describe(before)} into {describe(after)}; keep it alike")
  if describe(logits) != f"float32[{classes}]":
    raise ValueError(
      f"act gives {describe(logits)} for outputs {describe(row)}; give logits float32[{classes}], "
      "one for each class"
    )


def check_rows(carry: Carry, xs: Any, lengths: Array | None) -> tuple[int, int]:
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

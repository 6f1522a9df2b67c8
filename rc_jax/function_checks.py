"""Checks of the functions that a user gives, at trace time: what they take and what they give."""

from typing import Any

import jax
import jax.numpy as jnp

from rc_jax.types import Array, Carry, Decode, Params, Step, identity


def describe(tree: Any) -> str:
  """Type and shape of an array, as `float32[3]`; of a tree, its structure with those in it."""
  leaves, structure = jax.tree.flatten(tree)
  words = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves]
  parts = str(structure).removeprefix("PyTreeDef(").removesuffix(")").split("*")
  if len(parts) != len(words) + 1:  # a key has a star in it
    return ", ".join(words)
  return parts[0] + "".join(word + part for word, part in zip(words, parts[1:], strict=True))


def _are_alike(one: Any, other: Any) -> bool:
  """Whether two trees have the same structure, and their leaves the same types and shapes."""
  structure: Any = jax.tree.structure(one)
  if structure != jax.tree.structure(other):
    return False
  pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return all(a.dtype == b.dtype and a.shape == b.shape for a, b in pairs)


def check_step(
  step: Step, decode: Decode, params: Params, carry: Carry, first: Any
) -> jax.ShapeDtypeStruct:
  """Checks one step of one sequence, and returns the shape and dtype of its logits."""
  before, first = jax.eval_shape(lambda *trees: trees, carry, first)
  try:
    after, output = jax.eval_shape(step, params, carry, first)
  except (TypeError, ValueError) as error:
    raise ValueError(
      f"step cannot take carry {describe(before)} with encoded input {describe(first)}: {error}"
    ) from error
  check_carry(before, after)
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


def check_carry(before: Carry, after: Carry) -> None:
  """Raises ValueError where a step changes the structure, a type or a shape of its carry."""
  if not _are_alike(after, before):
    raise ValueError(f"step turns a carry {describe(before)} into {describe(after)}; keep it alike")


def check_act(step: Any, state: Any, outputs: Array, classes: int) -> None:
  """Raises ValueError if one step of an `Act` gives no logits `[C]` or another state."""
  before, row = jax.eval_shape(lambda *trees: trees, state, outputs)
  after, logits = jax.eval_shape(step, state, outputs)
  if not _are_alike(after, before):
    raise ValueError(f"act turns a state {describe(before)} into {describe(after)}; keep it alike")
  if describe(logits) != f"float32[{classes}]":
    raise ValueError(
      f"act gives {describe(logits)} for outputs {describe(row)}; give logits float32[{classes}], "
      "one for each class"
    )


def check_row_loss(loss: Any, arguments: tuple[Any, ...], row: str) -> None:
  """Raises ValueError if the loss of one row is not a float scalar.

  Args:
    loss: a function.
    arguments: of one row.
    row: what they are, for messages.
  """
  try:
    value: Any = jax.eval_shape(loss, *arguments)
  except (TypeError, ValueError, IndexError) as error:
    raise ValueError(f"loss cannot take {row}: {error}") from error
  if not hasattr(value, "dtype") or value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
    raise ValueError(f"loss gives {describe(value)} for {row}; give one float scalar")

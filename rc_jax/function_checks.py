"""Checks of the functions that a user gives, at trace time: what they take and what they give."""

from typing import Any

import jax
import jax.numpy as jnp
from flax.errors import FlaxError

from rc_jax.types import Array, Carry, Decode, Encode, Inputs, Params, Step, identity

# What a function raises for arguments that it cannot take, such as another network's parameters.
REFUSALS = (TypeError, ValueError, KeyError, IndexError, AttributeError, FlaxError)


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


def check_encode(encode: Encode | None, params: Params, x: Inputs) -> Any:
  """Checks `encode` on one step's input, and returns the shapes and dtypes of what it gives."""
  x = jax.eval_shape(lambda tree: tree, x)
  try:
    return x if encode is None else jax.eval_shape(encode, params, x)
  except REFUSALS as error:
    raise ValueError(f"encode cannot take input {describe(x)}: {_tell(error)}") from error


def check_step(
  step: Step, decode: Decode, params: Params, carry: Carry, first: Any
) -> jax.ShapeDtypeStruct:
  """Checks one step of one sequence, and returns the shape and dtype of its logits."""
  before, first = jax.eval_shape(lambda *trees: trees, carry, first)
  try:
    result = jax.eval_shape(step, params, carry, first)
  except REFUSALS as error:
    raise ValueError(
      f"step cannot take carry {describe(before)} with encoded input {describe(first)}: "
      f"{_tell(error)}"
    ) from error
  if not isinstance(result, tuple | list) or len(result) != 2:
    raise ValueError(f"step gives {describe(result)}; give a pair (carry, output)")
  after, output = result
  check_carry(before, after)
  logits = output
  if decode is not identity:
    try:
      logits = jax.eval_shape(decode, params, output)
    except REFUSALS as error:
      raise ValueError(
        f"decode cannot take step's output {describe(output)}: {_tell(error)}"
      ) from error
  return check_logits(decode, logits)


def check_logits(decode: Decode, logits: Any) -> Any:
  """Returns the logits of one sequence, or their description, if they are `[C]` floats.

  Raises:
    ValueError: else, with the name of the function that makes them, `decode` or the step.
  """
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


def _tell(error: Exception) -> str:
  """What an error says; a KeyError says the key alone."""
  says_all = isinstance(error, TypeError | ValueError)
  return str(error) if says_all else f"{type(error).__name__}: {error}"


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
  except REFUSALS as error:
    raise ValueError(f"loss cannot take {row}: {_tell(error)}") from error
  if not hasattr(value, "dtype") or value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
    raise ValueError(f"loss gives {describe(value)} for {row}; give one float scalar")

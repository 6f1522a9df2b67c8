"""The leaves of a tree that can have a gradient, apart from its integers and keys."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from rc_jax.types import Array


def vjp_of_floats(
  fun: Callable, *arguments: Any
) -> Callable[[list[Array]], tuple[list[Array], ...]]:
  """`jax.vjp` at trees: from cotangents of the result's float leaves to those of each argument."""

  def of_floats(*leaves):
    return floats(fun(*(among(a, f, a) for a, f in zip(arguments, leaves, strict=True))))

  return jax.vjp(of_floats, *map(floats, arguments))[1]


def is_float(leaf: Any) -> bool:
  """Whether an array, or its description, can have a gradient."""
  return jnp.issubdtype(leaf.dtype, jnp.inexact)


def floats(tree: Any) -> list[Array]:
  """The leaves that can have a gradient."""
  return [leaf for leaf in jax.tree.leaves(tree) if is_float(leaf)]


def among(tree: Any, leaves: Sequence[Array], others: Any = None) -> Any:
  """`tree` with other float leaves; what else it has comes from `others`, or becomes None."""
  of_floats = iter(leaves)
  old, structure = jax.tree.flatten(tree)
  rest = [None] * len(old) if others is None else jax.tree.leaves(others)
  pairs = zip(old, rest, strict=True)
  return jax.tree.unflatten(structure, [next(of_floats) if is_float(a) else b for a, b in pairs])

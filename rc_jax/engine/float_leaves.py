"""The leaves of a tree that can have a gradient, apart from its integers and keys."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from rc_jax.types import Array


def vjp_of_floats(
  fun: Callable, *arguments: Any
) -> Callable[[list[Array]], tuple[list[Array], ...]]:
  """`jax.vjp` of a function between trees that may hold integers.

  Args:
    fun: any function of the arguments.
    arguments: trees of arrays.

  Returns:
    A function from cotangents of the result's float leaves to the gradients of each argument's
    float leaves, one list an argument.
  """

  def of_floats(*leaves):
    return floats(fun(*(replace_floats(a, f, a) for a, f in zip(arguments, leaves, strict=True))))

  return jax.vjp(of_floats, *map(floats, arguments))[1]


def is_float(leaf: Any) -> bool:
  """Whether an array, or its description, can have a gradient."""
  return jnp.issubdtype(leaf.dtype, jnp.inexact)


def floats(tree: Any) -> list[Array]:
  """The leaves of a tree that can have a gradient, in order."""
  return [leaf for leaf in jax.tree.leaves(tree) if is_float(leaf)]


def replace_floats(tree: Any, leaves: Sequence[Array], others: Any = None) -> Any:
  """Replaces the float leaves of a tree.

  Args:
    tree: gives the structure.
    leaves: new float leaves, in order.
    others: a tree of the same structure that gives all other leaves; None makes them None.

  Returns:
    The tree with the new leaves.
  """
  new = iter(leaves)
  old, structure = jax.tree.flatten(tree)
  rest = [None] * len(old) if others is None else jax.tree.leaves(others)
  pairs = zip(old, rest, strict=True)
  return jax.tree.unflatten(structure, [next(new) if is_float(a) else b for a, b in pairs])


def add(first: list[Array], second: list[Array]) -> list[Array]:
  """Sums of two lists of gradients, leaf by leaf."""
  return [a + b for a, b in zip(first, second, strict=True)]

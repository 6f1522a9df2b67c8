"""Leaving out what is known to be zero: the products of a first step with a carry of zeros.

XLA does not do so, since 0 times NaN or infinity is not 0. Here a function's jaxpr is evaluated
with its zeros kept apart for as long as the result of each operation on them is known; an operation
that is not listed below gets an array of zeros to work on.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from rc_jax.float_leaves import is_float
from rc_jax.sharding import zeros_of
from rc_jax.types import Carry, Classifier, Encoded, Params, Step

_Value = jax.Array | None  # None is zeros

# Zero where one operand is, where the first one is, and where all are.
_OF_ANY = {"mul", "dot_general", "conv_general_dilated"}
_OF_FIRST = {
  *("reshape", "squeeze", "transpose", "rev", "broadcast_in_dim", "slice", "dynamic_slice"),
  *("split", "convert_element_type", "copy", "pvary", "pcast", "tanh", "reduce_sum"),
}
_OF_ALL = {"add", "sub", "concatenate", "pad"}


def starts_at_zero(classifier: Classifier, params: Params) -> bool:
  """Whether `initial_carry` plainly makes zeros of its float leaves, whatever the parameters are.

  Zeros that it closes over as an array, or arrives at by other ways than those below, are not seen.

  Args:
    classifier: any `Classifier`.
    params: of it; only traced.
  """
  closed = jax.make_jaxpr(classifier.initial_carry)(params)
  carry = _outputs(closed, jax.tree.leaves(params))
  return all(c is None for c, a in zip(carry, closed.out_avals, strict=True) if is_float(a))


def at_zero_carry(step: Step) -> Step:
  """`step` with zeros for the float leaves of its carry, whatever they are.

  Zero times anything is zero here: what is not finite beside it goes unnoticed, and the sign of a
  zero is lost.

  Args:
    step: `(params, carry, encoded) -> (carry, logits [C])`, of one sequence.

  Returns:
    A step that takes and gives the same; of the carry it is given it reads what is no float.
  """

  def first(params: Params, carry: Carry, encoded: Encoded) -> Any:
    closed, shape = jax.make_jaxpr(step, return_shape=True)(params, carry, encoded)
    zeros = [None if is_float(leaf) else leaf for leaf in jax.tree.leaves(carry)]
    values = _outputs(closed, [*jax.tree.leaves(params), *zeros, *jax.tree.leaves(encoded)])
    return jax.tree.unflatten(jax.tree.structure(shape), map(_array, values, closed.out_avals))

  return first


def _outputs(closed: ClosedJaxpr, values: Sequence[_Value]) -> list[_Value]:
  """The results of a jaxpr, of arguments of which some are known to be zeros."""
  jaxpr: Any = closed.jaxpr
  known: dict[Any, _Value] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
  known |= dict(zip(jaxpr.invars, values, strict=True))

  def read(variable: Any) -> _Value:
    if isinstance(variable, Literal):
      return None if _is_positive_zero(variable.val) else variable.val
    return known[variable]

  for equation in jaxpr.eqns:
    results = _results(equation, [read(v) for v in equation.invars])
    known |= dict(zip(equation.outvars, results, strict=True))
  return [read(v) for v in jaxpr.outvars]


def _results(equation: Any, values: list[_Value]) -> Sequence[_Value]:
  """Of one operation; inner jaxprs are followed where they may leave something out."""
  name = equation.primitive.name
  zero = [value is None for value in values]
  if (
    (any(zero) and name in _OF_ANY)
    or (zero[:1] == [True] and name in _OF_FIRST)
    or (all(zero) and name in _OF_ALL)
    or (any(zero) and name == "cond" and _zero_whichever_branch(equation, values))
  ):
    return [None] * len(equation.outvars)
  if any(zero) and name == "jit":
    return _outputs(equation.params["jaxpr"], values)
  if any(zero) and name in ("add", "sub"):  # not all: see above
    other: Any = values[zero.index(False)]
    if np.shape(other) == equation.outvars[0].aval.shape:  # a literal may be a scalar
      return [-other if name == "sub" and zero[0] else other]
  arrays = [_array(value, v.aval) for value, v in zip(values, equation.invars, strict=True)]
  parameters = equation.primitive.get_bind_params(equation.params)
  with equation.ctx.manager:
    results = equation.primitive.bind(*arrays, **parameters)
  return results if equation.primitive.multiple_results else [results]


def _zero_whichever_branch(equation: Any, values: list[_Value]) -> bool:
  """Of a `cond`, which `lax.platform_dependent` is too; its branches are traced, and not used."""
  branches = equation.params["branches"]
  return not equation.effects and all(
    value is None for branch in branches for value in _outputs(branch, values[1:])
  )


def _is_positive_zero(literal: Any) -> bool:
  return np.ndim(literal) == 0 and literal == 0 and not np.signbit(np.real(literal))


def _array(value: _Value, aval: Any) -> Any:
  return zeros_of(aval) if value is None else value

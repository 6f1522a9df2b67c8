"""Leaves out the products of a first step with a carry of zeros.

XLA does not do so, since 0 times NaN or infinity is not 0. Here a function's jaxpr is evaluated
equation by equation. A value that is known to be zero is represented by None for as long as the
table below says what an operation makes of it; any other operation gets an array of zeros.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rc_jax.engine.float_leaves import is_float
from rc_jax.engine.jax_internals import ClosedJaxpr, Literal, bind_variables, evaluate_equation
from rc_jax.engine.sharding import zeros_of_type
from rc_jax.types import Carry, Classifier, Encoded, Params, Step

_Value = jax.Array | None  # None stands for zeros

# Operations whose result is zero where any operand is, where the first one is, and where all are.
_OF_ANY = {"mul", "dot_general", "conv_general_dilated"}
_OF_FIRST = {
  *("reshape", "squeeze", "transpose", "rev", "broadcast_in_dim", "slice", "dynamic_slice"),
  *("split", "convert_element_type", "copy", "pvary", "pcast", "tanh", "reduce_sum"),
}
_OF_ALL = {"add", "sub", "concatenate", "pad"}


def starts_at_zero(classifier: Classifier, params: Params) -> bool:
  """Whether `initial_carry` makes zeros of its float leaves, whatever the parameters are.

  It is read as JAX traces it. Zeros that it closes over as an array, or computes by operations that
  are not in the table above, are not recognised: then no product is left out.

  Args:
    classifier: any `Classifier`.
    params: of it; only traced.
  """
  closed = jax.make_jaxpr(classifier.initial_carry)(params)
  carry = _evaluate(closed, jax.tree.leaves(params))
  return all(c is None for c, a in zip(carry, closed.out_avals, strict=True) if is_float(a))


def at_zero_carry(step: Step) -> Step:
  """`step` for a carry whose float leaves are zeros.

  Zero times anything counts as zero: a parameter that is not finite goes unnoticed where it meets
  the carry, and the sign of a zero is lost.

  Args:
    step: `(params, carry, encoded) -> (carry, output)`, of one sequence.

  Returns:
    A step with the same arguments and results. It reads only the integer leaves of its carry.
  """

  def first(params: Params, carry: Carry, encoded: Encoded) -> Any:
    closed, shape = jax.make_jaxpr(step, return_shape=True)(params, carry, encoded)
    zeros = [None if is_float(leaf) else leaf for leaf in jax.tree.leaves(carry)]
    values = _evaluate(closed, [*jax.tree.leaves(params), *zeros, *jax.tree.leaves(encoded)])
    return jax.tree.unflatten(jax.tree.structure(shape), map(_to_array, values, closed.out_avals))

  return first


def _evaluate(closed: ClosedJaxpr, values: Sequence[_Value]) -> list[_Value]:
  """Evaluates a jaxpr at arguments of which some are known to be zeros."""
  jaxpr: Any = closed.jaxpr
  known: dict[Any, _Value] = bind_variables(closed, values)

  def read(variable: Any) -> _Value:
    if isinstance(variable, Literal):
      return None if _is_positive_zero(variable.val) else variable.val
    return known[variable]

  for equation in jaxpr.eqns:
    results = _evaluate_one(equation, [read(v) for v in equation.invars])
    known |= dict(zip(equation.outvars, results, strict=True))
  return [read(v) for v in jaxpr.outvars]


def _evaluate_one(equation: Any, values: list[_Value]) -> Sequence[_Value]:
  """Evaluates one equation; a nested `jit` is evaluated the same way where an operand is zero."""
  name = equation.primitive.name
  zero = [value is None for value in values]
  if (
    (any(zero) and name in _OF_ANY)
    or (zero[:1] == [True] and name in _OF_FIRST)
    or (all(zero) and name in _OF_ALL)
    or (any(zero) and name == "cond" and _is_zero_in_each_branch(equation, values))
  ):
    return [None] * len(equation.outvars)
  if any(zero) and name == "jit":
    return _evaluate(equation.params["jaxpr"], values)
  if any(zero) and name in ("add", "sub"):  # not all: see above
    other: Any = values[zero.index(False)]
    if np.shape(other) == equation.outvars[0].aval.shape:  # a literal may be a scalar
      return [-other if name == "sub" and zero[0] else other]
  arrays = [_to_array(value, v.aval) for value, v in zip(values, equation.invars, strict=True)]
  return evaluate_equation(equation, arrays)


def _is_zero_in_each_branch(equation: Any, values: list[_Value]) -> bool:
  """Whether each branch of a `cond` gives zeros; `lax.platform_dependent` is a `cond`, too.

  The branches are evaluated to find out, and the results are dropped.
  """
  branches = equation.params["branches"]
  return not equation.effects and all(
    value is None for branch in branches for value in _evaluate(branch, values[1:])
  )


def _is_positive_zero(literal: Any) -> bool:
  return np.ndim(literal) == 0 and literal == 0 and not np.signbit(np.real(literal))


def _to_array(value: _Value, aval: Any) -> Any:
  return zeros_of_type(aval) if value is None else value

"""Which values of a step are worth storing, where the step itself marks none with `keep`.

Early exit stores a step's arguments and computes all else again in the backward pass. The products
with the carry are most of that, and most recurrent networks send their sum through a nonlinearity,
whose derivative needs the sum and nothing before it. So the sum is stored, as `lstm` does by
`keep`. Only products of at least 16 terms that depend on the carry count, and only where they
stand in the step itself rather than in an inner loop or branch. A step with any
`checkpoint_name` of its own is left as it is.
"""

import math
from collections.abc import Callable
from typing import Any

from rc_jax.engine.jax_internals import (
  ClosedJaxpr,
  Literal,
  bind_variables,
  evaluate_equation,
  evaluate_equations,
  inner_jaxprs,
  jaxpr_as_fun,
)
from rc_jax.engine.step_vjp import keep

# Products that sum fewer terms than this are rematerialised: that costs no more than to store and
# load their results.
LEAST_TERMS = 16

_PRODUCTS = {"dot_general", "conv_general_dilated"}
# What moves the numbers of an array, or cuts it into parts.
_MOVES = {"reshape", "squeeze", "transpose", "rev", "slice", "split", "copy", "expand_dims"}
# What a product's result passes through on its way to the nonlinearity: sums and changes of shape.
_LINEAR = _MOVES | {"add", "sub", "neg", "broadcast_in_dim", "concatenate", "convert_element_type"}


def mark_sums(closed: ClosedJaxpr, *, num_params: int, num_carry: int) -> Callable:
  """The function of a step's jaxpr, with the sums of its products marked by `keep`.

  Args:
    closed: jaxpr of `(params, carry, encoded)`, flat, of one sequence.
    num_params: how many of its inputs are params.
    num_carry: how many are the carry's; they follow.

  Returns:
    A function of the same flat inputs, with the same results.
  """
  jaxpr: Any = closed.jaxpr
  marked = set()
  if not _has_marks(jaxpr):
    of_carry = jaxpr.invars[num_params : num_params + num_carry]
    marked = {id(v) for v in _sums_before_nonlinearities(jaxpr, of_carry)}
  if not marked:
    return jaxpr_as_fun(closed)

  def apply(equation: Any, values: Any) -> list[Any]:
    results = evaluate_equation(equation, values)
    pairs = zip(equation.outvars, results, strict=True)
    return [keep(result) if id(variable) in marked else result for variable, result in pairs]

  def run(*arguments: Any) -> list[Any]:
    known = bind_variables(closed, arguments)
    return evaluate_equations(jaxpr.eqns, known, jaxpr.outvars, apply)

  return run


def _has_marks(jaxpr: Any) -> bool:
  """Whether some value of a jaxpr, or of one within it, has a name already."""
  return any(
    equation.primitive.name == "name" or any(map(_has_marks, inner_jaxprs(equation)))
    for equation in jaxpr.eqns
  )


def _sums_before_nonlinearities(jaxpr: Any, carry: list[Any]) -> list[Any]:
  """Variables that hold sums of products with the carry, and that a nonlinearity reads."""
  from_carry = {id(v) for v in carry}  # what depends on the carry
  sums: set[int] = set()  # results of products with it, and what linear operations make of them
  wholes: dict[int, Any] = {}  # of each part of a sum, the sum before it was moved or cut
  found: dict[int, Any] = {}
  for equation in jaxpr.eqns:
    name = equation.primitive.name
    inputs = [v for v in equation.invars if not isinstance(v, Literal)]
    if any(id(v) in from_carry for v in inputs):
      from_carry |= {id(v) for v in equation.outvars}
      if is_large_product(equation):
        sums |= {id(v) for v in equation.outvars}
        found |= {id(v): v for v in inputs if id(v) in sums}
        continue
    if name in _LINEAR:
      if any(id(v) in sums for v in inputs):
        sums |= {id(v) for v in equation.outvars}
      if name in _MOVES and inputs and id(inputs[0]) in sums:
        wholes |= {id(v): wholes.get(id(inputs[0]), inputs[0]) for v in equation.outvars}
    else:
      found |= {id(v): v for v in inputs if id(v) in sums}
  return _join_parts(list(found.values()), wholes)


def _join_parts(found: list[Any], wholes: dict[int, Any]) -> list[Any]:
  """Puts a sum in the place of its parts where all of it was found.

  Its shape is then that of `encode`'s result, whose cotangent overwrites it in the log.
  """

  def whole_of(v: Any) -> Any:
    return wholes.get(id(v), v)

  sizes: dict[int, int] = {}
  for v in found:
    sizes[id(whole_of(v))] = sizes.get(id(whole_of(v)), 0) + v.aval.size
  chosen = [whole_of(v) if sizes[id(whole_of(v))] >= whole_of(v).aval.size else v for v in found]
  return list({id(v): v for v in chosen}.values())


def is_large_product(equation: Any) -> bool:
  """Whether an equation is a product or convolution, of `LEAST_TERMS` terms at least."""
  if equation.primitive.name not in _PRODUCTS:
    return False
  numbers, right = equation.params["dimension_numbers"], equation.invars[1].aval
  if equation.primitive.name == "dot_general":
    (_, contracted), _ = numbers
    return math.prod(right.shape[axis] for axis in contracted) >= LEAST_TERMS
  return right.size // right.shape[numbers.rhs_spec[0]] >= LEAST_TERMS

"""All that relies on how JAX works inside, in one place.

Each function says what it relies on, with which JAX it was first seen to work, and what would
break. `make test-newest` runs the numerical tests on the newest JAX. No other module of this
package imports `jax.extend`. Four others walk over the equations of a jaxpr: `zero_carry`,
`kept_sums`, `split_step` and `place_encode`. The first three read names of primitives and pass over
those that they do not know. `early_exit` reads words of one of JAX's TypeErrors; a test asks for
the error that it makes of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun, jaxprs_in_params

from rc_jax.types import Array

__all__ = [
  "ClosedJaxpr",
  "Literal",
  "bind_variables",
  "closure_convert",
  "evaluate_equation",
  "evaluate_equations",
  "inline_jits",
  "inner_jaxprs",
  "jaxpr_as_fun",
  "pull_back_with",
  "varying_axes",
  "vjp_and_residuals",
]


def closure_convert(
  fun: Callable, *examples: Any, rewrite: Callable[[ClosedJaxpr], Callable] = jaxpr_as_fun
) -> tuple[Callable, list[Array]]:
  """Turns the traced values that `fun` closes over into its first argument.

  `jax.custom_vjp` and the loop over a population differentiate and map arguments only.
  `jax.closure_convert` hoists float values alone, and would leave traced integers and keys behind.

  Relies on `jax.make_jaxpr` listing every closed-over array in `consts`, traced ones as tracers
  (JAX 0.10). If it did not, JAX would complain of leaked tracers.

  Args:
    fun: a function of `examples`.
    examples: arguments, of which only shapes and types are read.
    rewrite: makes the function of a jaxpr's flat inputs that is run in place of `fun`.

  Returns:
    `(captured, *arguments) -> result`, and the captured values.
  """
  closed, shape = jax.make_jaxpr(fun, return_shape=True)(*examples)
  structure = jax.tree.structure(shape)
  traced = [isinstance(value, jax.core.Tracer) for value in closed.consts]

  def converted(captured: Sequence[Array], *arguments: Any) -> Any:
    of_captured = iter(captured)
    consts = [next(of_captured) if t else c for t, c in zip(traced, closed.consts, strict=True)]
    call = rewrite(ClosedJaxpr(closed.jaxpr, consts))
    return jax.tree.unflatten(structure, call(*jax.tree.leaves(arguments)))

  return converted, [c for t, c in zip(traced, closed.consts, strict=True) if t]


def bind_variables(closed: ClosedJaxpr, values: Sequence[Any]) -> dict[Any, Any]:
  """Variable -> value of a jaxpr's constants and, from the first on, of its arguments."""
  jaxpr: Any = closed.jaxpr
  known = dict(zip(jaxpr.constvars, closed.consts, strict=True))
  return known | dict(zip(jaxpr.invars, values, strict=True))


def evaluate_equation(equation: Any, values: Sequence[Any]) -> Sequence[Any]:
  """Applies one equation of a jaxpr to values.

  Relies on `get_bind_params`, which turns an equation's parameters back into those that
  `Primitive.bind` takes, and on `equation.ctx.manager`, which restores the settings under which the
  equation was traced (JAX 0.10). If either changed, tracing would fail with an AttributeError.

  Args:
    equation: of a jaxpr.
    values: an array for each of its inputs.

  Returns:
    An array for each of its outputs.
  """
  parameters = equation.primitive.get_bind_params(equation.params)
  with equation.ctx.manager:
    results = equation.primitive.bind(*values, **parameters)
  return results if equation.primitive.multiple_results else [results]


def evaluate_equations(
  equations: Sequence[Any],
  known: dict[Any, Any],
  results: Sequence[Any],
  apply: Callable[[Any, Sequence[Any]], Sequence[Any]] = evaluate_equation,
) -> list[Any]:
  """Applies equations of a jaxpr in their order.

  Args:
    equations: whose inputs are known, or made by those before.
    known: variable -> array, of constants and arguments; not changed.
    results: variables or literals to read at the end.
    apply: in the place of `evaluate_equation`.

  Returns:
    An array for each of the results.
  """
  known = dict(known)
  read = lambda v: v.val if isinstance(v, Literal) else known[v]
  for equation in equations:
    made = apply(equation, [read(v) for v in equation.invars])
    known |= dict(zip(equation.outvars, made, strict=True))
  return [read(v) for v in results]


def inline_jits(closed: ClosedJaxpr) -> ClosedJaxpr:
  """The same jaxpr with the equations of each `jax.jit` within it in its place.

  Relies on the primitive's name, "jit", and on its jaxpr being the parameter of that name (JAX
  0.10). If the name changed, nothing would be inlined, and results stay right.
  """

  def apply(equation: Any, values: Sequence[Any]) -> Sequence[Any]:
    if equation.primitive.name == "jit":
      return run(equation.params["jaxpr"], values)
    return evaluate_equation(equation, values)

  def run(closed: Any, values: Sequence[Any]) -> list[Any]:
    known = bind_variables(closed, values)
    return evaluate_equations(closed.jaxpr.eqns, known, closed.jaxpr.outvars, apply)

  if not any(equation.primitive.name == "jit" for equation in closed.jaxpr.eqns):
    return closed
  return jax.make_jaxpr(lambda *values: run(closed, values))(*closed.in_avals)


def inner_jaxprs(equation: Any) -> list[Any]:
  """The jaxprs in an equation's parameters, such as the body of a loop or of a `jax.jit`.

  Relies on `jax.extend.core.jaxprs_in_params` (JAX 0.10).
  """
  return list(jaxprs_in_params(equation.params))


def vjp_and_residuals(fun: Callable, *primals: Any) -> tuple[Any, list[Array], Any]:
  """`jax.vjp` of a function with auxiliary output, with its residuals laid open.

  Relies on the function that `jax.vjp` returns being a pytree whose leaves are the residuals, in an
  order that depends on the traced program alone (JAX 0.10). If the leaves were fewer, the second
  half of a step's derivative would hold the first half's tracers, and JAX would complain of a leak;
  tests compare both halves together with `jax.vjp`.

  Args:
    fun: `(*primals) -> (differentiated result, auxiliary result)`.
    primals: trees of floats.

  Returns:
    The auxiliary result, the residuals, and the structure that `pull_back_with` takes.
  """
  _, pull, auxiliary = jax.vjp(fun, *primals, has_aux=True)
  residuals, structure = jax.tree.flatten(pull)
  return auxiliary, residuals, structure


def pull_back_with(structure: Any, residuals: Sequence[Array], cotangents: Any) -> Any:
  """Gradients of the primals of `vjp_and_residuals`, from these residuals."""
  return jax.tree.unflatten(structure, residuals)(cotangents)


def varying_axes(value: Any) -> frozenset:
  """Names of the mapped axes of `jax.shard_map` over which a value, or its type, varies.

  Relies on `manual_axis_type` of an abstract value (JAX 0.10; `vma` before). If it were renamed,
  every trace would fail with an AttributeError.
  """
  aval: Any = value if isinstance(value, jax.core.AbstractValue) else jax.typeof(value)
  return aval.manual_axis_type.varying

"""Finds what a step does before and after its recurrence, where its user has not split it.

A step may multiply its input by weights, and make logits that no later step reads. Apart, as the
`encode` and the `decode` of a classifier, such products run over many row-steps at once or once a
row, and so do their gradients. The parts are found by following the equations of the step's jaxpr,
and each evaluates its own. A part stays in the step where it holds no product of at least 16 terms,
or where it makes or hands on arrays that would take much memory for all row-steps at once.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax

from rc_jax.engine.jax_internals import (
  ClosedJaxpr,
  Literal,
  evaluate_equations,
  inline_jits,
  inner_jaxprs,
)
from rc_jax.engine.kept_sums import is_large_product
from rc_jax.types import Array, Carry, Decode, Encode, Encoded, Inputs, Output, Params, Step

# How large an array outside the step may be, in numbers of the input and the carry: an LSTM's gates
# are less than 2 times as many, a GRU's less than 3; the channels of an image may be many more.
MOST_NUMBERS = 4
# How much `decode` may be given, in numbers of the largest array that the rest of the step makes.
MOST_GIVEN = 2


class StepParts(NamedTuple):
  """A step in three parts, as `Classifier` names them; None: `encode` is the identity."""

  encode: Encode | None
  step: Step
  decode: Decode


class _Flow(NamedTuple):
  """The equations of a step of one sequence, and what its variables depend on.

  Attributes:
    closed: jaxpr of `(params, carry, x) -> (carry, output)`, flat.
    params: the variables of params.
    carry: those of the carry before the step.
    x: those of the input.
    after: those of the carry after it.
    output: those of the output.
    of_carry: variables that depend on the carry.
    of_x: variables that depend on the input and not on the carry.
  """

  closed: ClosedJaxpr
  params: list[Any]
  carry: list[Any]
  x: list[Any]
  after: list[Any]
  output: list[Any]
  of_carry: set[Any]
  of_x: set[Any]


def split_step(
  step: Step, encode: Encode | None, decode: Decode, params: Params, carry: Carry, x: Inputs
) -> StepParts:
  """Moves products from a step to its `encode` and `decode`, where it has any that can stand there.

  Args:
    step: `(params, carry, encoded) -> (carry, output)`, of one sequence.
    encode: `(params, x) -> encoded`, or None.
    decode: `(params, output) -> logits`.
    params: of all three.
    carry: of one sequence.
    x: one step's input.

  Returns:
    Parts that compute the same by the same operations; those given, where there is nothing to move.
  """
  given = StepParts(encode, step, decode)
  encoded = x if encode is None else jax.eval_shape(encode, params, x)
  closed, shapes = jax.make_jaxpr(step, return_shape=True)(params, carry, encoded)
  if closed.effects or _calls_back(closed.jaxpr):
    return given
  flow = _follow(inline_jits(closed), params, carry, encoded)
  before, outputs = _find_encoded(flow), _find_outputs(flow)
  if before is None and outputs is None:
    return given
  before, outputs = before or flow.x, outputs or _variables(flow.output)
  run_before, run_after = _make_part(flow, flow.x, before), _make_part(flow, outputs, flow.output)
  run = _make_part(flow, [*flow.carry, *before], [*flow.after, *outputs])

  def encode_more(params: Params, x: Inputs) -> Encoded:
    return run_before(params, x if encode is None else encode(params, x))

  def step_less(params: Params, carry: Carry, encoded: Encoded) -> tuple[Carry, Output]:
    results = run(params, (carry, encoded))
    after, output = results[: len(flow.after)], results[len(flow.after) :]
    return jax.tree.unflatten(jax.tree.structure(shapes[0]), after), output

  def decode_more(params: Params, output: Output) -> Array:
    output = run_after(params, output)
    return decode(params, jax.tree.unflatten(jax.tree.structure(shapes[1]), output))

  return StepParts(encode_more, step_less, decode_more)


def _follow(closed: ClosedJaxpr, params: Params, carry: Carry, x: Inputs) -> _Flow:
  """Follows the input and the carry through the equations of a step."""
  jaxpr: Any = closed.jaxpr
  num_params, num_carry = (len(jax.tree.leaves(tree)) for tree in (params, carry))
  own, rest = jaxpr.invars[:num_params], jaxpr.invars[num_params:]
  of_carry, of_x = set(rest[:num_carry]), set(rest[num_carry:])
  for equation in jaxpr.eqns:
    read = set(_variables(equation.invars))
    if read & of_carry:
      of_carry.update(equation.outvars)
    elif read & of_x:
      of_x.update(equation.outvars)
  after, output = jaxpr.outvars[:num_carry], jaxpr.outvars[num_carry:]
  return _Flow(closed, own, rest[:num_carry], rest[num_carry:], after, output, of_carry, of_x)


def _find_encoded(flow: _Flow) -> list[Any] | None:
  """Variables for `encode` to give: all that the rest of the step reads of the input."""
  jaxpr: Any = flow.closed.jaxpr
  mine = [e for e in jaxpr.eqns if not flow.of_x.isdisjoint(e.outvars)]
  others = [e for e in jaxpr.eqns if not flow.of_carry.isdisjoint(e.outvars)]
  read = _variables([*(v for e in others for v in e.invars), *jaxpr.outvars])
  given = [v for v in read if v in flow.of_x]
  # Of several arrays early exit would write and read as many in its log, and that takes longer than
  # the products do: the four gates of Flax's LSTM, which cuts them before it adds the carry's.
  is_one = sum(v.aval.size > 1 for v in given) == 1
  return given if is_one and _is_worth_it(flow, mine, given) else None


def _find_outputs(flow: _Flow) -> list[Any] | None:
  """Variables for `decode` to read: all that the logits need and no later step."""
  jaxpr: Any = flow.closed.jaxpr
  kept = _needed(flow.closed, flow.after, [])
  others = {id(e) for e in kept}
  mine = [e for e in jaxpr.eqns if id(e) not in others and not flow.of_carry.isdisjoint(e.outvars)]
  made = {v for e in mine for v in e.outvars}
  read = _variables([*(v for e in mine for v in e.invars), *flow.output])
  given = [v for v in read if v not in made and v in flow.of_carry | flow.of_x]
  is_little = _count(given) <= MOST_GIVEN * _find_largest(kept)
  return given if is_little and _is_worth_it(flow, mine, given) else None


def _is_worth_it(flow: _Flow, equations: list[Any], given: list[Any]) -> bool:
  """Whether a part of these equations holds a product, and takes little memory."""
  most = MOST_NUMBERS * _count(flow.x + flow.carry)
  is_little = _count(given) <= most and _find_largest(equations) <= most
  return is_little and any(map(_holds_product, equations))


def _make_part(flow: _Flow, given: list[Any], results: list[Any]) -> Callable[..., list[Any]]:
  """The function `(params, tree of the given variables) -> results`, of the equations it needs."""
  jaxpr: Any = flow.closed.jaxpr
  given = flow.params + given
  equations = _needed(flow.closed, results, given)

  def run(*trees: Any) -> list[Any]:
    known = dict(zip(jaxpr.constvars, flow.closed.consts, strict=True))
    known |= dict(zip(given, jax.tree.leaves(trees), strict=True))
    return evaluate_equations(equations, known, results)

  return run


def _needed(closed: ClosedJaxpr, results: list[Any], given: list[Any]) -> list[Any]:
  """The equations between some variables and results, in order."""
  jaxpr: Any = closed.jaxpr
  wanted = set(_variables(results)) - set(given)
  needed = []
  for equation in reversed(jaxpr.eqns):
    if not wanted.isdisjoint(equation.outvars):
      needed.append(equation)
      wanted |= set(_variables(equation.invars)) - set(given)
  return needed[::-1]


def _variables(values: Iterable[Any]) -> list[Any]:
  """Those that are no literals, each once."""
  return list(dict.fromkeys(v for v in values if not isinstance(v, Literal)))


def _count(variables: Iterable[Any]) -> int:
  """How many numbers they hold."""
  return sum(math.prod(v.aval.shape) for v in variables)


def _find_largest(equations: list[Any]) -> int:
  """How many numbers the largest array has that they make."""
  return max((_count([v]) for e in equations for v in e.outvars), default=0)


def _calls_back(jaxpr: Any) -> bool:
  """Whether it calls the host, whose function would get arrays with another leading axis."""
  return any(
    "callback" in equation.primitive.name or any(map(_calls_back, inner_jaxprs(equation)))
    for equation in jaxpr.eqns
  )


def _holds_product(equation: Any) -> bool:
  inner = (e for jaxpr in inner_jaxprs(equation) for e in jaxpr.eqns)
  return is_large_product(equation) or any(map(_holds_product, inner))

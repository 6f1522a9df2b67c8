"""Where `encode` is computed: apart, over many row-steps at once, or within each step."""

from typing import Any

import jax

from rc_jax.types import Encode, Params, Step

# Weights to a number of the result from which on `encode` stands apart.
LEAST_WEIGHTS = 32


def place_encode(
  step: Step, encode: Encode | None, params: Params, x: Any
) -> tuple[Step, Encode | None]:
  """Joins `encode` into the step, unless it has many weights to each number of its result.

  Apart, each number costs a write to memory and a read, and likewise its cotangent; within, each
  step repeats `encode`'s product and adds to the gradient of every weight. For a dense layer the
  weights to a number are its inputs: by early exit 420 and 784 gain up to 0.4 of a full step's time
  apart, 1 gains 0.1 to 0.2 within (2 cores). What the full scan gains: docs/decisions/004.

  Args:
    step: `(params, carry, encoded) -> (carry, output)`.
    encode: `(params, x) -> encoded`, or None.
    params: of both.
    x: of one step of one sequence.

  Returns:
    The step, and `encode`, or None if the step takes `x`.
  """
  if encode is None or _stands_apart(encode, params, x):
    return step, encode
  return (lambda params, carry, x: step(params, carry, encode(params, x))), None


def _stands_apart(encode: Encode, params: Params, x: Any) -> bool:
  """Whether the params that `encode` reads are many to each number of its result."""
  traced: Any = jax.make_jaxpr(encode)(params, x).jaxpr
  read = {id(v) for equation in traced.eqns for v in equation.invars}
  leaves = zip(traced.invars, jax.tree.leaves(params), strict=False)
  weights = sum(leaf.size for variable, leaf in leaves if id(variable) in read)
  return weights >= LEAST_WEIGHTS * sum(v.aval.size for v in traced.outvars)

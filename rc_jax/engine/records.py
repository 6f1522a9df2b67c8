"""What the passes of the engine hand to each other.

B rows, T steps, C classes, w rows of a loop.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from rc_jax.types import Array, Carry, Encoded, Output, Params


class RowFunctions(NamedTuple):
  """A classifier's functions, mapped over w rows; params hold what they closed over, too.

  Attributes:
    first_step: `(params, carry, encoded) -> (carry, output)`, as `step`, of the first step.
    step: of all later ones.
    encode: `(params, x) -> encoded`; None where it is left within the step, or not given.
    decode: `(params, output) -> logits [w, C]`.
  """

  first_step: Callable[[Params, Carry, Encoded], tuple[Carry, Output]]
  step: Callable[[Params, Carry, Encoded], tuple[Carry, Output]]
  encode: Callable[[Params, Any], Encoded] | None
  decode: Callable[[Params, Output], Array]


class Spike(NamedTuple):
  """What each of B rows said.

  Attributes:
    step: `[B]` int32, zero-based, of the first spike, or the last step where there is none.
    spiked: `[B]` bool.
    label: `[B]` int32, the most probable class at `step`; None unless rows ran to their ends.
    output: `[B, ...]` of the classifier's step, at `step`; at a row's end where rows ran to it.
      Where all outputs are wanted: `[B, T, ...]`, and from there on always that one.
  """

  step: Array
  spiked: Array
  label: Array | None
  output: Output


class Stage(NamedTuple):
  """A loop of fixed width: its rows `[w]`, its first step and the one after its last, and where its
  entries begin in the log and among packed outputs.
  """

  rows: Array
  first: Array
  end: Array
  log_start: Array


class Trail(NamedTuple):
  """What the backward pass follows.

  Attributes:
    stages: in the order in which they ran.
    log: `[entries, ...]` each: residuals of their steps (see `blank_log`).
    logged: int32 number of row-steps in the log.
    first_encoded: what the first step took; None where `encode` does not stand apart.
    final_step: `[B]` int32, the step at which each row's gradient enters; the last one at which
      it does where all outputs are given.
  """

  stages: list[Stage]
  log: list[Array]
  logged: Array
  first_encoded: Encoded | None
  final_step: Array

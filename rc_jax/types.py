"""Types shared between modules.

Everywhere B are rows, T steps, C classes, F features and `...` any leading axes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Array = jax.Array
Key = jax.Array
Params = Any
Inputs = Any  # an array, or a tree of arrays with the same leading axes
Carry = Any
Encoded = Any
Output = Any
Step = Callable[[Params, Carry, Encoded], tuple[Carry, Output]]
Encode = Callable[[Params, Inputs], Encoded]
Decode = Callable[[Params, Output], Array]
Loss = Callable[[Array, Array], Array]
Schedule = Callable[[Array], Any]


def identity(params: Params, x: Any) -> Any:
  """The `encode` of a step that takes the raw input, and the `decode` of one that gives logits."""
  del params
  return x


class Classifier(NamedTuple):
  """A recurrent classifier of one sequence; the library maps it over rows.

  Attributes:
    init: `(key, x) -> params`; `x` is one step's input: an array, or a tree of arrays, of its
      shape and dtype. Consumes the key.
    initial_carry: `params -> carry` of one sequence.
    step: `(params, carry, encoded) -> (carry, output)`; without a `decode`, the output is logits
      `[C]` float, C >= 2, whose softmax gives the class probabilities. Draws no random numbers.
    encode: `(params, x) -> encoded`: the part of a step that needs no carry. An engine is free to
      run it over many steps and rows at once.
    decode: `(params, output) -> logits [C]`: the part of a step that feeds nothing back, such as
      dense layers after the recurrent one. Training differentiates it where the loss is: by rank
      coding once a row, at the spike.
  """

  init: Callable[[Key, Inputs], Params]
  initial_carry: Callable[[Params], Carry]
  step: Step
  encode: Encode = identity
  decode: Decode = identity

  def run_step(self, params: Params, carry: Carry, x: Inputs) -> tuple[Carry, Array]:
    """Takes one whole step of one sequence, from its input `x` to its logits `[C]`."""
    carry, output = self.step(params, carry, self.encode(params, x))
    return carry, self.decode(params, output)


class RankCode(NamedTuple):
  """The first spike of a network: its time and its label (section 2, eq. 1).

  Attributes:
    step: `[...]` int32, zero-based step of the first crossing; `length - 1` where there is none.
    spiked: `[...]` bool, False where no step reached theta.
    label: `[...]` int32, the most probable class at `step`.
    logits: `[..., C]` output at `step`. The only field that carries a gradient.
  """

  step: Array
  spiked: Array
  label: Array
  logits: Array


class Batch(NamedTuple):
  """B labelled sequences.

  Attributes:
    inputs: `[B, T, ...]`, or a tree of such arrays with the same B and T.
    labels: `[B]` int32 in `0..C-1`.
    lengths: `[B]` int32 in `1..T`; values at or after a row's length change nothing.
  """

  inputs: Inputs
  labels: Array
  lengths: Array

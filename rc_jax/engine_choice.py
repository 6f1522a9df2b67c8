"""Which engine computes a run up to its spikes."""

from typing import Any, Literal, NamedTuple, get_args

import jax

from rc_jax.checks import check_whole
from rc_jax.engine.widths import MOST_WIDTHS


class EarlyExit(NamedTuple):
  """The early-exit engine, with its options.

  Attributes:
    widths: the largest number of loops of falling width, 1 or more. More of them skip more and take
      longer to compile, each about a third of the full scan's compile time. One alone stops the
      whole batch at its slowest row. Passes without a gradient have up to `2 * widths - 1` loops,
      which compile in half the time.
  """

  widths: int = MOST_WIDTHS


EngineName = Literal["auto", "full", "early_exit"]
Engine = EngineName | EarlyExit


def check_engine(engine: Any) -> None:
  """Raises ValueError if there is no such engine."""
  if isinstance(engine, EarlyExit):
    check_whole("widths of EarlyExit", engine.widths, 1)
  elif engine not in get_args(EngineName):
    raise ValueError(
      f"engine is {engine!r}; choose one of {get_args(EngineName)} or EarlyExit(widths=...)"
    )


def choose_engine(rows: int, steps: int) -> Literal["full", "early_exit"]:
  """The engine of "auto": the full scan on a GPU or where there is little work, else early exit.

  Little is less than 4 of T steps or 512 row-steps of `[B, T]`: what it could save is less than it
  costs to compile a loop for every width. On a GPU early exit was slower for the paper's networks
  (docs/results/gpu.md); within jit only `jax.default_backend()` tells the device. A TPU gets early
  exit, which was not measured there.

  Args:
    rows: B.
    steps: T.

  Returns:
    "full" or "early_exit", as `make_train` and `unroll_to_spike` take it.
  """
  on_gpu = jax.default_backend() == "gpu"
  return "full" if on_gpu or steps < 4 or rows * steps < 512 else "early_exit"

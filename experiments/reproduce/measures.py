"""What is read of a result: quantities of a run itself, and ceilings beside them."""

from collections.abc import Callable

import numpy as np

from data_pipelines import two_sequence
from experiments.reproduce.results import Result, Runs

Measure = Callable[[Result], float | None]  # None where a run has no such value
Ceiling = Callable[[Result, Runs], float | None]  # of one of our results, given all runs

AT_SPIKE, STEP, AT_END = "rc_accuracy", "mean_spike_step", "eos_accuracy"  # keys of result.json


def at_mean_step(step: float) -> Measure:
  """Reads test accuracy at the theta whose mean step is `step`; None beyond the curve."""
  return lambda result: read_curve(result, step)


def after_steps(steps: int) -> Measure:
  """Reads the accuracy of answering every sequence after so many steps."""
  return lambda result: (
    result["accuracy_at_step"][steps - 1] if "accuracy_at_step" in result else None
  )


def own(key: str) -> Ceiling:
  """The ceiling stands in the result of the run itself, under this key."""
  return lambda result, runs: result.get(key)


def curve_of(run: str, step: float | None = None) -> Ceiling:
  """The ceiling is another run's accuracy at a mean step; None takes that of the result."""
  return lambda result, runs: (
    read_curve(runs[run][0].result, result[STEP] if step is None else step) if run in runs else None
  )


def end_of(run: str) -> Ceiling:
  """The ceiling is what another run reaches at the end of the input."""
  return lambda result, runs: runs[run][0].result[AT_END] if run in runs else None


def ideal_after(steps: int) -> Ceiling:
  """The ceiling is the ideal observer of the 2-sequence problem after so many steps."""
  return lambda result, runs: two_sequence.accuracy_after(steps)


def read_curve(result: Result, step: float) -> float | None:
  """Reads the curve of accuracy over theta at a mean step, between its points; None beyond it.

  Args:
    result: of a run.
    step: mean spike step, in steps seen.
  """
  x, y = (np.asarray(result["frontier"][key]) for key in (STEP, "accuracy"))
  return float(np.interp(step, x, y)) if x[0] <= step <= x[-1] else None

"""When a decision is an event: one rule for Python, the C code, graphs and the web page."""

from typing import Any, NamedTuple

import numpy as np

from rc_jax import check_theta

_HALF_A_SAMPLE_S = 0.5 / 16_000


class Rule(NamedTuple):
  """When a decision is made, and after how long the next one counts.

  Attributes:
    theta: threshold on the probability, in (1/C, 1).
    patience: steps on end at which one class must reach theta.
    refractory_s: seconds after an event within which a further one is dropped.
  """

  theta: float
  patience: int = 1
  refractory_s: float = 0.5


def check_rule(rule: Rule, classes: int) -> None:
  """Raises ValueError for a rule by which nothing sensible can be decided.

  Args:
    rule: to be checked.
    classes: C.
  """
  if not is_number(rule.theta):
    raise ValueError(f"theta is {rule.theta!r}; a rule has one number for all classes and steps")
  check_theta(rule.theta, classes)
  check_patience(rule.patience)
  check_refractory(rule.refractory_s)


def check_patience(patience: int) -> None:
  """Raises ValueError for a patience that is no number of steps."""
  is_whole = isinstance(patience, int | np.integer) and not isinstance(patience, bool)
  if not is_whole or not 1 <= patience < 2**31:
    raise ValueError(f"patience is {patience!r}; it counts steps on end, so give 1, 2, 3 or more")


def check_refractory(refractory_s: float) -> None:
  """Raises ValueError for a refractory time that is no number from 0 to below an hour."""
  if not is_number(refractory_s) or not 0 <= refractory_s < 3600:
    raise ValueError(f"refractory time is {refractory_s!r}; give seconds, 0 to below 3600")


def is_number(value: Any) -> bool:
  """Whether a value is one real number, of Python or of NumPy; a bool is none."""
  return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def is_refractory(seconds: float, refractory_s: float) -> bool:
  """Whether an event so many seconds after another is dropped.

  Times are multiples of a sample. With a margin of half of one, rounding decides nothing, and the
  exported code, which counts samples, decides the same.
  """
  return seconds < refractory_s - _HALF_A_SAMPLE_S

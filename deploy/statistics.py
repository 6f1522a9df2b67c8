"""Mean and standard deviation of a run's training data, as its files and its user give them."""

from typing import Any

import numpy as np


def check_mean_and_std(
  mean: Any, std: Any, size: int, *, of: str, dtype: type[np.floating]
) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and standard deviation, `[size]` of the type each.

  Args:
    mean: numbers.
    std: numbers, > 0.
    size: of each.
    of: what there is one number for, for messages.
    dtype: float32 or float64.

  Raises:
    ValueError: another shape, a number that is not finite, or a standard deviation of 0 or less.
  """
  mean, std = (np.asarray(a, dtype) for a in (mean, std))
  for name, table in (("mean", mean), ("std", std)):
    if table.shape != (size,):
      raise ValueError(f"{name} has shape {list(table.shape)}; give one number a {of}: [{size}]")
    if not np.isfinite(table).all():
      raise ValueError(f"{name} is not finite for a {of}; give {size} finite numbers")
  if not (std > 0).all():
    raise ValueError(f"std is {std.min()} for a {of}; it must be above 0")
  return mean, std

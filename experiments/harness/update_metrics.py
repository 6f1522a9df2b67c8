"""What the updates since the last validation measured, for its line of metrics.jsonl."""

import numpy as np

from rc_jax import Metrics


class UpdateMetrics:
  """Sums of the metrics of some updates, on the host, and the time that each update took.

  Args:
    count: of updates whose sums are given, of a run that goes on.
    sums: of each metric over them, by name.
  """

  def __init__(self, count: int = 0, sums: dict[str, float] | None = None):
    self._count = count
    self._sums = dict(sums or dict.fromkeys(Metrics._fields, 0.0))
    self._seconds: list[float] = []

  def add(self, metrics: Metrics) -> None:
    """Adds those of an update: scalars on the host."""
    self._count += 1
    for name, value in metrics._asdict().items():
      self._sums[name] += float(value)

  def add_seconds(self, seconds: float) -> None:
    """Adds the wall time of an update."""
    self._seconds.append(seconds)

  def copy(self) -> "UpdateMetrics":
    """Returns another one with the same sums, without the times."""
    return UpdateMetrics(self._count, self._sums)

  def means(self) -> dict[str, float]:
    """Returns the mean of each metric over the updates; empty without any."""
    return {name: total / self._count for name, total in self._sums.items() if self._count}

  def median_ms(self) -> float | None:
    """Returns median milliseconds of an update: a mean would count compilation."""
    return 1e3 * float(np.median(self._seconds)) if self._seconds else None

  def to_json(self) -> dict[str, object]:
    """Returns the arguments that make it again, to the last bit; a checkpoint holds them."""
    return {"count": self._count, "sums": dict(self._sums)}  # written while more is added

"""What the updates since the last validation measured, for its line of metrics.jsonl."""

import numpy as np

from rc_jax import Metrics


class UpdateMetrics:
  """Metrics of some updates of a run, on the host, and the time that each took.

  Args:
    rows: of `to_json`, of a run that goes on.
  """

  def __init__(self, rows: list[list[float]] | None = None):
    self._metrics = [_from_floats(row) for row in rows or ()]
    self._seconds: list[float] = []

  def add(self, metrics: Metrics) -> None:
    """Adds those of an update, as they come from the device."""
    self._metrics.append(metrics)

  def add_seconds(self, seconds: float) -> None:
    """Adds the wall time of an update."""
    self._seconds.append(seconds)

  def copy(self) -> "UpdateMetrics":
    """Returns what is there, to be kept while more is added; times are not kept."""
    other = UpdateMetrics()
    other._metrics = list(self._metrics)
    return other

  def means(self) -> dict[str, float]:
    """Returns the mean of each metric over the updates; empty without any."""
    names = Metrics._fields if self._metrics else ()
    return {name: float(np.mean([getattr(m, name) for m in self._metrics])) for name in names}

  def median_ms(self) -> float | None:
    """Returns median milliseconds of an update: a mean would count compilation."""
    return 1e3 * float(np.median(self._seconds)) if self._seconds else None

  def to_json(self) -> list[list[float]]:
    """Returns the metrics as numbers that JSON keeps to the last bit."""
    return [np.asarray(metrics, np.float64).tolist() for metrics in self._metrics]


def _from_floats(row: list[float]) -> Metrics:
  """Takes an update's metrics from JSON, in the types in which the device gives them."""
  read = Metrics(*(np.float32(value) for value in row))  # type: ignore[arg-type]
  return read._replace(finite=bool(read.finite))  # type: ignore[arg-type]

"""What one process reads and writes of a run: checkpoints, lines of metrics, events."""

import contextlib
from typing import Any

import numpy as np

from experiments.harness.checkpoints import Checkpoints, Snapshot
from experiments.harness.events import Events
from experiments.harness.fingerprint import identify_data, list_differences
from experiments.harness.task import Task
from experiments.harness.workdir import Workdir, read_metrics
from rc_jax import TrainState


class Files:
  """The files of a run in its open workdir, until they are closed; `restore` comes first.

  Args:
    workdir: the folder.
    task: whose classes and statistics a checkpoint must have.

  Raises:
    ValueError: they cannot be written, as from all methods.
  """

  def __init__(self, workdir: Workdir, task: Task):
    self.workdir, self._task = workdir, task
    self._opened = contextlib.ExitStack()
    self._checkpoints = Checkpoints(workdir.path / "checkpoints")
    self._opened.callback(self._checkpoints.close)

  def restore(self, like: TrainState) -> Snapshot | None:
    """Reads the latest checkpoint, and drops the metrics of what came after it.

    Args:
      like: a state of the same shapes and types.

    Returns:
      The checkpoint, or None where a run begins.

    Raises:
      ValueError: it cannot be read, is of other data, or is gone.
    """
    snapshot = self._checkpoints.restore(like, self._refuse_other_data)
    self.workdir.add_notes(self._checkpoints.notes)
    if snapshot is None:
      self._refuse_lost_checkpoints()
    step = 0 if snapshot is None else int(snapshot.state.step)
    self.workdir.rewind_metrics(step, self._task.evaluate_every)
    with self.workdir.naming_failure():
      self._events = Events(self.workdir.path / "tensorboard", step)
    self._opened.callback(self._close_events)
    return snapshot

  def save(self, snapshot: Snapshot) -> None:
    """Saves all that the run needs to go on; the write goes on in the background."""
    with self.workdir.naming_failure():
      self._events.flush()  # a kill then loses no event from before the checkpoint
    self._checkpoints.save(snapshot)

  def append(self, line: dict[str, Any]) -> None:
    """Adds a validation to metrics.jsonl, and its scalars to TensorBoard's events."""
    self.workdir.append_metrics(line)
    with self.workdir.naming_failure():
      for name, value in line.items():
        if np.ndim(value) == 0 and value is not None:
          self._events.add(name, value, line["step"])

  def read_last_line(self) -> dict[str, Any]:
    """Returns the last line of metrics.jsonl; empty before the first validation."""
    with contextlib.suppress(FileNotFoundError):
      return (read_metrics(self.workdir.path) or [{}])[-1]
    return {}

  def close(self) -> None:
    """Waits for what is still being written."""
    self._opened.close()

  def _close_events(self) -> None:
    with self.workdir.naming_failure():
      self._events.close()

  def _refuse_lost_checkpoints(self) -> None:
    """Raises ValueError if there were checkpoints once: to begin anew would wipe the metrics."""
    path = self.workdir.path
    # A run that was killed before its first checkpoint has their folder, which is empty.
    finished = (path / "result.json").exists()
    if finished or (not self._checkpoints.found and (path / "metrics.jsonl").exists()):
      raise ValueError(
        f"--workdir={path} holds a run that has trained, but no checkpoint of it; put the folder "
        "checkpoints back, or choose another --workdir"
      )

  def _refuse_other_data(self, meta: dict[str, Any]) -> None:
    """Raises ValueError if a checkpoint, which config.json may be older than, has other data."""
    now = identify_data({}, self._task.class_names, self._task.statistics)
    before = {"class_names": meta["class_names"], "statistics": meta["saved"]}
    if differences := list_differences(before, now):
      raise ValueError(
        f"{self.workdir.path} has a checkpoint of a run on other data ({'; '.join(differences)}); "
        "choose another --workdir, or give it the old data again"
      )

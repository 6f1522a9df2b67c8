"""TensorBoard's event files, written by the thread that calls, which an error therefore reaches.

tensorboardX's own `SummaryWriter` writes in a thread behind a bounded queue. Where a disk is full
the thread dies, the queue fills, and the training waits for ever, deaf to signals.
"""

import os
import pathlib
import time

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar


class Events:
  """One event file of a run.

  Args:
    folder: of the event files; it is made where it does not exist.
    step: from which on the run goes; TensorBoard drops what earlier files have of later steps.

  Raises:
    OSError: the file cannot be written, as from all methods.
  """

  def __init__(self, folder: pathlib.Path, step: int):
    folder.mkdir(parents=True, exist_ok=True)
    self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
    self._write(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

  def add(self, name: str, value: float, step: int) -> None:
    """Adds a number at a step."""
    self._write(Event(step=step, summary=scalar(name, value)))

  def flush(self) -> None:
    """Hands all that was added to the disk."""
    self._writer.flush()

  def close(self) -> None:
    """Flushes, and closes the file."""
    self._writer.close()

  def _write(self, event: Event) -> None:
    # The writer dates its first event alone.
    event.wall_time = time.time()
    self._writer.write_event(event)

"""The end of a run on request: a signal becomes an event that the training loop looks at."""

import signal
import threading
from typing import Any


class StopOnSignal:
  """Context that turns SIGINT, SIGTERM and SIGHUP into an event; a second one kills.

  `with StopOnSignal() as stop:` gives the `threading.Event`. The old handlers are put back at the
  end. Outside the main thread, where Python allows no handlers, the event is never set.
  """

  def __enter__(self) -> threading.Event:
    self._event = threading.Event()
    self._old: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        self._old[number] = signal.signal(number, self._stop)
    return self._event

  def _stop(self, number: int, frame: Any) -> None:
    """Sets the event; a second signal ends the process at once, even while XLA compiles.

    Nothing that was saved is harmed: a checkpoint appears whole or not at all.
    """
    del frame
    self._event.set()
    signal.signal(number, signal.SIG_DFL)

  def __exit__(self, *exception: Any) -> None:
    for number, handler in self._old.items():
      signal.signal(number, handler)

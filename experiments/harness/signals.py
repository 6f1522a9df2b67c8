"""The end of a run on request: a signal ends a command in order, wherever it comes.

In the training it becomes an event that the loop looks at, elsewhere a KeyboardInterrupt.
"""

import os
import signal
import sys
import threading
from typing import Any


def interrupt_on_signals() -> None:
  """Makes SIGTERM and SIGHUP a KeyboardInterrupt, and repeats one that Python could not raise.

  An error in a destructor, or in the callback of a weak reference, is printed and forgotten. A
  signal that comes there would be lost with it, and the run go on.
  """
  for number in filter(is_heard, (signal.SIGTERM, signal.SIGHUP)):
    signal.signal(number, signal.default_int_handler)
  report = sys.unraisablehook

  def repeat(what: Any) -> None:
    if issubclass(what.exc_type, KeyboardInterrupt):
      again = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
      again.daemon = True  # a process that ends meanwhile needs no signal
      again.start()
    else:
      report(what)

  sys.unraisablehook = repeat


def is_heard(number: int) -> bool:
  """Whether a signal is not one that `nohup`, or a shell for a job in the background, ignores."""
  return signal.getsignal(number) != signal.SIG_IGN


class StopOnSignal:
  """Context that turns SIGINT, SIGTERM and SIGHUP into an event; a second one kills.

  `with StopOnSignal() as stop:` gives the `threading.Event`. The old handlers are put back at the
  end. Outside the main thread, where Python allows no handlers, the event is never set.
  """

  def __enter__(self) -> threading.Event:
    self._event = threading.Event()
    self._old: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
      for number in filter(is_heard, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
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

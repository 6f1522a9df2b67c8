"""The loss of another process of a run: it ends this one with a sentence, however JAX learns of it.

A transfer that fails raises an error. JAX's client of process 0 aborts the process instead, from a
thread in C++ where nothing can be caught; only the handler of SIGABRT can still say why.
"""

import atexit
import ctypes
import os
import re
import signal

import jax

STATUS = 130  # a loss is mended by starting again, as a signal is

_LOST = re.compile(r"\b(UNKNOWN|UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED|INTERNAL): ")
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)
_in_use: list[object] = []  # what C calls must not be collected


def explain_error(error: Exception) -> str | None:
  """Says that a process has ended before the others, where that is what an error of XLA means."""
  if not jax.distributed.is_initialized() or not _LOST.search(str(error)):
    return None
  return describe(read_first_line(error))


def describe(reason: str) -> str:
  """The sentence for the loss of a process, with what JAX says of it."""
  return (
    f"another of the {jax.process_count()} processes has ended or cannot be reached ({reason}); "
    "see what it said, then start all again: they go on from the last checkpoint"
  )


def read_first_line(error: Exception) -> str:
  """The first line of an error."""
  return next(iter(str(error).splitlines()), "") or type(error).__name__


def say_at_abort(sentence: str) -> None:
  """From now on, an abort of this process ends it with a sentence and the status of a loss.

  Python's own handlers run later, in the main thread: too late for an abort. This one is C's.

  Args:
    sentence: what an abort means from now on.
  """

  @_Handler
  def end(number: int) -> None:
    del number
    os.write(2, f"error: {sentence}\n".encode())
    os._exit(STATUS)

  set_handler = ctypes.pythonapi.PyOS_setsig
  set_handler.argtypes, set_handler.restype = (ctypes.c_int, _Handler), ctypes.c_void_p
  if not _in_use:
    atexit.register(signal.signal, signal.SIGABRT, signal.SIG_DFL)  # Python is there no more
  _in_use.append(end)
  set_handler(signal.SIGABRT, end)

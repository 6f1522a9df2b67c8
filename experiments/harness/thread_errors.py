"""Errors of background threads, which the main thread raises again and says in one sentence.

Orbax writes a checkpoint in many threads. Where that fails each of them prints a traceback, up to
500 lines in all, before the main thread comes to say what happened.
"""

import functools
import inspect
import logging as standard_logging
import os
import sys
import threading
import warnings
from typing import Any

import jax
from absl import logging


def hush() -> None:
  """Shows tracebacks of other threads than the main one at --verbosity=0 alone."""
  of_main = sys.excepthook
  log = lambda *error: logging.info("in a background thread", exc_info=error)

  def of_any(*error: Any) -> None:
    # TensorStore's callbacks come here from threads that Python did not start.
    is_main = threading.current_thread() is threading.main_thread()
    (of_main if is_main else log)(*error)

  sys.excepthook = of_any
  threading.excepthook = lambda args: log(args.exc_type, args.exc_value, args.exc_traceback)
  logging.get_absl_logger().addFilter(_is_of_main)


@functools.cache  # once is enough for a process
def hush_abandoned_reads() -> None:
  """Shows what Orbax leaves of a checkpoint that it could not read at --verbosity=0 alone.

  It closes its event loop over reads that are under way. They fail when TensorStore ends them or
  when they are collected, at any later time, where nobody can catch it, and the user has been told
  of the damage in one sentence.
  """
  report = sys.unraisablehook

  def report_others(what: Any) -> None:
    read = what.object
    of_orbax = inspect.iscoroutine(read) and "orbax" in read.cr_code.co_filename
    # TensorStore names no object when it comes to the closed loop with what it has read.
    if of_orbax or (read is None and str(what.exc_value) == "Event loop is closed"):
      error = (what.exc_type, what.exc_value, what.exc_traceback)
      logging.info("in an abandoned read", exc_info=error)
    else:
      report(what)

  sys.unraisablehook = report_others
  warnings.filterwarnings("ignore", "coroutine '_read_array_index", RuntimeWarning)


def leave(status: int) -> None:
  """Ends the process now if a thread of a failed save would keep it alive: one waits 300 s.

  One of several processes ends at once, too: it would wait for the others, and they for it.

  Args:
    status: of the exit.
  """
  main = threading.main_thread()
  alive = any(thread is not main and not thread.daemon for thread in threading.enumerate())
  if alive or jax.distributed.is_initialized():
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _is_of_main(record: standard_logging.LogRecord) -> bool:
  """Whether a record is something else than Orbax's report of an error, which it raises too."""
  is_orbax = "orbax" in record.pathname and record.levelno >= standard_logging.ERROR
  return not is_orbax or logging.get_verbosity() >= logging.INFO

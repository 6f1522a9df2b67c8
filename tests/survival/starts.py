"""Starts of a command in processes that have its modules already, so that many cost little.

A server process imports the command's modules once and forks for each start, before JAX has any
thread. From there on a start is what `python -m experiments.temporal_mnist` does.
"""

import multiprocessing
import os
import pathlib
import signal
import sys
import time

MODULE = "experiments.temporal_mnist"
SETUP = ("absl.app", "sklearn.datasets", "tests.survival.starts")


def make_context():
  """Returns multiprocessing's context whose server imports what a start needs."""
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload([MODULE, *SETUP])
  return context


class Start:
  """One start of the command, which goes on beside the caller.

  Args:
    context: of `make_context`.
    arguments: of the command line.
    log: file to which standard output and error are added.
  """

  def __init__(self, context, arguments, log):
    self.log, self._from = log, log.stat().st_size if log.exists() else 0
    given = (list(arguments), str(log))
    self._process = context.Process(target=_run, args=given, daemon=True)
    self._process.start()

  @property
  def status(self):
    """Exit status, as of `subprocess.Popen.poll`."""
    return self._process.exitcode

  def send(self, number):
    """Sends a signal; one that has ended gets none."""
    if self.status is None:
      os.kill(self._process.pid, number)

  def wait(self, timeout=600):
    """Waits for the end, and returns the status; one that hangs is killed: None."""
    self._process.join(timeout)
    if self.status is None:
      self.send(signal.SIGKILL)
      self._process.join()
      return None
    return self.status

  def wait_until(self, holds, timeout=600, every=0.002):
    """Waits until a condition holds or the process has ended; returns whether it holds."""
    end = time.monotonic() + timeout
    while self.status is None and time.monotonic() < end:
      if holds():
        return True
      time.sleep(every)
    return False

  def read_output(self):
    """What it has printed so far."""
    with open(self.log, "rb") as file:
      file.seek(self._from)
      return file.read().decode(errors="replace")


def _run(arguments, log):
  """In the child: becomes the command."""
  file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  for number in (1, 2):
    os.dup2(file, number)
  signal.signal(signal.SIGINT, signal.default_int_handler)  # multiprocessing's server ignores it
  sys.argv = [str(pathlib.Path(*MODULE.split(".")).with_suffix(".py")), *arguments]
  from experiments import temporal_mnist
  from experiments.harness.flags import run_main

  run_main(temporal_mnist.main)

"""Processes that run cases, so that one that crashes or hangs ends itself alone and is seen."""

import multiprocessing
import multiprocessing.connection
import os
import pathlib
import resource
import signal
import time
import traceback
import warnings
from typing import NamedTuple

import numpy as np

LIMIT_S = 2.0  # of processor time, for a case
WALL_S = 60.0  # of a case that waits: for a pipe, or a lock
MORE_MEMORY = 1 << 30  # bytes of addresses beyond those of an idle worker
MODULES = ("tests.fuzz.cases", "librosa", "sklearn.datasets")


class Done(NamedTuple):
  """What came of a case.

  Attributes:
    number: of the case.
    outcome: "read", "refused", or "fault".
    what: was done; of a fault the traceback too.
    seconds: of processor time.
    memory: bytes by which the worker has grown at most so far.
  """

  number: int
  outcome: str
  what: str
  seconds: float
  memory: int


def run_cases(seed, numbers, folder, processes):
  """Runs cases in so many processes, and yields a `Done` for each as it comes.

  Args:
    seed: of all.
    numbers: of the cases.
    folder: in which each writes; what a fault was made of stays there.
    processes: their number.
  """
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload([*MODULES, __name__])
  workers = [_Worker(context, seed, numbers[k::processes], folder) for k in range(processes)]
  while workers:
    ready = multiprocessing.connection.wait([w.results for w in workers], timeout=1)
    for worker in list(workers):
      yield from worker.read() if worker.results in ready else worker.look()
      if worker.ended:
        workers.remove(worker)


class _Worker:
  """A process and the cases that it has not done yet."""

  def __init__(self, context, seed, numbers, folder):
    self._context, self._seed, self._left, self._folder = context, seed, list(numbers), folder
    self.ended = not self._left
    self._start()

  def _start(self):
    self.results, sender = self._context.Pipe(duplex=False)
    given = (self._seed, self._left, self._folder, sender)
    self._process = self._context.Process(target=_work, args=given, daemon=True)
    self._process.start()
    sender.close()
    self._heard = time.monotonic() + 120  # of its imports

  def read(self):
    """Yields what the process has sent; where it is dead, its last case was the fault."""
    try:
      done = self.results.recv()
    except EOFError:
      yield from self._bury()
      return
    self._heard = time.monotonic()
    self._left.remove(done.number)
    self.ended = not self._left
    yield done

  def look(self):
    """Kills the process where it waits too long; yields that case."""
    if time.monotonic() - self._heard > WALL_S:
      self._process.kill()
      yield from self._bury()

  def _bury(self):
    self._process.join()
    status = self._process.exitcode
    number = self._left.pop(0)
    hung = status in (-signal.SIGPROF, -signal.SIGKILL)
    what = f"hung for {LIMIT_S} s" if hung else f"crashed with status {status}"
    yield Done(number, "fault", what, LIMIT_S, 0)
    self.ended = not self._left
    if not self.ended:
      self._start()


def _work(seed, numbers, folder, sender):
  """In a worker: runs cases one after another, within limits that the system keeps."""
  from data_pipelines.speech.waveforms import to_clip
  from tests.fuzz.cases import PERIOD, list_seeds, run_case

  seeds = list_seeds()
  to_clip(np.zeros(800, np.float32), 8_000, "silence")  # imports what resamples
  for number in range(PERIOD - 4, PERIOD):  # compiles, before time and memory are limited
    run_case("warm", number, pathlib.Path(folder) / f"warm{numbers[0]}", seeds)
  addresses = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
  limit = addresses * resource.getpagesize() + MORE_MEMORY
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
  before = _peak()
  os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libsndfile's MP3 reader tells of each bad frame
  warnings.simplefilter("error")  # a user would see it, with a line of source
  for number in numbers:
    started = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)  # ends the process, in whatever library it is
    try:
      outcome, what = run_case(seed, number, pathlib.Path(folder) / str(number), seeds)
    except Exception:
      outcome, what = "fault", traceback.format_exc(limit=-6)
    signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - started
    sender.send(Done(number, outcome, what, seconds, _peak() - before))


def _peak():
  """The largest memory that this process has had, in bytes."""
  return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

"""What failed saves and reads leave behind neither talks nor keeps the process alive."""

import asyncio
import gc
import subprocess
import sys
import types

import pytest
import tensorstore

from experiments.harness import thread_errors

PROGRAM = """
import threading, time
from experiments.harness import thread_errors
thread_errors.hush()
fails = threading.Thread(target=lambda: 1 / 0)
fails.start()
fails.join()
threading.Thread(target=time.sleep, args=(60,)).start()
print("error: one sentence")
thread_errors.leave(2)
"""


def test_threads_of_a_failed_save_are_silent_and_do_not_keep_the_process_alive():
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM], timeout=30, capture_output=True, text=True, check=False
  )
  assert (done.returncode, done.stdout, done.stderr) == (2, "error: one sentence\n", "")


@pytest.fixture
def told(monkeypatch):
  """What is reported of errors that nobody could catch."""
  told = []
  monkeypatch.setattr(sys, "unraisablehook", told.append)
  return told


def test_abandoned_reads_of_orbax_are_silent_and_others_are_not(told):
  thread_errors.hush_abandoned_reads.__wrapped__()

  def abandon(filename):
    code = "async def read():\n  try:\n    await wait()\n  finally:\n    raise OSError('damaged')"
    names = {"wait": wait}
    exec(compile(code, filename, "exec"), names)
    names["read"]().send(None)  # it is under way, and nobody holds it

  @types.coroutine
  def wait():
    yield

  abandon("site-packages/orbax/checkpoint/serialization.py")
  gc.collect()
  assert not told
  abandon("ours.py")
  gc.collect()
  assert [what.exc_type for what in told] == [OSError]


def end_read_after_its_loop():
  promise, future = tensorstore.Promise.new()

  async def read():
    await future

  async def begin():
    under_way = read()
    under_way.send(None)
    return under_way

  loop = asyncio.new_event_loop()
  under_way = loop.run_until_complete(begin())
  loop.close()
  promise.set_result(None)
  under_way.close()


def test_reads_that_end_after_the_loop_of_orbax_are_silent(told):
  end_read_after_its_loop()
  assert [str(what.exc_value) for what in told] == ["Event loop is closed"]
  told.clear()
  thread_errors.hush_abandoned_reads.__wrapped__()
  end_read_after_its_loop()
  assert not told

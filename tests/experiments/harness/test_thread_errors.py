"""What failed saves and reads leave behind neither talks nor keeps the process alive."""

import gc
import subprocess
import sys
import types

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


def test_abandoned_reads_of_orbax_are_silent_and_others_are_not(monkeypatch):
  told = []
  monkeypatch.setattr(sys, "unraisablehook", told.append)
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

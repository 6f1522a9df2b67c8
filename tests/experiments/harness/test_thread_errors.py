"""A failed save leaves threads behind: they neither talk nor keep the process alive."""

import subprocess
import sys

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

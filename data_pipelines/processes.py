"""Whether a process that left something behind is still there."""

import os


def is_alive(process: int) -> bool:
  """Whether a process of this machine exists, whosever it is."""
  try:
    os.kill(process, 0)
  except ProcessLookupError:
    return False
  except PermissionError:
    return True
  return True

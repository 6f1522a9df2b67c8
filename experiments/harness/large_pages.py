"""Memory in large pages, for computation on a CPU under Linux.

XLA takes the buffers of a program anew each time it runs, and the kernel hands them out page by
page at the first touch: at 4 KiB a page that can cost more than the computation. glibc (2.35 and
later) asks for large pages if it is told so when a process starts. docs/early_exit.md has numbers.
"""

import os
import pathlib
import platform

import jax

_NAME, _VALUE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_KERNEL = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def make_environment() -> dict[str, str]:
  """Returns what to add to the environment of a process that is started; the user's own stands."""
  return {} if _NAME in os.environ else {_NAME: _VALUE}


def advise() -> str | None:
  """Returns a line for a user whose run would be faster with large pages, or None."""
  libc, version = platform.libc_ver()
  if libc != "glibc" or not version or tuple(map(int, version.split("."))) < (2, 35):
    return None
  try:
    on_demand = "[madvise]" in _KERNEL.read_text()
  except OSError:  # no Linux, or a sandbox
    return None
  if not on_demand or jax.default_backend() != "cpu":
    return None
  return f"faster on this CPU: {_NAME}={_VALUE} before the command" if make_environment() else None

"""A lock on the folder of a run, so that no two processes write into it."""

import errno
import fcntl
import os
import pathlib
import socket
import weakref

_NAME = "lock"
_UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lock:
  """Holds a folder until it is closed or the process ends, however it ends.

  The file stays, and names the last holder; what counts is the system's lock on it, which dies with
  its owner. On NFS under Linux it holds between machines too.

  Args:
    folder: an existing one.

  Attributes:
    note: a line for the user where the file system has no locks, else None.

  Raises:
    ValueError: another process holds the folder, or this one does already.
    OSError: the file cannot be written.
  """

  def __init__(self, folder: pathlib.Path):
    self.note: str | None = None
    file = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o666)
    self.close = weakref.finalize(self, os.close, file)  # lets go of the folder
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      if error.errno in _UNSUPPORTED:
        self.note = f"{folder} lies on a file system without locks: start no second run in it"
        return
      holder = os.read(file, 200).decode(errors="replace").strip() or "another process"
      self.close()
      raise ValueError(
        f"--workdir={folder} is in use by {holder}; wait until that ends, or choose another folder"
      ) from error
    os.ftruncate(file, 0)
    os.write(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode())

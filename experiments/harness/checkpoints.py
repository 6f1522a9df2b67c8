"""Orbax checkpoints of a run: all that it needs to go on, or to be used elsewhere."""

import contextlib
import errno
import os
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from rc_jax import TrainState
from rc_jax.types import Params

BESIDE_ARRAYS = 1 << 18  # bytes, of a checkpoint's other files
FILES = 100  # of a checkpoint, folders too


class Snapshot(NamedTuple):
  """A run at one moment.

  Attributes:
    state: latest TrainState.
    best: parameters of the best validation so far.
    meta: JSON values: position in the data, best so far, statistics, class names, config, seconds.
  """

  state: TrainState
  best: Params
  meta: dict[str, Any]


class Checkpoints:
  """The latest snapshot of a run, replaced atomically; a half-written one is never read.

  Args:
    folder: of the checkpoints; made at the first save.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    options = ocp.CheckpointManagerOptions(max_to_keep=1, create=True)
    with self._naming_failure():
      self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

  def save(self, snapshot: Snapshot) -> None:
    """Saves a snapshot; the write goes on in the background.

    Raises:
      ValueError: this one or the one before cannot be written.
    """
    step = int(snapshot.state.step)
    if step == self._manager.latest_step():
      return
    state = snapshot.state._replace(key=jax.random.key_data(snapshot.state.key))
    with self._naming_failure():
      self._refuse_full_disk((state, snapshot.best))
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          best=ocp.args.StandardSave(snapshot.best),
          meta=ocp.args.JsonSave(snapshot.meta),
        ),
      )

  def restore(
    self, like: TrainState, check: Callable[[dict[str, Any]], None] = lambda meta: None
  ) -> Snapshot | None:
    """Reads the latest snapshot.

    Args:
      like: a state of the same shapes and types, e.g. the initial one.
      check: is shown the snapshot's meta before the arrays are read, and raises ValueError if they
        cannot fit.

    Returns:
      The snapshot, or None where the folder holds none.

    Raises:
      ValueError: as `check`.
    """
    step = self._manager.latest_step()
    if step is None:
      return None
    args = ocp.args.Composite(meta=ocp.args.JsonRestore())
    check(dict(self._manager.restore(step, args=args).meta))
    like = like._replace(key=jax.random.key_data(like.key))
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    saved = self._manager.restore(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract),
        best=ocp.args.StandardRestore(abstract.params),
        meta=ocp.args.JsonRestore(),
      ),
    )
    state = TrainState(*saved.state)
    return Snapshot(
      state._replace(key=jax.random.wrap_key_data(state.key)), saved.best, dict(saved.meta)
    )

  def close(self) -> None:
    """Waits for the last write.

    Raises:
      ValueError: it failed.
    """
    with self._naming_failure():
      self._manager.close()

  def _refuse_full_disk(self, arrays: Any) -> None:
    """Raises OSError if a checkpoint does not fit: Orbax would say it in 500 lines."""
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
    disk = os.statvfs(self._folder)
    no_room = disk.f_bavail * disk.f_frsize < size + BESIDE_ARRAYS
    if no_room or (disk.f_files and disk.f_favail < FILES):  # some file systems count no files
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  @contextlib.contextmanager
  def _naming_failure(self) -> Iterator[None]:
    """Says in a sentence what failed and what next: Orbax's errors are many and long.

    Raises:
      ValueError: in place of any Exception.
    """
    try:
      yield
    except Exception as error:
      raise ValueError(
        f"{self._folder} cannot be written: {shorten(error)}; checkpoints from before are "
        "unharmed: once that is mended, the same command goes on"
      ) from error


def shorten(error: Exception) -> str:
  """Returns what an error of Orbax says first, or what the system said to it."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  if code := re.search(r"os_error_code='(\d+)'", str(error)):
    return os.strerror(int(code[1]))
  first = next(iter(str(error).splitlines()), "") or type(error).__name__
  return first if len(first) <= 200 else first[:200] + "..."

"""Orbax checkpoints of a run: all that it needs to go on, or to be used elsewhere."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from experiments.harness.checksums import Checksums
from experiments.harness.process_loss import read_first_line
from experiments.harness.thread_errors import hush_abandoned_reads
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
  """The last two snapshots of a run, written atomically; a half-written one is never read.

  Args:
    folder: of the checkpoints; it is made where it does not exist.

  Attributes:
    found: whether the folder was there already.
    notes: lines about damage that a user should see.

  Raises:
    ValueError: a file is in the folder's place, or it cannot be written.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder, self.found = folder, folder.exists()
    if self.found and not folder.is_dir():
      raise ValueError(f"{folder} is a file; put the folder of checkpoints back in its place")
    self._sums = Checksums(folder)
    self.notes = [self._sums.damage] if self._sums.damage else []
    options = ocp.CheckpointManagerOptions(
      max_to_keep=2,
      create=False,
      cleanup_tmp_directories=True,
      # Orbax would wait for the other processes of the run, which read and write no file.
      multiprocessing_options=ocp.options.MultiprocessingOptions(active_processes={0}),
    )
    with self._naming_failure():
      folder.mkdir(exist_ok=True)
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
    state, best = _take_own((state, snapshot.best))
    with self._naming_failure():
      self._finish_save()
      self._refuse_full_disk((state, best))
      self._manager.save(
        step,
        args=ocp.args.Composite(
          state=ocp.args.StandardSave(state),
          best=ocp.args.StandardSave(best),
          meta=ocp.args.JsonSave(snapshot.meta),
        ),
      )

  def restore(
    self, like: TrainState, check: Callable[[dict[str, Any]], None] = lambda meta: None
  ) -> Snapshot | None:
    """Reads the latest snapshot that is sound; damaged ones after it are set aside, with a note.

    Args:
      like: a state of the same shapes and types, e.g. the initial one.
      check: is shown a snapshot's meta before the arrays are read, and raises ValueError if they
        cannot fit.

    Returns:
      The snapshot, or None where there never was one.

    Raises:
      ValueError: as `check`, or all snapshots are damaged; nothing is touched then.
    """
    hush_abandoned_reads()
    damaged: dict[int, str] = {}
    for step in sorted({*self._manager.all_steps(), *self._sums.steps}, reverse=True):
      try:
        snapshot = self._read(step, like, check)
      except _DamagedError as error:
        damaged[step] = str(error)
        continue
      for number, what in damaged.items():
        self._set_aside(number)
        self.notes.append(f"{what}; the run goes on from the checkpoint before, at update {step}")
      return snapshot
    if damaged:
      raise ValueError(
        f"no checkpoint in {self._folder} can be read ({'; '.join(damaged.values())}); put a copy "
        "in its place, or choose another --workdir"
      )
    return None

  def _read(self, step: int, like: TrainState, check: Callable[[dict[str, Any]], None]) -> Snapshot:
    """Reads a snapshot; arguments as of `restore`.

    Raises:
      _DamagedError: a file of it is missing or damaged.
      ValueError: as `check`.
    """
    # One that was finished but has no sums is from before them, or of a process that was killed.
    if step in self._sums.steps and (damage := self._sums.find_damage(step)):
      raise _DamagedError(damage)
    like = _take_own(like._replace(key=jax.random.key_data(like.key)))
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    with self._naming_damage(step):
      args = ocp.args.Composite(meta=ocp.args.JsonRestore())
      meta = dict(self._manager.restore(step, args=args).meta)
    check(meta)
    with self._naming_damage(step):
      args = ocp.args.Composite(
        state=ocp.args.StandardRestore(abstract), best=ocp.args.StandardRestore(abstract.params)
      )
      saved = self._manager.restore(step, args=args)
      state = TrainState(*saved.state)
      key = jax.random.wrap_key_data(jnp.asarray(state.key))
      return Snapshot(state._replace(key=key), saved.best, meta)

  def _set_aside(self, step: int) -> None:
    """Moves a damaged checkpoint out of the way, into a folder beside the others."""
    source, aside = self._folder / str(step), self._folder.with_name("damaged_checkpoints")
    with self._naming_failure():
      if os.path.lexists(source):
        aside.mkdir(exist_ok=True)
        shutil.rmtree(aside / str(step), ignore_errors=True)
        os.replace(source, aside / str(step))
      self._manager.reload()

  def _finish_save(self) -> None:
    """Waits for the last write, and takes its sums."""
    self._manager.wait_until_finished()
    self._sums.take(self._manager.all_steps())

  def close(self) -> None:
    """Waits for the last write.

    Raises:
      ValueError: it failed.
    """
    with self._naming_failure():
      try:
        self._finish_save()
      finally:
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
        f"{self._folder} cannot be written: {_shorten(error)}; checkpoints from before are "
        "unharmed: once that is mended, the same command goes on"
      ) from error

  @contextlib.contextmanager
  def _naming_damage(self, step: int) -> Iterator[None]:
    """Turns what Orbax raises of a checkpoint that it cannot read into `_DamagedError`."""
    try:
      yield
    except Exception as error:
      raise _DamagedError(
        f"{self._folder / str(step)} cannot be read: {_shorten(error)}"
      ) from error


def _take_own(tree: Any) -> Any:
  """Copies arrays to the host if there are several processes.

  Orbax takes an array that one of them holds alone for a mistake.
  """
  return tree if jax.process_count() == 1 else jax.tree.map(np.array, tree)


class _DamagedError(Exception):
  """A checkpoint that is not as it was written; the text names the file."""


def _shorten(error: Exception) -> str:
  """Returns what an error of Orbax says first, or what the system said to it."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  if code := re.search(r"os_error_code='(\d+)'", str(error)):
    return os.strerror(int(code[1]))
  first = read_first_line(error)
  return first if len(first) <= 200 else first[:200] + "..."

"""Orbax checkpoints of a run: all that it needs to go on, or to be used elsewhere."""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp

from rc_jax import TrainState
from rc_jax.types import Params


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
    options = ocp.CheckpointManagerOptions(max_to_keep=1, create=True)
    self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

  def save(self, snapshot: Snapshot) -> None:
    """Saves a snapshot; the write goes on in the background."""
    step = int(snapshot.state.step)
    if step == self._manager.latest_step():
      return
    state = snapshot.state._replace(key=jax.random.key_data(snapshot.state.key))
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
    """Waits for the last write."""
    self._manager.close()

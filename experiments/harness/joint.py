"""Several runs in one program: their states, data and metrics stacked along a first axis."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.harness.run_state import RunState
from experiments.harness.updates import Update, choose_task_engine, make_update
from rc_jax import Metrics, TrainState
from rc_jax.types import Array


def make_joint_update(runs: Sequence[RunState]) -> Update:
  """Returns the jitted update of a run, or of several at once.

  Args:
    runs: of one classifier, with equal settings but for seed, constant beta and workdir.

  Returns:
    `(state, data, item) -> (state, Metrics)`, each argument and result as `join` makes it of those
    of the runs; `data` is that of `join_data`. It donates the state.
  """
  task, settings = runs[0].task, runs[0].settings
  if len(runs) == 1:
    return jax.jit(make_update(task, settings), donate_argnums=0)
  betas = [run.settings.schedule_of("beta", task.updates_per_epoch) for run in runs]
  schedules = [b if callable(b) else optax.constant_schedule(b) for b in betas]
  differ = len({run.settings.betas for run in runs}) > 1

  def update_member(
    k: Array, state: TrainState, data: Any, item: Any
  ) -> tuple[TrainState, Metrics]:
    beta = lambda count: jnp.stack([jnp.float32(schedule(count)) for schedule in schedules])[k]
    # An objective that has no entropy reward takes no schedule of it.
    return make_update(task, settings, beta if differ else None)(state, data, item)

  shared = _share_data(runs)
  members = jnp.arange(len(runs))
  engine = choose_task_engine(task, settings)

  def update(state: TrainState, data: Any, item: Any) -> tuple[TrainState, Metrics]:
    if engine == "full" or task.vmap_members:
      axes = (0, 0, None if shared else 0, 0)
      return jax.vmap(update_member, axes)(members, state, data, item)
    # Early exit runs members one after another anyway; vmap would also copy each one's log into a
    # stacked array.
    one = lambda own: update_member(own[0], own[1], data if shared else own[3], own[2])
    return jax.lax.map(one, (members, state, item, *(() if shared else (data,))))

  return jax.jit(update, donate_argnums=0)


def join_data(runs: Sequence[RunState]) -> Any:
  """Returns the data of the runs for a joint update: stored data, which is the same, once."""
  return runs[0].task.data if _share_data(runs) else join([run.task.data for run in runs])


def join(trees: Sequence[Any]) -> Any:
  """Stacks trees of equal shapes along a new first axis; one tree alone stays as it is."""
  if len(trees) == 1:
    return trees[0]
  on_host = lambda leaf: isinstance(leaf, np.ndarray | np.generic)
  stack = lambda *leaves: (np if on_host(leaves[0]) else jnp).stack(leaves)
  return jax.tree.map(stack, *trees)


def split(tree: Any, number: int) -> list[Any]:
  """Takes apart what `join` has made of so many trees."""
  if number == 1:
    return [tree]
  return [jax.tree.map(lambda leaf, k=k: leaf[k], tree) for k in range(number)]


def _share_data(runs: Sequence[RunState]) -> bool:
  return all(run.task.data is runs[0].task.data for run in runs)

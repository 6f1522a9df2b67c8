"""The jitted functions of one run, from its task and settings."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from deploy import load_run
from experiments.harness import devices
from experiments.harness.objectives import make_objective, make_reader
from experiments.harness.settings import LONG_UPDATES, LONG_WIDTHS, Settings
from experiments.harness.task import Task
from rc_jax import (
  Classifier,
  EarlyExit,
  Engine,
  Metrics,
  Train,
  TrainState,
  choose_engine,
  make_train,
  with_dtype,
)
from rc_jax.types import Array, Key, Params, Schedule

Update = Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]


def count_updates(task: Task, settings: Settings) -> int:
  """Returns the number of updates of the whole training.

  Raises:
    ValueError: less than one.
  """
  if task.updates_per_epoch is None:
    updates = round(settings.amount / settings.batch_size)
  else:
    updates = round(settings.amount * task.updates_per_epoch)
  if updates < 1:
    raise ValueError(f"{settings.amount} is too little for one update of {settings.batch_size}")
  return updates


def make_initial_state(task: Task, settings: Settings) -> TrainState:
  """Returns the state before the first update, whose parameters are drawn.

  Drawing them is compiled once for all runs of a network.
  """
  key = jax.random.fold_in(jax.random.key(settings.seed), 0)
  draw = functools.partial(_draw_params, task.classifier)
  drawn = task._replace(classifier=task.classifier._replace(init=draw))
  return _make_training(drawn, settings).init(key, take_example_inputs(task)[0, 0])


@functools.partial(jax.jit, static_argnums=0)
def _draw_params(classifier: Classifier, key: Key, x: Array) -> Params:
  return classifier.init(key, x)


def begin_from_run(state: TrainState, task: Task, settings: Settings) -> TrainState:
  """Returns the state before the first update, with the parameters of --init_from if it is given.

  Raises:
    ValueError: as `load_initial_params`.
  """
  params = load_initial_params(task, settings)
  if params is None:
    return state
  optimizer = settings.optimizer(count_updates(task, settings))
  return state._replace(params=params, opt_state=optimizer.init(params))


def load_initial_params(task: Task, settings: Settings) -> Params | None:
  """Loads the parameters that a run begins with; None where they are drawn.

  Raises:
    ValueError: --init_from is no run that has ended, or one of another network or other classes.
  """
  if settings.init_from is None:
    return None
  before = load_run(settings.init_from, calibrated=False)
  for what, had, has in (
    ("network", before.model, task.model),
    ("classes", before.class_names, tuple(task.class_names)),
  ):
    if had != has:
      raise ValueError(
        f"--init_from={settings.init_from} has other {what} than this run: {had}, not {has}; give "
        "the flags of that run, or leave --init_from out"
      )
  return before.params


def take_example_inputs(task: Task) -> Array:
  """Returns inputs `[B, T, ...]` of one batch, for their shape and type."""
  return next(iter(task.validation.batches())).inputs


def make_update(task: Task, settings: Settings, beta: Schedule | None = None) -> Update:
  """Returns the update of a run, to be jitted: `(state, task.data, item) -> (state, Metrics)`.

  Args:
    task: what to train.
    settings: how.
    beta: a schedule of the update count that replaces the beta of the settings.
  """
  mesh = devices.make_mesh(settings.devices)
  if mesh is None:
    train = _make_training(task, settings, beta)
    return lambda state, data, item: train.update(state, task.fetch(data, item))
  # Augmented as a whole, so that the numbers drawn do not depend on the devices.
  alone = _make_training(task._replace(make_steps=None), settings, beta, axis_name=devices.AXIS)
  update_rows = jax.shard_map(
    alone.update,
    mesh=mesh,
    in_specs=(devices.EVERYWHERE, devices.BY_ROWS),
    out_specs=devices.EVERYWHERE,
  )

  def update(state: TrainState, data: Any, item: Any) -> tuple[TrainState, Metrics]:
    batch = task.fetch(data, item)
    if task.make_steps is not None:
      batch = task.make_steps(jax.random.fold_in(state.key, state.step), batch)
    return update_rows(state, batch)

  return update


def set_dtype(task: Task, settings: Settings) -> Task:
  """Returns the task with its classifier computed in `settings.dtype`, and how it is read."""
  classifier = task.classifier
  if settings.dtype != "float32":  # a wrapped one would be another function, and compile anew
    classifier = with_dtype(classifier, settings.dtype)
  reader = make_reader(classifier, settings.objective, task.class_names)
  return task._replace(classifier=classifier, reader=reader)


def _make_training(
  task: Task, settings: Settings, beta: Schedule | None = None, axis_name: str | None = None
) -> Train:
  per_epoch = task.updates_per_epoch
  return make_train(
    task.classifier,
    settings.optimizer(count_updates(task, settings)),
    objective=make_objective(settings.objective, task.class_names),
    beta=settings.schedule_of("beta", per_epoch) if beta is None else beta,
    theta=settings.schedule_of("theta", per_epoch),
    augment=task.make_steps,
    axis_name=axis_name,
    engine=choose_task_engine(task, settings),
  )


def choose_task_engine(task: Task, settings: Settings) -> Engine:
  """Returns the engine that the settings ask for, with their number of widths or what pays."""
  name = settings.engine
  if name == "auto":
    name = choose_engine(
      settings.batch_size // settings.devices, take_example_inputs(task).shape[1]
    )
  if name != "early_exit":
    return name
  widths = settings.widths
  if widths is None:
    is_long = count_updates(task, settings) >= LONG_UPDATES
    widths = LONG_WIDTHS if is_long else EarlyExit().widths
  return EarlyExit(widths=widths)

"""Training: the state of a run, and the one loop, for a run alone or for several at once."""

import contextlib
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorboardX
import tqdm

from experiments.checkpoints import Checkpoints, Snapshot
from experiments.flags import Settings
from experiments.optimizer import averaged
from experiments.task import Task
from experiments.workdir import Workdir
from rc_jax import (
  Evaluation,
  Metrics,
  Train,
  TrainState,
  choose_engine,
  evaluate,
  make_train,
  with_dtype,
)
from rc_jax.types import Array, Params, Schedule

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the spike steps, in metrics.jsonl
Update = Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]


class Best(NamedTuple):
  """The best validation so far: its update count and accuracy at the spike."""

  step: int
  rc_accuracy: float


class Loop:
  """A run in memory, between setup and result.

  Args:
    task: what to train.
    settings: how.
    workdir: where its files go.
  """

  def __init__(self, task: Task, settings: Settings, workdir: Workdir):
    self.task, self.settings, self.workdir = task, settings, workdir
    self.updates = num_updates(task, settings)
    self.state = initial_state(task, settings)
    self.step = 0
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=16)
    self.items: Any = iter(task.items.to_iter_dataset(options))
    self.best = Best(0, -1.0)
    self.best_params: Params = _copy(self.params)
    self.seconds = 0.0
    self.stopped_early = False
    self.seen: list[Metrics] = []  # since the last validation
    self.update_seconds: list[float] = []  # of those updates
    self.checkpoints = Checkpoints(workdir.path / "checkpoints")
    self._restore()
    self.tensorboard = tensorboardX.SummaryWriter(
      str(workdir.path / "tensorboard"), purge_step=self.step
    )

  @property
  def params(self) -> Params:
    """What is read now: the parameters, or their average where one is kept."""
    return averaged(self.state.opt_state, self.state.params)

  def _restore(self) -> None:
    snapshot = self.checkpoints.restore(self.state)
    if snapshot is None:
      self.workdir.rewind_metrics(0)
      return
    self.state, self.best_params, meta = snapshot
    self.items.set_state(meta["items"])
    self.best = Best(**meta["best"])
    self.seconds = meta["seconds"]
    self.stopped_early = meta["stopped_early"]
    self.step = int(self.state.step)
    self.workdir.rewind_metrics(self.step)

  @property
  def ended(self) -> bool:
    """Whether no update is left."""
    return self.stopped_early or self.step >= self.updates

  def save(self) -> None:
    """Saves all that the run needs to go on."""
    meta = {
      "experiment": self.task.name,
      "items": self.items.get_state(),
      "best": self.best._asdict(),
      "seconds": self.seconds,
      "stopped_early": self.stopped_early,
      "class_names": list(self.task.class_names),
      "saved": self.task.saved,
      "flags": self.settings.flags,
    }
    self.checkpoints.save(Snapshot(self.state, self.best_params, meta))

  def close(self) -> None:
    """Waits for what is still being written."""
    self.tensorboard.close()
    self.checkpoints.close()

  def validate(self, tell: Callable[[str], None]) -> None:
    """Reads the validation split, writes a line of metrics, and keeps the best parameters."""
    params = self.params
    with naming_split("validation"):
      evaluation = evaluate(
        self.task.classifier, params, self.task.validation.batches(), self.settings.theta
      )
    accuracy = evaluation.rc_accuracy
    line: dict[str, Any] = self.position(self.step)
    line |= {f"train_{name}": value for name, value in self._train_means().items()}
    line |= summary(evaluation) | self.task.measure("validation", evaluation, params)
    line |= {"spike_step_quantiles": np.quantile(evaluation.step + 1, QUANTILES)}
    line |= {
      "computed_fraction": line.get("train_computed_fraction"),
      "update_ms": self._update_ms(),
    }
    line |= {"seconds": self.seconds}
    self.workdir.append_metrics(line)
    for name, value in line.items():
      if np.ndim(value) == 0 and value is not None:
        self.tensorboard.add_scalar(name, value, self.step)
    share = float(np.max(np.bincount(self.task.validation.labels)) / len(evaluation.label))
    if self.settings.early_stop and accuracy < share < self.best.rc_accuracy:
      self.stopped_early = True
      tell(
        f"early stop (A.4): validation accuracy at the spike fell to {accuracy:.4f}, below the "
        f"share of the largest class, {share:.4f}"
      )
    if accuracy > self.best.rc_accuracy:
      self.best = Best(self.step, accuracy)
      self.best_params = _copy(params)
    self.seen, self.update_seconds = [], []

  def _train_means(self) -> dict[str, float]:
    names = Metrics._fields if self.seen else ()
    return {name: float(np.mean([getattr(m, name) for m in self.seen])) for name in names}

  def _update_ms(self) -> float | None:
    # A mean would count compilation.
    return 1e3 * float(np.median(self.update_seconds)) if self.update_seconds else None

  def position(self, step: int) -> dict[str, float]:
    """A number of updates, also in examples and, of stored data, in epochs."""
    per_epoch = self.task.updates_per_epoch
    epoch = {} if per_epoch is None else {"epoch": step / per_epoch}
    return {"step": step, **epoch, "examples": step * self.settings.batch_size}


@contextlib.contextmanager
def naming_split(split: str) -> Iterator[None]:
  """Puts the split's name before what bad data, or a diverged training, gives rise to."""
  try:
    yield
  except ValueError as error:
    raise ValueError(f"{split} split: {error}") from error


def train(loops: Sequence[Loop]) -> bool:
  """Trains a run, or several of one experiment in one program, each as if it were alone.

  Args:
    loops: of the same classifier and settings but for seed, constant beta and workdir.

  Returns:
    Whether all came to their end; False if a signal stopped them before, with all saved.
  """
  every, saved_at = loops[0].settings.checkpoint_seconds, time.monotonic()
  bar = tqdm.tqdm(
    total=sum(loop.updates for loop in loops),
    initial=sum(loop.step for loop in loops),
    unit="update",
    disable=not loops[0].settings.progress or all(loop.ended for loop in loops),
    dynamic_ncols=True,
  )
  update = functools.cache(lambda *members: _joint_update([loops[k] for k in members]))
  with _Signals() as stop, bar:
    pause = lambda: stop.is_set() or time.monotonic() - saved_at > every
    while not stop.is_set() and (waiting := [k for k, loop in enumerate(loops) if not loop.ended]):
      step = min(loops[k].step for k in waiting)
      group = [k for k in waiting if loops[k].step == step]  # all, but after a kill between saves
      ahead = [loops[k].step for k in waiting if k not in group]
      _advance([loops[k] for k in group], update(*group), ahead, pause, bar)
      if pause():
        for loop in loops:
          loop.save()
        saved_at = time.monotonic()
    for loop in loops:
      if loop.ended and loop.best.rc_accuracy < 0:  # resumed before the first validation
        loop.validate(bar.write)
      loop.save()
  return all(loop.ended for loop in loops)


def _advance(
  loops: list[Loop],
  update: Update,
  ahead: list[int],
  pause: Callable[[], bool],
  bar: tqdm.tqdm,
) -> None:
  """Makes updates up to the next validation, which it does, or to others ahead, or to a pause."""
  task, step = loops[0].task, loops[0].step
  every = task.evaluate_every
  validation = min(step - step % every + every, loops[0].updates)
  data, state = _joint_data(loops), _join([loop.state for loop in loops])
  previous = None
  while step < min([validation, *ahead]) and not pause():
    started = time.monotonic()
    state, metrics = update(state, data, _join([next(loop.items) for loop in loops]))
    if previous is not None:
      _note(previous, loops, bar)  # a step late, so that nothing waits
    step, previous = step + 1, metrics
    if step == validation:
      _note(previous, loops, bar)
      previous = None
    share = (time.monotonic() - started) / len(loops)
    for loop in loops:
      loop.seconds += share
      loop.update_seconds.append(share)
  if previous is not None:
    _note(previous, loops, bar)
  for loop, own in zip(loops, _part(state, len(loops)), strict=True):
    loop.state, loop.step = own, step
    if step == validation:
      loop.validate(bar.write)


def _note(metrics: Metrics, loops: list[Loop], bar: tqdm.tqdm) -> None:
  """Fetches the metrics of an update, and gives each run its own."""
  metrics = jax.device_get(metrics)
  for loop, own in zip(loops, _part(metrics, len(loops)), strict=True):
    loop.seen.append(own)
  loss, accuracy, step, _, computed, _ = (np.mean(value) for value in metrics)
  bar.set_postfix_str(
    f"loss {loss:.3f}, accuracy at spike {accuracy:.3f}, mean spike step {step:.1f}, "
    f"computed {computed:.0%}",
    refresh=False,
  )
  bar.update(len(loops))


def _joint_update(loops: list[Loop]) -> Update:
  """The jitted update of a run, or of several: their states, items and metrics stacked."""
  task, settings = loops[0].task, loops[0].settings
  if len(loops) == 1:
    return jax.jit(update_of(task, settings), donate_argnums=0)
  betas = [loop.settings.schedule_of("beta", task.updates_per_epoch) for loop in loops]
  schedules = [b if callable(b) else optax.constant_schedule(b) for b in betas]

  def member(k: Array, state: TrainState, data: Any, item: Any) -> tuple[TrainState, Metrics]:
    beta = lambda count: jnp.stack([jnp.float32(schedule(count)) for schedule in schedules])[k]
    return update_of(task, settings, beta)(state, data, item)

  shared = all(loop.task.data is task.data for loop in loops)
  members = jnp.arange(len(loops))
  engine = settings.engine
  if engine == "auto":
    engine = choose_engine(settings.batch_size, _example(task).shape[1])

  def update(state: TrainState, data: Any, item: Any) -> tuple[TrainState, Metrics]:
    # One step of a cnn is too little for early exit, and its convolutions are slow within a loop.
    if engine == "full" or settings.flags["model"] == "cnn":
      return jax.vmap(member, (0, 0, None if shared else 0, 0))(members, state, data, item)
    # Early exit goes one by one in any case; under vmap members' logs would be stacked: copies.
    one = lambda own: member(own[0], own[1], data if shared else own[3], own[2])
    return jax.lax.map(one, (members, state, item, *(() if shared else (data,))))

  return jax.jit(update, donate_argnums=0)


def _joint_data(loops: list[Loop]) -> Any:
  data = loops[0].task.data
  shared = all(loop.task.data is data for loop in loops)
  return data if shared else _join([loop.task.data for loop in loops])


def _join(trees: list[Any]) -> Any:
  """A tree, or several stacked."""
  if len(trees) == 1:
    return trees[0]
  stack = lambda *leaves: (np if isinstance(leaves[0], np.ndarray | np.generic) else jnp).stack(
    leaves
  )
  return jax.tree.map(stack, *trees)


def _part(tree: Any, number: int) -> list[Any]:
  """What `_join` has joined."""
  if number == 1:
    return [tree]
  return [jax.tree.map(lambda leaf, k=k: leaf[k], tree) for k in range(number)]


def num_updates(task: Task, settings: Settings) -> int:
  """Updates of the whole training.

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


def initial_state(task: Task, settings: Settings) -> TrainState:
  """The state before the first update."""
  key = jax.random.fold_in(jax.random.key(settings.seed), 0)
  return jax.jit(_training(task, settings).init)(key, _example(task)[0, 0])


def _example(task: Task) -> Array:
  """Inputs `[B, T, ...]` of one batch."""
  return next(iter(task.validation.batches())).inputs


def update_of(task: Task, settings: Settings, beta: Schedule | None = None) -> Update:
  """`(state, task.data, item) -> (state, Metrics)`; a `beta` replaces that of the settings."""
  train = _training(task, settings, beta)
  return lambda state, data, item: train.update(state, task.fetch(data, item))


def _training(task: Task, settings: Settings, beta: Schedule | None = None) -> Train:
  beta_or_theta = lambda name: settings.schedule_of(name, task.updates_per_epoch)
  return make_train(
    task.classifier,
    settings.optimizer(num_updates(task, settings)),
    objective=settings.objective,
    beta=beta_or_theta("beta") if beta is None else beta,
    theta=beta_or_theta("theta"),
    augment=task.augment,
    engine=settings.engine,
  )


def in_dtype(task: Task, settings: Settings) -> Task:
  """The task with its classifier computed in `settings.dtype`."""
  return task._replace(classifier=with_dtype(task.classifier, settings.dtype))


def summary(evaluation: Evaluation) -> dict[str, float]:
  """The measures that every task reports."""
  names = ("rc_accuracy", "mean_spike_step", "eos_accuracy", "no_spike_fraction")
  return {name: getattr(evaluation, name) for name in names}


class _Signals:
  """Turns SIGINT and SIGTERM into an event while the loop runs; a second SIGINT interrupts."""

  def __enter__(self) -> threading.Event:
    self._event = threading.Event()
    self._old: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
      for number in (signal.SIGINT, signal.SIGTERM):
        self._old[number] = signal.signal(number, self._stop)
    return self._event

  def _stop(self, number: int, frame: Any) -> None:
    del frame
    self._event.set()
    signal.signal(number, self._old[number])

  def __exit__(self, *exception: Any) -> None:
    for number, handler in self._old.items():
      signal.signal(number, handler)


def _copy(params: Params) -> Params:
  """The update donates its state, so what outlives it is a copy."""
  return jax.tree.map(jnp.copy, params)

"""The one training loop: setup, updates, evaluations, checkpoints, and the files at the end."""

import collections
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import tensorboardX
import tqdm

from experiments import report
from experiments.checkpoints import Checkpoints, Snapshot
from experiments.flags import Settings
from experiments.optimizer import averaged
from experiments.task import EvaluationSet, Task
from experiments.workdir import Workdir, read_metrics, write_json
from rc_jax import (
  Evaluation,
  Metrics,
  TrainState,
  accuracy_at_step,
  evaluate,
  frontier,
  make_train,
  unroll,
  with_dtype,
)
from rc_jax.checks import check_theta
from rc_jax.types import Params

# Beyond theta = .95 the curve is about certainty: steps in the odds, not in the probability.
FRONTIER_ODDS = np.geomspace(0.25, 1e4, 49)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the spike steps, in metrics.jsonl


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
    self.state, update = training(task, settings)
    self.update = jax.jit(update, donate_argnums=0)
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=16)
    self.items: Any = iter(task.items.to_iter_dataset(options))
    self.best = Best(0, -1.0)
    self.best_params: Params = _copy(self.params)
    self.seconds = 0.0
    self.stopped_early = False
    self.checkpoints = Checkpoints(workdir.path / "checkpoints")
    self._restore()
    self.tensorboard = tensorboardX.SummaryWriter(
      str(workdir.path / "tensorboard"), purge_step=int(self.state.step)
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
    self.workdir.rewind_metrics(int(self.state.step))

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

  def train(self) -> bool:
    """Trains to the end; False if a signal ended it before."""
    task, step, saved_at = self.task, int(self.state.step), time.monotonic()
    show = self.settings.progress and not self.stopped_early and step < self.updates
    bar = tqdm.tqdm(
      total=self.updates, initial=step, unit="update", disable=not show, dynamic_ncols=True
    )
    window = _Window(bar)
    with _Signals() as stop, bar:
      while step < self.updates and not self.stopped_early:
        started = time.monotonic()
        self.state, metrics = self.update(self.state, task.data, next(self.items))
        step += 1
        window.add(metrics, started)
        due = step % task.evaluate_every == 0 or step == self.updates
        train_means = window.close() if due else None
        self.seconds += time.monotonic() - started
        if train_means is not None:
          self._validate(step, train_means, bar)
        if stop.is_set() or time.monotonic() - saved_at > self.settings.checkpoint_seconds:
          self.save()
          saved_at = time.monotonic()
        if stop.is_set():
          return False
      if self.best.rc_accuracy < 0:  # resumed from before the first validation, with no more to do
        self._validate(step, {}, bar)
    self.save()
    return True

  def _validate(self, step: int, train_means: dict[str, float], bar: tqdm.tqdm) -> None:
    params = self.params
    evaluation = self.evaluate("validation", self.task.validation, params)
    accuracy = evaluation.rc_accuracy
    line: dict[str, Any] = self._position(step)
    line |= {f"train_{k}": train_means[k] for k in Metrics._fields if k in train_means}
    line |= summary(evaluation) | self.task.measure("validation", evaluation, params)
    line |= {"spike_step_quantiles": np.quantile(evaluation.step + 1, QUANTILES)}
    line |= {k: train_means.get(k) for k in ("computed_fraction", "update_ms")}
    line |= {"seconds": self.seconds}
    self.workdir.append_metrics(line)
    for name, value in line.items():
      if np.ndim(value) == 0 and value is not None:
        self.tensorboard.add_scalar(name, value, step)
    share = float(np.max(np.bincount(self.task.validation.labels)) / len(evaluation.label))
    if self.settings.early_stop and accuracy < share < self.best.rc_accuracy:
      self.stopped_early = True
      bar.write(
        f"early stop (A.4): validation accuracy at the spike fell to {accuracy:.4f}, below the "
        f"share of the largest class, {share:.4f}"
      )
    if accuracy > self.best.rc_accuracy:
      self.best = Best(step, accuracy)
      self.best_params = _copy(params)

  def evaluate(self, split: str, examples: EvaluationSet, params: Params) -> Evaluation:
    """Reads a split at theta; the error of bad data or a diverged training names the split."""
    try:
      return evaluate(self.task.classifier, params, examples.batches(), self.settings.theta)
    except ValueError as error:
      raise ValueError(f"{split} split: {error}") from error

  def _position(self, step: int) -> dict[str, float]:
    per_epoch = self.task.updates_per_epoch
    epoch = {} if per_epoch is None else {"epoch": step / per_epoch}
    return {"step": step, **epoch, "examples": step * self.settings.batch_size}

  def finish(self) -> dict[str, Any]:
    """Reads the test split at the chosen checkpoint and writes the result, report and pictures."""
    task, last = self.task, self.settings.choose == "last"
    params = self.params if last else self.best_params
    evaluation = self.evaluate("test", task.test, params)
    classes = len(task.class_names)
    theta = FRONTIER_ODDS / (1 + FRONTIER_ODDS)
    curve = frontier(task.classifier, params, task.test.batches(), theta[theta > 1.05 / classes])
    steps = next(iter(task.test.batches())).inputs.shape[1]
    last_line = read_metrics(self.workdir.path)[-1]
    spiked, step = evaluation.spiked, evaluation.step
    histogram = [
      np.bincount(step[spiked & (evaluation.label == c)], minlength=steps) for c in range(classes)
    ]
    result = {
      "experiment": task.name,
      "split": "test",
      "num_test": len(evaluation.label),
      **summary(evaluation),
      **task.measure("test", evaluation, params),
      "best_validation_rc_accuracy": self.best.rc_accuracy,
      "chosen": self.settings.choose,
      "chosen_at": self._position(int(self.state.step) if last else self.best.step),
      "trained": self._position(int(self.state.step)),
      "stopped_early": self.stopped_early,
      "computed_fraction": last_line["computed_fraction"],
      "update_ms": last_line.get("update_ms"),
      "seconds": self.seconds,
      "num_steps": steps,
      "step_ms": task.step_ms,
      "class_names": task.class_names,
      "spike_steps": histogram,
      "silent_steps": np.bincount(step[~spiked], minlength=steps),
      "frontier": curve._asdict(),
      "accuracy_at_step": accuracy_at_step(task.classifier, params, task.test.batches()),
    }
    self._save_pictures(params)
    write_json(self.workdir.path / "result.json", result)
    self.tensorboard.close()
    self.checkpoints.close()
    report.write(self.workdir.path)
    return result

  def _save_pictures(self, params: Params) -> None:
    if self.task.pictures is None:
      return
    batch, arrays = self.task.pictures()
    classifier = self.task.classifier
    carry = classifier.initial_carry(params)
    run = lambda x: unroll(classifier.step, params, carry, x, encode=classifier.encode)
    np.savez_compressed(
      self.workdir.path / "examples.npz",
      inputs=np.asarray(batch.inputs),
      labels=np.asarray(batch.labels),
      lengths=np.asarray(batch.lengths),
      probabilities=np.asarray(jax.nn.softmax(jax.jit(jax.vmap(run))(batch.inputs))),
      theta=self.settings.theta,
      **arrays,  # type: ignore[arg-type]
    )


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


def training(
  task: Task, settings: Settings
) -> tuple[TrainState, Callable[[TrainState, Any, Any], tuple[TrainState, Metrics]]]:
  """The state before the first update, and `(state, task.data, item) -> (state, Metrics)`."""
  train = make_train(
    task.classifier,
    settings.optimizer(num_updates(task, settings)),
    objective=settings.objective,
    beta=settings.beta_schedule(task.updates_per_epoch),
    theta=settings.theta,
    augment=task.augment,
    engine=settings.engine,
  )
  example = next(iter(task.validation.batches())).inputs[0, 0]
  init_key = jax.random.fold_in(jax.random.key(settings.seed), 0)
  state = jax.jit(train.init)(init_key, example)
  return state, lambda state, data, item: train.update(state, task.fetch(data, item))


def in_dtype(task: Task, settings: Settings) -> Task:
  """The task with its classifier computed in `settings.dtype`."""
  return task._replace(classifier=with_dtype(task.classifier, settings.dtype))


def run(task: Task, settings: Settings) -> int:
  """Trains a task, or goes on with it, and leaves the files of design.md in its workdir.

  Args:
    task: what to train.
    settings: how, where and how long.

  Returns:
    Exit status: 0, or 130 if a signal ended the training (nothing is lost).

  Raises:
    ValueError: a workdir that cannot be used, bad data, or a training that diverged.
  """
  check_theta(settings.theta, len(task.class_names))
  num_updates(task, settings)
  settings.beta_schedule(task.updates_per_epoch)  # all that can be wrong is told before this line
  task = in_dtype(task, settings)
  workdir = Workdir(settings.workdir, task.name, settings.flags)
  loop = Loop(task, settings, workdir)
  if not loop.train():
    loop.checkpoints.close()
    print(f"stopped after update {int(loop.state.step)}; the same command goes on from there",
          file=sys.stderr)  # fmt: skip
    return 130
  loop.finish()
  print(report.table(workdir.path))
  return 0


def summary(evaluation: Evaluation) -> dict[str, float]:
  """The measures that every task reports."""
  names = ("rc_accuracy", "mean_spike_step", "eos_accuracy", "no_spike_fraction")
  return {name: getattr(evaluation, name) for name in names}


class _Window:
  """Training metrics since the last validation, fetched a step late, and the time they took."""

  def __init__(self, bar: tqdm.tqdm):
    self._bar = bar
    self._pending: collections.deque[Metrics] = collections.deque()
    self._seen: list[Metrics] = []
    self._seconds: list[float] = []

  def add(self, metrics: Metrics, started: float) -> None:
    self._pending.append(metrics)
    if len(self._pending) > 1:
      self._fetch()
    self._seconds.append(time.monotonic() - started)

  def close(self) -> dict[str, float]:
    while self._pending:
      self._fetch()
    means = {
      name: float(np.mean([getattr(m, name) for m in self._seen])) for name in Metrics._fields
    }
    means["update_ms"] = 1e3 * float(np.median(self._seconds))  # a mean would count compilation
    self._seen.clear()
    self._seconds.clear()
    return means

  def _fetch(self) -> None:
    metrics = jax.device_get(self._pending.popleft())
    self._seen.append(metrics)
    self._bar.set_postfix_str(
      f"loss {metrics.loss:.3f}, accuracy at spike {metrics.accuracy:.3f}, "
      f"mean spike step {metrics.mean_spike_step:.1f}, computed {metrics.computed_fraction:.0%}",
      refresh=False,
    )
    self._bar.update()


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

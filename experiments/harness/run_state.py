"""One run in memory: what changes while it trains, how it is validated, saved and taken up."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np

from experiments.harness import devices, processes
from experiments.harness.checkpoints import Snapshot
from experiments.harness.files import Files
from experiments.harness.optimizer import read_average
from experiments.harness.settings import Settings
from experiments.harness.task import EVALUATION_ROWS, Task
from experiments.harness.update_metrics import UpdateMetrics
from experiments.harness.updates import begin_from_run, count_updates, make_initial_state
from experiments.harness.workdir import to_plain
from rc_jax import Batch, Evaluation, TrainState, evaluate
from rc_jax.types import Params

COST = ("computed_fraction", "update_ms")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the spike steps, in metrics.jsonl


class Best(NamedTuple):
  """The best validation so far: its update count and accuracy at the spike."""

  step: int
  rc_accuracy: float


class Moment(NamedTuple):
  """What a run returns to if the updates from here on diverge."""

  state: TrainState
  step: int
  items: Any
  seconds: float
  measured: UpdateMetrics


class DivergedError(ValueError):
  """The training of a run has diverged; the text says how it showed.

  Args:
    run: which one.
    text: what was seen.
  """

  def __init__(self, run: "RunState", text: str):
    super().__init__(text)
    self.run = run


class RunState:
  """A run in memory, between setup and result; the loop changes it, checkpoints hold it.

  Args:
    task: what to train.
    settings: how.
    files: of the run; None in a process that does not write them.
  """

  def __init__(self, task: Task, settings: Settings, files: Files | None):
    self.task, self.settings, self.files = task, settings, files
    self.updates = count_updates(task, settings)
    self.state = make_initial_state(task, settings)
    self.step = 0
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=16)
    self.items: Any = iter(task.items.to_iter_dataset(options))
    self.best = Best(0, -1.0)
    self.seconds = 0.0
    self.stopped_early = False
    self.cost: dict[str, Any] | None = None  # what the last validation's line says of updates
    self.measured = UpdateMetrics()  # since the last validation
    self._restore()
    self.mesh = devices.make_mesh(settings.devices)  # a checkpoint may be of another number
    self.state = devices.replicate(self.state, self.mesh)
    self.best_params: Params = devices.replicate(self.best_params, self.mesh)

  @property
  def params(self) -> Params:
    """The parameters to validate and report: their average where the optimizer keeps one."""
    return read_average(self.state.opt_state, self.state.params)

  def _restore(self) -> None:
    """Goes on from the latest checkpoint, or begins."""
    with processes.sharing_failure():
      snapshot = None if self.files is None else self.files.restore(self.state)
    snapshot = _share(snapshot, self.state)
    if snapshot is None:
      self.state = begin_from_run(self.state, self.task, self.settings)
      self.best_params = copy_arrays(self.params)
      return
    self.state, self.best_params, meta = snapshot
    self.items.set_state(meta["items"])
    self.best = Best(**meta["best"])
    self.seconds = meta["seconds"]
    self.stopped_early = meta["stopped_early"]
    self.cost = meta.get("cost")
    self.measured = UpdateMetrics(**meta.get("since_validation", {}))
    self.step = int(self.state.step)

  def read_split(self, name: Literal["validation", "test"]) -> Iterator[Batch]:
    """Gives the batches of a split, each device its rows."""
    number = self.settings.devices
    rows = max(EVALUATION_ROWS // number, 1) * number
    return devices.share_rows(getattr(self.task, name).batches(rows), self.mesh)

  def next_item(self) -> Any:
    """Returns the next of the task's items, where the update wants it."""
    item = next(self.items)
    # A process has read its own rows of what the host reads; indices are the same in all.
    return devices.join_rows(item, self.mesh) if self.task.data is None else item

  @property
  def ended(self) -> bool:
    """Whether no update is left."""
    return self.stopped_early or self.step >= self.updates

  def remember(self) -> Moment:
    """Returns the present moment; the state is copied, since an update donates its buffers."""
    items, state = self.items.get_state(), copy_arrays(self.state)
    return Moment(state, self.step, items, self.seconds, self.measured.copy())

  def return_to(self, moment: Moment) -> None:
    """Goes back to a moment; the best so far stays."""
    self.state, self.step, items, self.seconds, self.measured = moment
    self.items.set_state(items)

  def describe_divergence(self, what: str) -> str:
    """Says that the training has diverged, what is saved, and how to go on."""
    flag, amount = self._length_so_far()
    if self.best.rc_accuracy < 0:
      saved = "no validation came before it"
    else:
      accuracy, step = self.best.rc_accuracy, self.best.step
      saved = (
        f"the state of update {self.step} and the best so far, validation accuracy {accuracy:.4f} "
        f"at update {step}, are saved: --{flag}={amount:.10g} ends the run there and reports it"
      )
    return (
      f"the training in {self.settings.workdir} cannot go on: {what}; {saved}; to train on, take a "
      "lower --learning_rate or a --clip, in another --workdir"
    )

  def _length_so_far(self) -> tuple[str, float]:
    """Returns the flag that would have ended the run at the last update, and its value."""
    per_epoch = self.task.updates_per_epoch
    if per_epoch is None:
      return "num_examples", self.step * self.settings.batch_size
    return "epochs", self.step / per_epoch

  def save(self) -> None:
    """Saves all that the run needs to go on."""
    if self.files is None:
      return
    meta = {
      "experiment": self.task.name,
      "items": self.items.get_state(),
      "best": self.best._asdict(),
      "seconds": self.seconds,
      "stopped_early": self.stopped_early,
      "cost": self.read_cost(),
      "since_validation": self.measured.to_json(),
      "class_names": list(self.task.class_names),
      "saved": self.task.statistics,
      "flags": self.settings.flags,
    }
    state, best = devices.take_local((self.state, self.best_params))
    self.files.save(Snapshot(state, best, meta))

  def read_cost(self) -> dict[str, Any]:
    """Returns what an update computed and took before the last validation; None if not known."""
    if self.cost is None:  # resumed from a checkpoint that does not have it
      line = {} if self.files is None else self.files.read_last_line()
      self.cost = {name: line.get(name) for name in COST}
    return self.cost

  def validate(self, tell: Callable[[str], None]) -> None:
    """Reads the validation split, writes a line of metrics, and keeps the best parameters.

    Args:
      tell: shows a line to the user, without breaking the progress bar.

    Raises:
      DivergedError: the training has diverged, or the split holds bad data.
    """
    params = self.params
    try:
      with naming_split("validation"):
        evaluation = evaluate(
          self.task.read_classifier, params, self.read_split("validation"), self.settings.theta
        )
    except ValueError as error:
      raise DivergedError(self, str(error)) from error
    self._record(evaluation, params)
    accuracy = evaluation.rc_accuracy
    share = float(np.max(np.bincount(self.task.validation.labels)) / len(evaluation.label))
    if self.settings.early_stop and accuracy < share < self.best.rc_accuracy:
      self.stopped_early = True
      tell(
        f"early stop (A.4): validation accuracy at the spike fell to {accuracy:.4f}, below the "
        f"share of the largest class, {share:.4f}"
      )
    if accuracy > self.best.rc_accuracy:
      self.best = Best(self.step, accuracy)
      self.best_params = copy_arrays(params)
    self.measured = UpdateMetrics()

  def _record(self, evaluation: Evaluation, params: Params) -> None:
    """Adds a validation, with what the updates before it measured, to the metrics of the run."""
    trained = self.measured.means()
    line: dict[str, Any] = {
      **self.describe_position(self.step),
      **{f"train_{name}": value for name, value in trained.items()},
      **summarize(evaluation),
      **self.task.measure(self.task, "validation", evaluation, params),
      "spike_step_quantiles": np.quantile(evaluation.step + 1, QUANTILES),
      "computed_fraction": trained.get("computed_fraction"),
      "update_ms": self.measured.median_ms(),
      "seconds": self.seconds,
    }
    self.cost = {name: line[name] for name in COST}
    if self.files is not None:
      self.files.append(line)

  def describe_position(self, step: int) -> dict[str, float]:
    """Says a number of updates also in examples and, of stored data, in epochs."""
    per_epoch = self.task.updates_per_epoch
    epoch = {} if per_epoch is None else {"epoch": step / per_epoch}
    return {"step": step, **epoch, "examples": step * self.settings.batch_size}


def _share(snapshot: Snapshot | None, like: TrainState) -> Snapshot | None:
  """Hands the snapshot that the writer has read to the other processes.

  Args:
    snapshot: of the writer, if there is one.
    like: a state of its shapes and types.
  """
  if jax.process_count() == 1:
    return snapshot
  meta = processes.exchange(None if snapshot is None else to_plain(snapshot.meta))[0]
  if meta is None:
    return None
  state, best = (like, like.params) if snapshot is None else snapshot[:2]
  data = jax.random.key_data(state.key)
  state, best = processes.share((state._replace(key=data), best))
  state = jax.tree.map(jnp.asarray, state)
  return Snapshot(state._replace(key=jax.random.wrap_key_data(state.key)), best, meta)


@contextlib.contextmanager
def naming_split(split: str) -> Iterator[None]:
  """Puts the split's name in front of an error that bad data or a diverged training raises.

  Raises:
    ValueError: as the code inside.
  """
  try:
    yield
  except ValueError as error:
    raise ValueError(f"{split} split: {error}") from error


def summarize(evaluation: Evaluation) -> dict[str, float]:
  """Returns the measures that every task reports, each a mean over a split's examples."""
  names = (
    *("rc_accuracy", "mean_spike_step", "eos_accuracy", "no_spike_fraction"),
    *("spiked_right_fraction", "spiked_wrong_fraction"),
  )
  return {name: getattr(evaluation, name) for name in names}


def copy_arrays(tree: Any) -> Any:
  """Copies what must outlive an update, which donates the buffers of its state."""
  return jax.tree.map(jnp.copy, tree)

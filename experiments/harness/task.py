"""What a binary hands to the training loop: a classifier and where its batches come from."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.batches import Split, Splits, filled_indices, shuffled_indices
from deploy.models import Model, build
from experiments.harness import devices
from experiments.harness.fingerprint import identify_splits
from rc_jax import Batch, Classifier, Evaluation
from rc_jax.types import Key, Params

EVALUATION_ROWS = 500  # one program for the whole of a split; larger gained nothing on CPU
PICTURED = 40  # sequences of a generated task that are kept to be drawn
# What the training draws beside `augment`, which may split the same key: `jax.random.split(key)`
# gives the streams 0 and 1.
EXCERPT_STREAM, WARP_STREAM = 2, 3


class EvaluationSet(NamedTuple):
  """A split that is read whole, in order, every example once.

  Attributes:
    batches: `(rows) -> Iterator[Batch]`, ready for the classifier; the last one may be short.
    labels: `[N]` int32, on the host.
  """

  batches: Callable[..., Iterator[Batch]]
  labels: np.ndarray


class InputAxes(NamedTuple):
  """What the example sequences of a task measure, for those who draw them.

  Attributes:
    image_shape: `(Y, X)` where a step's input is an image whose pixels spike in time.
    sample_rate: of the waveforms that `Task.pictures` gives, in Hz.
    clip_s: length of those waveforms, in seconds.
    first_heard_s: seconds of a waveform that are heard by the end of the first step; each step
      adds `Task.step_ms`.
  """

  image_shape: tuple[int, int] | None = None
  sample_rate: int | None = None
  clip_s: float | None = None
  first_heard_s: float | None = None


class Task(NamedTuple):
  """One experiment, as the training loop sees it.

  Attributes:
    name: of the experiment, e.g. "spotting".
    classifier: what is trained.
    model: the same in words, for those who build it again from the run's files.
    class_names: of the C classes.
    items: item k is what the host sends to update k.
    fetch: `(data, item) -> Batch`, inside the jitted step; gives records as stored where
      `make_steps` makes steps of them.
    data: arrays on the device that `fetch` reads.
    validation: the split that chooses the checkpoint.
    test: the split that is read once, at the end.
    evaluate_every: updates between validations.
    make_steps: `(key, records) -> steps`, in training, augmentation included; None where `fetch`
      gives what the classifier takes.
    updates_per_epoch: None for generated tasks, which have no epochs.
    step_ms: milliseconds a step, or None where steps have no physical duration.
    measure: `(task, split name, Evaluation, params) -> {name: number}`, the task's own measures; of
      the test split they may be any JSON values. `task` is this one as it runs, whose classifier
      may compute in another precision than the one that was set up.
    pictures: `() -> (Batch, arrays)`: a few test sequences to draw, and what else the task draws;
      None where there is nothing to see in time.
    axes: what those sequences measure.
    statistics: of the inputs, JSON values by name, which travel in the checkpoint.
    reading: how its data was read, JSON values, for commands that read the same data anew.
    notes: lines about the data that a user should see before the training.
    fingerprint: of the stored splits, by `identify_splits`; empty for generated tasks.
    vmap_members: whether a population takes its members through an update at once even where the
      engine is early exit: right where a sequence has one step, or a step is slow inside a loop.
    reader: the classifier with what a decision of its objective reads; None: as it is.
  """

  name: str
  classifier: Classifier
  model: Model
  class_names: tuple[str, ...]
  items: grain.MapDataset
  fetch: Callable[[Any, Any], Batch]
  data: Any
  validation: EvaluationSet
  test: EvaluationSet
  evaluate_every: int
  make_steps: Callable[[Key, Batch], Batch] | None = None
  updates_per_epoch: int | None = None
  step_ms: float | None = None
  measure: Callable[["Task", str, Evaluation, Params], dict[str, Any]] = lambda *read: {}
  pictures: Callable[[], tuple[Batch, dict[str, np.ndarray]]] | None = None
  axes: InputAxes = InputAxes()
  statistics: dict[str, Any] = {}  # noqa: RUF012  (never changed)
  reading: dict[str, Any] = {}  # noqa: RUF012
  notes: tuple[str, ...] = ()
  fingerprint: dict[str, Any] = {}  # noqa: RUF012
  vmap_members: bool = False
  reader: Classifier | None = None

  @property
  def read_classifier(self) -> Classifier:
    """What is validated and tested: the classifier, or the `reader` of its objective."""
    return self.classifier if self.reader is None else self.reader


def make_generated_task(
  name: str,
  model: Model,
  class_names: tuple[str, ...],
  sample: Callable[[Key, int], Batch],
  *,
  key: Key,
  batch_size: int,
  num_validation: int,
  num_test: int,
) -> Task:
  """Makes a task whose examples are drawn on the device, never twice.

  Args:
    name: of the experiment.
    model: what is trained.
    class_names: of the C classes.
    sample: `(key, B) -> Batch`, to be called inside jit.
    key: consumed; training, validation and test have keys of their own.
    batch_size: B of training.
    num_validation: examples drawn once to choose the checkpoint.
    num_test: fresh examples.
  """
  train_key, validation_key, test_key = jax.random.split(key, 3)
  test = _draw_set(sample, test_key, num_test)
  return Task(
    name,
    build(model),
    model,
    class_names,
    items=grain.MapDataset.range(2**31 - 1).map(np.int32),
    fetch=lambda data, item: sample(jax.random.fold_in(data, item), batch_size),
    data=train_key,
    validation=_draw_set(sample, validation_key, num_validation),
    test=test,
    evaluate_every=50,
    pictures=lambda: (jax.tree.map(lambda a: a[:PICTURED], next(test.batches())), {}),
  )


def make_stored_task(
  name: str,
  model: Model,
  class_names: tuple[str, ...],
  splits: Splits,
  prepare: Callable[[Batch], Batch],
  *,
  batch_size: int,
  seed: int,
  on_device: bool = True,
  augment: Callable[[Key, Batch], Batch] = lambda key, batch: batch,
  excerpt: Callable[[Key, Batch], Batch] | None = None,
  pictures: Callable[[np.ndarray], dict[str, np.ndarray]] = lambda index: {},
  fill_batches: bool = False,
) -> Task:
  """Makes a task whose records are stored.

  Args:
    name: of the experiment.
    model: what is trained.
    class_names: of the C classes.
    splits: of the data set.
    prepare: pure function from a batch of records to steps, for the jitted step.
    batch_size: B of training.
    seed: of the shuffling.
    on_device: True keeps records on the device and gathers them there by index; with False the
      host reads and sends each batch, a few ahead of the device.
    augment: `(key, records) -> records`, in training alone.
    excerpt: `(key, steps) -> steps`, in training alone: which of the steps are trained on; None
      for all.
    pictures: `test indices [n] -> arrays` to draw beside the sequences.
    fill_batches: True fills the last batch of an epoch from the next one, so that a small split
      loses no record and a batch may be larger than it; False drops what is left of an epoch.

  Raises:
    ValueError: the training split has fewer records than one batch, and batches are not filled.
  """
  data, item, fetch = _access_records(splits.train, on_device)
  number = len(splits.train)
  per_epoch = -(-number // batch_size) if fill_batches else number // batch_size
  draw = filled_indices if fill_batches else shuffled_indices
  index = draw(number, batch_size, seed)
  if not on_device:
    index = index.map(devices.take_own_rows)
  return Task(
    name,
    build(model),
    model,
    class_names,
    items=index.map(item),
    fetch=fetch,
    make_steps=_join_to_steps(prepare, augment, excerpt),
    data=data,
    validation=_read_set(splits.validation, prepare, on_device),
    test=_read_set(splits.test, prepare, on_device),
    evaluate_every=per_epoch,
    updates_per_epoch=per_epoch,
    pictures=lambda: _take_examples(splits.test, prepare, pictures),
    fingerprint=identify_splits(splits),
  )


def share_stored_data(tasks: Iterable[Task]) -> list[Task]:
  """Gives tasks that differ by the seed one copy of what they store, which no seed changes.

  Args:
    tasks: made one by one as they are asked for, so that two copies at most exist at a time.
  """
  shared: list[Task] = []
  for task in tasks:
    is_stored = task.updates_per_epoch is not None
    shared.append(task._replace(data=shared[0].data) if shared and is_stored else task)
  return shared


def _join_to_steps(
  prepare: Callable[[Batch], Batch],
  augment: Callable[[Key, Batch], Batch],
  excerpt: Callable[[Key, Batch], Batch] | None,
) -> Callable[[Key, Batch], Batch]:
  """`(key, records) -> steps` of training; its arguments are those of `make_stored_task`."""

  def make_steps(key: Key, records: Batch) -> Batch:
    steps = prepare(augment(key, records))
    if excerpt is None:
      return steps
    return excerpt(jax.random.fold_in(key, EXCERPT_STREAM), steps)

  return make_steps


def _take_examples(
  split: Split,
  prepare: Callable[[Batch], Batch],
  pictures: Callable[[np.ndarray], dict[str, np.ndarray]],
) -> tuple[Batch, dict[str, np.ndarray]]:
  """Takes the first sequence of each class, and what else the task draws of them."""
  labels = split.labels
  index = np.concatenate([np.flatnonzero(labels == label)[:1] for label in np.unique(labels)])
  return prepare(jax.tree.map(jnp.asarray, split[index])), pictures(index)


def _access_records(split: Split, on_device: bool) -> tuple[Any, Callable, Callable]:
  """Returns device arrays, `index [n] -> item` of the host, and `(arrays, item) -> records`."""
  if not on_device:
    return None, split.__getitem__, lambda data, item: item
  data = Batch(*(jnp.asarray(a) for a in (split.inputs, split.labels, split.lengths)))
  gather = lambda data, index: jax.tree.map(lambda a: a[index], data)
  return data, lambda index: index.astype(np.int32), gather


def _draw_set(sample: Callable[[Key, int], Batch], key: Key, number: int) -> EvaluationSet:
  """Draws a split at once and hands it out in pieces; consumes the key."""
  batch = jax.jit(sample, static_argnums=1)(key, number)

  def batches(rows: int = EVALUATION_ROWS) -> Iterator[Batch]:
    for start in range(0, number, rows):
      yield jax.tree.map(lambda a, start=start: a[start : start + rows], batch)

  return EvaluationSet(batches, np.asarray(batch.labels))


def _read_set(split: Split, prepare: Callable[[Batch], Batch], on_device: bool) -> EvaluationSet:
  """Hands out a stored split in pieces, prepared on the device."""
  data, item, records = _access_records(split, on_device)
  fetch = jax.jit(lambda data, item: prepare(records(data, item)))

  def batches(rows: int = EVALUATION_ROWS) -> Iterator[Batch]:
    for start in range(0, len(split), rows):
      yield fetch(data, item(np.arange(start, min(start + rows, len(split)))))

  return EvaluationSet(batches, split.labels)

"""What a binary hands to the training loop: a classifier and where its batches come from."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.batches import Split, Splits, shuffled_indices
from rc_jax import Batch, Classifier, Evaluation
from rc_jax.types import Key, Params

EVALUATION_ROWS = 500  # one program for the whole of a split; larger gained nothing on CPU
PICTURED = 40  # sequences of a generated task that are kept to be drawn


class EvaluationSet(NamedTuple):
  """A split that is read whole, in order, every example once.

  Attributes:
    batches: `() -> Iterator[Batch]`, ready for the classifier.
    labels: `[N]` int32, on the host.
  """

  batches: Callable[[], Iterator[Batch]]
  labels: np.ndarray


class Task(NamedTuple):
  """One experiment.

  Attributes:
    name: of the experiment, e.g. "spotting".
    classifier: what is trained.
    class_names: of the C classes.
    items: item k is what the host sends to update k.
    fetch: `(data, item) -> Batch`, inside the jitted step; of records as stored, if `augment` is
      there to make them ready.
    data: arrays on the device that `fetch` reads.
    validation: chooses the checkpoint.
    test: read once, at the end.
    augment: of `make_train`; None where `fetch` gives what the classifier takes.
    evaluate_every: updates between validations.
    updates_per_epoch: None for generated tasks, which have no epochs.
    step_ms: milliseconds a step, or None where steps have no physical duration.
    measure: `(split name, Evaluation, params) -> {name: number}`, the task's own measures.
    pictures: `() -> (Batch, arrays)`: a few test sequences to draw, and what else the task draws.
    saved: JSON values that travel in the checkpoint, such as statistics of the inputs.
  """

  name: str
  classifier: Classifier
  class_names: tuple[str, ...]
  items: grain.MapDataset
  fetch: Callable[[Any, Any], Batch]
  data: Any
  validation: EvaluationSet
  test: EvaluationSet
  evaluate_every: int
  augment: Callable[[Key, Batch], Batch] | None = None
  updates_per_epoch: int | None = None
  step_ms: float | None = None
  measure: Callable[[str, Evaluation, Params], dict[str, float]] = lambda *read: {}
  pictures: Callable[[], tuple[Batch, dict[str, np.ndarray]]] | None = None
  saved: dict[str, Any] = {}  # noqa: RUF012  (never changed)


def generated(
  sample: Callable[[Key, int], Batch],
  *,
  key: Key,
  batch_size: int,
  num_validation: int,
  num_test: int,
) -> dict[str, Any]:
  """The parts of a `Task` whose examples are drawn on the device, never twice.

  Args:
    sample: `(key, B) -> Batch`.
    key: consumed; training, validation and test have keys of their own.
    batch_size: B of training.
    num_validation: examples drawn once to choose the checkpoint.
    num_test: fresh examples.

  Returns:
    Fields of `Task`.
  """
  train_key, validation_key, test_key = jax.random.split(key, 3)
  test = _drawn(sample, test_key, num_test)
  return dict(
    items=grain.MapDataset.range(2**31 - 1).map(np.int32),
    fetch=lambda data, item: sample(jax.random.fold_in(data, item), batch_size),
    data=train_key,
    validation=_drawn(sample, validation_key, num_validation),
    test=test,
    evaluate_every=50,
    pictures=lambda: (jax.tree.map(lambda a: a[:PICTURED], next(test.batches())), {}),
  )


def stored(
  splits: Splits,
  prepare: Callable[[Batch], Batch],
  *,
  batch_size: int,
  seed: int,
  on_device: bool = True,
  augment: Callable[[Key, Batch], Batch] = lambda key, batch: batch,
  excerpt: Callable[[Key, Batch], Batch] | None = None,
  pictures: Callable[[np.ndarray], dict[str, np.ndarray]] = lambda index: {},
) -> dict[str, Any]:
  """The parts of a `Task` whose records are stored.

  Args:
    splits: of the data set.
    prepare: pure function from a batch of records to steps, for the jitted step.
    batch_size: B of training.
    seed: of the shuffling.
    on_device: records live on the device and are gathered there by index; False: the host reads
      and sends each batch, a few ahead of the device.
    augment: `(key, records) -> records`, in training alone.
    excerpt: `(key, steps) -> steps`, in training alone: which of the steps are trained on; None
      for all.
    pictures: `test indices [n] -> arrays` to draw beside the sequences.

  Returns:
    Fields of `Task`.
  """
  data, item, fetch = _records(splits.train, on_device)

  def drawn() -> tuple[Batch, dict[str, np.ndarray]]:
    labels = splits.test.labels
    index = np.concatenate([np.flatnonzero(labels == label)[:1] for label in np.unique(labels)])
    return prepare(jax.tree.map(jnp.asarray, splits.test[index])), pictures(index)

  def trained(key: Key, batch: Batch) -> Batch:
    steps = prepare(augment(key, batch))
    # Not 0 or 1: those are the halves into which `augment` may split its key.
    return steps if excerpt is None else excerpt(jax.random.fold_in(key, 2), steps)

  return dict(
    items=shuffled_indices(len(splits.train), batch_size, seed).map(item),
    fetch=fetch,
    augment=trained,
    data=data,
    validation=_read(splits.validation, prepare, on_device),
    test=_read(splits.test, prepare, on_device),
    evaluate_every=len(splits.train) // batch_size,
    updates_per_epoch=len(splits.train) // batch_size,
    pictures=drawn,
  )


def _records(split: Split, on_device: bool) -> tuple:
  """What lives on the device, what the host sends of an index `[B]`, and how both give records."""
  if not on_device:
    return None, split.__getitem__, lambda data, item: item
  data = Batch(*(jnp.asarray(a) for a in (split.inputs, split.labels, split.lengths)))
  gather = lambda data, index: jax.tree.map(lambda a: a[index], data)
  return data, lambda index: index.astype(np.int32), gather


def _drawn(sample: Callable[[Key, int], Batch], key: Key, number: int) -> EvaluationSet:
  batch = jax.jit(sample, static_argnums=1)(key, number)

  def batches() -> Iterator[Batch]:
    for start in range(0, number, EVALUATION_ROWS):
      yield jax.tree.map(lambda a, start=start: a[start : start + EVALUATION_ROWS], batch)

  return EvaluationSet(batches, np.asarray(batch.labels))


def _read(split: Split, prepare: Callable[[Batch], Batch], on_device: bool) -> EvaluationSet:
  data, item, records = _records(split, on_device)
  fetch = jax.jit(lambda data, item: prepare(records(data, item)))

  def batches() -> Iterator[Batch]:
    for start in range(0, len(split), EVALUATION_ROWS):
      yield fetch(data, item(np.arange(start, min(start + EVALUATION_ROWS, len(split)))))

  return EvaluationSet(batches, split.labels)

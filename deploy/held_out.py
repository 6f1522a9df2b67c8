"""Reads the held-out examples of a run at each of several thresholds."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from data_pipelines import series, speech
from data_pipelines.batches import Split
from data_pipelines.speech import heard_ms
from deploy.commands import load_data
from deploy.run_files import Run
from rc_jax import Batch, Evaluation, evaluate, record
from rc_jax.record import Recorded

ROWS = 500  # to one batch


class Readings(NamedTuple):
  """What K thresholds give on N examples.

  Attributes:
    lost: `[K, N]` bool, right at the end but wrong at the spike.
    accuracy: `[K]` at the spike.
    eos_accuracy: at the end.
    seen: `[K]`, mean until the decision: of clips the milliseconds heard, of series the share.
  """

  lost: np.ndarray
  accuracy: np.ndarray
  eos_accuracy: float
  seen: np.ndarray


def read_clips(run: Run, data: dict[str, Any], split: str, thetas: np.ndarray) -> Readings:
  """Reads the clips of a split.

  Args:
    run: of speech.
    data: of `load_data`.
    split: of the data.
    thetas: `[K]`.

  Raises:
    ValueError: data that cannot be read, or that has other classes.
  """
  read = _read_each(record_clips(run, data, split), thetas)
  return _compare(read, np.array([np.mean(heard_ms(one.step)) for one in read]))


def record_clips(run: Run, data: dict[str, Any], split: str) -> Recorded:
  """Records a run's logits at every step of the clips of a split, as `record` gives them.

  Args:
    run: of speech.
    data: of `load_data`.
    split: of the data.

  Raises:
    ValueError: data that cannot be read, or that has other classes.
  """
  clips = getattr(load_data(run, data).splits, split)
  statistics = speech.Statistics(run.statistics["mean"], run.statistics["std"])
  batches = (speech.prepare(statistics, batch) for batch in _take_batches(clips))
  return record(run.classifier, run.params, batches)


def read_series(run: Run, paths: series.Paths, split: str, thetas: np.ndarray) -> Readings:
  """Reads the series of a split.

  Args:
    run: of series.
    paths: of the files that the run was trained on, or of its training file and a new test file.
    split: of these files, made as for the training.
    thetas: `[K]`.

  Raises:
    ValueError: files that cannot be read, that the run was not trained on, or of which nothing was
      held out.
  """
  read_as = run.reading
  if "validation_share" not in read_as:
    raise ValueError(
      "the run does not say which series it held out: an older version trained it; train again"
    )
  share, samples = read_as["validation_share"], read_as["samples_per_step"]
  if split == "validation" and share == 0:
    raise ValueError(
      "the run held no series out (--validation_share=0); give --split=test, with new series as "
      "--test, or train with some held out"
    )
  data = series.load(paths, missing=read_as["missing"], validation_share=share)
  _check_trained_on(run, data, paths)
  of_split = getattr(data.splits, split)
  batches = (series.join_samples(batch, samples) for batch in _take_batches(of_split))
  read = _read_each(record(run.classifier, run.params, batches), thetas)
  lengths = of_split.lengths
  seen = [series.count_samples(one.step, samples, lengths) / lengths for one in read]
  return _compare(read, np.mean(seen, axis=1))


def _check_trained_on(run: Run, data: series.Series, paths: series.Paths) -> None:
  """Raises ValueError where the training file is another than the run's."""
  same = data.class_names == run.class_names and list(data.channels) == run.reading["channels"]
  found = data.statistics._asdict()
  if not (same and all(np.array_equal(run.statistics[name], found[name]) for name in found)):
    raise ValueError(
      f"the run was not trained on {paths.train}; give the files of its training, or "
      "--train=ITS_TRAINING_FILE --test=NEW_FILE --split=test for other series"
    )


def _take_batches(split: Split) -> Iterator[Batch]:
  """The examples of a split, ROWS to a batch."""
  for start in range(0, len(split), ROWS):
    yield Batch(*(jnp.asarray(a) for a in split[start : start + ROWS]))


def _read_each(recorded: Recorded, thetas: np.ndarray) -> list[Evaluation]:
  """Reads recorded logits at each threshold."""
  classifier, logits = recorded
  return [evaluate(classifier, (), logits, float(theta)) for theta in thetas]


def _compare(read: list[Evaluation], seen: np.ndarray) -> Readings:
  """Compares the decisions at each threshold with those at the end."""
  right = np.array([one.predicted == one.label for one in read])
  at_end = np.asarray(read[0].eos_label) == read[0].label
  return Readings(at_end & ~right, right.mean(axis=1), float(at_end.mean()), seen)

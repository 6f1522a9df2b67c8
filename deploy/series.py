"""Decides about time series in files, as a run of experiments.series reads them in training."""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines import series
from deploy.rule import Rule
from deploy.run_files import Run
from rc_jax import Batch, record

ROW_STEPS = 200_000  # of one batch, padding included: some hundred MB for some dozen units


class SeriesDecision(NamedTuple):
  """What a run says of a series.

  Attributes:
    name: of the series, as its file has it.
    label: name of the class.
    sure: whether the network was sure; else `label` is the most probable one at the end.
    probability: of the label, at that step.
    samples: seen until then.
    length: samples of the series.
    true: the class that its file names; None where that is none of the run's, or no label.
  """

  name: str
  label: str
  sure: bool
  probability: float
  samples: int
  length: int
  true: str | None


def check_series_run(run: Run, workdir: str) -> Run:
  """Returns a run; raises ValueError where it is not of series, or does not say how it reads them.

  Args:
    run: any.
    workdir: its folder, for messages.
  """
  if run.experiment != "series":
    raise ValueError(f"{workdir} is a run of {run.experiment}; give one of experiments.series")
  if not {"channels", "missing", "samples_per_step"} <= set(run.reading):
    raise ValueError(
      f"{workdir} does not say which channels it reads: an older version trained it; train again"
    )
  if not _is_whole(run):
    raise ValueError(f"{workdir}: how it reads series is damaged in model.json; train again")
  return run


def _is_whole(run: Run) -> bool:
  """Whether channels, samples a step, statistics and the network's input fit together."""
  channels, samples = run.reading["channels"], run.reading["samples_per_step"]
  if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
    return False
  if run.reading["missing"] not in series.MISSING:
    return False
  if type(samples) is not int or run.input_shape != (samples * len(channels),):
    return False
  mean, std = (run.statistics.get(name, np.empty(0)) for name in ("mean", "std"))
  if {mean.shape, std.shape} != {(len(channels),)}:
    return False
  return bool(np.isfinite([mean, std]).all() and (std > 0).all())


def decide_file(run: Run, path: pathlib.Path) -> tuple[list[SeriesDecision], list[str]]:
  """Decides about each series of a file, which needs no labels.

  Args:
    run: of experiments.series.
    path: of a file in one of its formats, with the channels of the run.

  Returns:
    A decision a series, in the order of the file, and notes for the user.

  Raises:
    ValueError: the file cannot be read, has other channels, a value that is too large, or, where
      the run was trained with another `--missing` than hold, one that is missing and may not be.
  """
  file = series.read_new(path, run.reading["channels"])
  statistics = series.Statistics(run.statistics["mean"], run.statistics["std"])
  how, samples = run.reading["missing"], run.reading["samples_per_step"]
  filled = series.fill_missing(file, how, statistics.mean, may_be_empty=True)
  true = [series.find_class(label, run.class_names) for label in file.labels]
  notes = [*file.notes, *_note_unknown(file, true, run.class_names)]
  if filled.number:
    notes.append(series.describe_filled(file, filled, how))
  file = file._replace(values=filled.values)
  decisions: dict[int, SeriesDecision] = {}
  for index in _list_batches([len(rows) for rows in file.values], ROW_STEPS):
    probabilities, steps, lengths = _read_network(run, _take(file, index), statistics, samples)
    for i, p, end, length in zip(index, probabilities, steps, lengths, strict=True):
      step, sure = find_decision(p[:end], run.rule)
      label = int(p[step].argmax())
      said = (run.class_names[label], sure, float(p[step, label]))
      seen = int(series.count_samples(step, samples, length))
      decisions[i] = SeriesDecision(file.names[i], *said, seen, int(length), true[i])
  return [decisions[i] for i in range(len(file.values))], notes


def _note_unknown(
  file: series.SeriesFile, true: Sequence[str | None], class_names: Sequence[str]
) -> list[str]:
  """Notes labels that are none of the run's classes."""
  named = zip(file.labels, true, strict=True)
  unknown = sorted({label for label, known in named if label and known is None})
  if not unknown:
    return []
  some = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
  return [
    f"{file.path.name}: labels that the run does not know, and that do not count: {some} (it has "
    f"{', '.join(class_names)})"
  ]


def _list_batches(lengths: Sequence[int], most: int) -> list[list[int]]:
  """Lists which series go together, the short ones first: at most so many row-steps a batch.

  Args:
    lengths: of the series.
    most: row-steps of a batch, padding included; one series that is longer goes alone.
  """
  batches: list[list[int]] = [[]]
  for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
    if batches[-1] and (len(batches[-1]) + 1) * lengths[i] > most:
      batches.append([])
    batches[-1].append(i)
  return batches


def _take(file: series.SeriesFile, index: Sequence[int]) -> series.SeriesFile:
  """Those of a file's series."""
  values, places = tuple(file.values[i] for i in index), tuple(file.places[i] for i in index)
  return file._replace(values=values, places=places)


def _read_network(
  run: Run, file: series.SeriesFile, statistics: series.Statistics, samples: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Probabilities `[N, T, C]` of each step of series, and their lengths in steps and in samples."""
  longest = max(len(rows) for rows in file.values)
  inputs, lengths = series.standardise(file, statistics, longest)
  labels = np.zeros(len(lengths), np.int32)
  batch = Batch(*(jnp.asarray(a) for a in (inputs, labels, lengths)))
  _, (recorded,) = record(run.classifier, run.params, series.join_samples(batch, samples))
  return np.asarray(jax.nn.softmax(recorded.inputs)), np.asarray(recorded.lengths), lengths


def find_decision(probabilities: np.ndarray, rule: Rule) -> tuple[int, bool]:
  """Finds the first step at which one class has reached theta at `patience` steps on end.

  Args:
    probabilities: `[T, C]`, T >= 1.
    rule: when it is sure.

  Returns:
    The zero-based step and True, or T - 1 and False.
  """
  last, sure_steps = -1, 0
  for step, p in enumerate(probabilities):
    label = int(p.argmax())
    sure_steps = 0 if label != last else sure_steps
    sure_steps = sure_steps + 1 if p[label] >= np.float32(rule.theta) else 0
    last = label
    if sure_steps >= rule.patience:
      return step, True
  return len(probabilities) - 1, False

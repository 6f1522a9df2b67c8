"""Decides about time series in files, as a run of experiments.series reads them in training."""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines import series
from deploy.rule import Rule
from deploy.run_files import Run
from rc_jax import Batch, record

ROWS = 500  # to one batch


class SeriesDecision(NamedTuple):
  """What a run says of a series.

  Attributes:
    name: of the series, as its file has it.
    label: number of the class.
    sure: whether the network was sure; else `label` is the most probable one at the end.
    probability: of the label, at that step.
    samples: seen until then.
    length: samples of the series.
    true: its label in the file, "" where it has none.
  """

  name: str
  label: int
  sure: bool
  probability: float
  samples: int
  length: int
  true: str


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
  if not isinstance(samples, int) or run.input_shape != (samples * len(channels),):
    return False
  mean, std = (run.statistics.get(name, np.empty(0)) for name in ("mean", "std"))
  if {mean.shape, std.shape} != {(len(channels),)}:
    return False
  return bool(np.isfinite([mean, std]).all() and (std > 0).all())


def decide_file(run: Run, path: pathlib.Path) -> list[SeriesDecision]:
  """Decides about each series of a file, which needs no labels.

  Args:
    run: of experiments.series.
    path: of a file in one of its formats, with the channels of the run.

  Raises:
    ValueError: the file cannot be read, has other channels, or a value that is missing where the
      run was trained with `--missing=error`.
  """
  file = series.read_new(path, run.reading["channels"])
  statistics = series.Statistics(run.statistics["mean"], run.statistics["std"])
  filled = series.fill_missing(file, run.reading["missing"], statistics.mean)
  lengths = np.array([len(rows) for rows in filled.values], np.int32)
  inputs, _ = series.standardise(file._replace(values=filled.values), statistics, lengths.max())
  samples = run.reading["samples_per_step"]
  decisions = []
  for start in range(0, len(lengths), ROWS):
    own = lengths[start : start + ROWS]
    labels = np.zeros(len(own), np.int32)
    rows = Batch(*(jnp.asarray(a) for a in (inputs[start : start + ROWS], labels, own)))
    _, (recorded,) = record(run.classifier, run.params, series.join_samples(rows, samples))
    of_rows = zip(np.asarray(jax.nn.softmax(recorded.inputs)), recorded.lengths, strict=True)
    for i, (probabilities, steps) in enumerate(of_rows, start):
      step, sure = find_decision(probabilities[:steps], run.rule)
      label = int(probabilities[step].argmax())
      seen = min((step + 1) * samples, int(lengths[i]))
      said = (label, sure, float(probabilities[step, label]), seen, int(lengths[i]))
      decisions.append(SeriesDecision(file.names[i], *said, file.labels[i]))
  return decisions


def find_decision(probabilities: np.ndarray, rule: Rule) -> tuple[int, bool]:
  """Finds the first step at which one class has reached theta at `patience` steps on end.

  Args:
    probabilities: `[T, C]`, T >= 1.
    rule: when it is sure.

  Returns:
    The zero-based step and True, or T - 1 and False.
  """
  last, waited = -1, 0
  for step, p in enumerate(probabilities):
    label = int(p.argmax())
    waited = 0 if label != last else waited
    waited = waited + 1 if p[label] >= np.float32(rule.theta) else 0
    last = label
    if waited >= rule.patience:
      return step, True
  return len(probabilities) - 1, False

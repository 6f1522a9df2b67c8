"""Loads two files of series as splits: classes, held-out series, missing values, statistics."""

import hashlib
from typing import NamedTuple

import numpy as np

from data_pipelines.batches import Split, Splits
from data_pipelines.series.contents import SeriesFile, find_class
from data_pipelines.series.holdout import hold_out
from data_pipelines.series.locate import Paths, read_files
from data_pipelines.series.missing import describe_filled, fill_missing

# In standard deviations. Products of larger values overflow, and a NaN would stay in the state.
LARGEST = 1e15


class Statistics(NamedTuple):
  """Of the series that train, over all values that are there.

  Attributes:
    mean: `[F]` float64, of each channel.
    std: `[F]` float64, of each channel; 1 for one that is constant.
  """

  mean: np.ndarray
  std: np.ndarray


class Series(NamedTuple):
  """A data set of labelled series.

  Attributes:
    splits: the records. Their `inputs` are standardised values `[N, T, F]` float32, zero at and
      after each length.
    class_names: of the training file, numbers in their order, else by the alphabet.
    channels: names of the F channels.
    statistics: what the values were standardised with.
    notes: what a user should see before the training.
  """

  splits: Splits
  class_names: tuple[str, ...]
  channels: tuple[str, ...]
  statistics: Statistics
  notes: tuple[str, ...]


def load(paths: Paths, *, missing: str = "hold", validation_share: float = 0.2) -> Series:
  """Reads and checks both files and makes splits of them.

  Args:
    paths: of the training and of the test split.
    missing: what becomes of missing values, as of `fill_missing`.
    validation_share: of each class of the training file that is held out, in 0..0.5. With 0 all
      series train and the validation split repeats them; nothing may then be chosen by its results.

  Raises:
    ValueError: a file that cannot be read, files that do not fit together, a class of the test file
      alone, too few series, or series of one step. The message is one sentence that says what to
      do.
  """
  if not 0 <= validation_share <= 0.5:
    raise ValueError(f"--validation_share is {validation_share}; it has to lie in 0..0.5")
  train, test = read_files(paths)
  _check_pair(train, test)
  class_names = _name_classes(train, test)
  labels = [_number_labels(file, class_names) for file in (train, test)]
  every = np.arange(len(labels[0]))
  of_train, held = hold_out(labels[0], validation_share) if validation_share else (every, every)
  if not held.size:
    raise ValueError(
      f"{train.path} has one series of each class, so that none can be held out to choose a "
      "checkpoint; add series, or give --validation_share=0"
    )
  statistics = _compute_statistics([train.values[i] for i in of_train])
  _check_finite(train, statistics)
  filled = [fill_missing(file, missing, statistics.mean) for file in (train, test)]
  steps = max(len(rows) for file in (train, test) for rows in file.values)
  pairs = zip((train, test), filled, strict=True)
  padded = [standardise(file._replace(values=one.values), statistics, steps) for file, one in pairs]

  def make_split(of_file: int, index: np.ndarray, name: str) -> Split:
    inputs, lengths = (a[index] for a in padded[of_file])
    classes = len(class_names)
    return Split(
      inputs, labels[of_file][index], lengths, num_classes=classes, num_steps=steps, name=name
    )

  splits = Splits(
    make_split(0, of_train, "training"),
    make_split(0, held, "validation"),
    make_split(1, np.arange(len(labels[1])), "test"),
  )
  notes = _count_series(splits, class_names, validation_share)
  notes.append(_describe_steps(train, test))
  for file, one in zip((train, test), filled, strict=True):
    if one.number:
      notes.append(describe_filled(file, one, missing))
  notes += [*train.notes, *test.notes, *_note_repeated(train, test)]
  return Series(splits, class_names, train.channels, statistics, tuple(notes))


def _check_pair(train: SeriesFile, test: SeriesFile) -> None:
  """Raises ValueError if the series of two files have other channels, or all have one step."""
  if len(train.channels) != len(test.channels):
    raise ValueError(
      f"{train.path} has {len(train.channels)} channels, {test.path} {len(test.channels)}; give "
      "both the same ones"
    )
  if train.channels != test.channels:
    raise ValueError(
      f"{train.path} has the channels {', '.join(train.channels)}, {test.path} "
      f"{', '.join(test.channels)}; give both the same ones in the same order"
    )
  if all(len(rows) == 1 for file in (train, test) for rows in file.values):
    raise ValueError(
      f"{train.path}: every series has one step, so that there is no time to decide in; give a "
      "line a step (.csv, with the id of its series in the first column), or series along a row"
    )


def _name_classes(train: SeriesFile, test: SeriesFile) -> tuple[str, ...]:
  """Names the classes of the training file; raises ValueError where the test file has others."""
  names = _sort_classes(set(train.labels))
  if len(names) < 2:
    raise ValueError(
      f"{train.path} has only the class {train.labels[0]!r}; a classifier needs two classes"
    )
  for number, name in enumerate(names):
    if (same := find_class(name, names[:number])) is not None:
      raise ValueError(
        f"{train.path} has the classes {same!r} and {name!r}, which are one number; write it alike"
      )
  for label, place in zip(test.labels, test.places, strict=True):
    if find_class(label, names) is None:
      raise ValueError(
        f"{test.path}, {place}: no training series has the class {label!r}; the classes there are "
        f"{', '.join(names)}"
      )
  return names


def _number_labels(file: SeriesFile, class_names: tuple[str, ...]) -> np.ndarray:
  """Numbers of the classes of a file's series, `[N]`; each is one of the names."""
  numbers = {name: number for number, name in enumerate(class_names)}
  return np.array([numbers[find_class(label, class_names) or ""] for label in file.labels])


def _sort_classes(names: set[str]) -> tuple[str, ...]:
  try:
    return tuple(sorted(names, key=lambda name: (float(name), name)))
  except ValueError:
    return tuple(sorted(names))


def _compute_statistics(series: list[np.ndarray]) -> Statistics:
  """Computes the statistics of series `[T, F]`; missing values do not count."""
  values = np.concatenate(series)
  there = ~np.isnan(values)
  count = np.maximum(there.sum(axis=0), 1)
  with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
    mean = np.where(there, values, 0.0).sum(axis=0) / count
    distance = np.where(there, values - mean, 0.0)
    largest = np.abs(distance).max(axis=0)
    unit = np.where(largest == 0, 1.0, largest)  # squares of 1e200 overflow, of 1e-200 vanish
    std = unit * np.sqrt(np.sum((distance / unit) ** 2, axis=0) / count)
  lowest = np.where(there, values, np.inf).min(axis=0)
  highest = np.where(there, values, -np.inf).max(axis=0)
  # The mean of equal values is rounded: left so, they would be tiny numbers and not zeros.
  constant = lowest == highest
  return Statistics(np.where(constant, lowest, mean), np.where(constant | (std == 0), 1.0, std))


def _check_finite(train: SeriesFile, statistics: Statistics) -> None:
  """Raises ValueError if the values of a channel are too large for its statistics."""
  for channel, std in zip(train.channels, statistics.std, strict=True):
    if not np.isfinite(std):
      raise ValueError(
        f"{train.path}: {channel} has values too large to be added up; correct them, or mark them "
        "as missing"
      )


def standardise(
  file: SeriesFile, statistics: Statistics, steps: int
) -> tuple[np.ndarray, np.ndarray]:
  """Standardises series in float64 and pads them with zeros.

  Standardising after the rounding to float32 would lose what varies little about a large mean.

  Args:
    file: of series without missing values.
    statistics: of the series that trained.
    steps: to which they are padded, at least the longest.

  Returns:
    `[N, steps, F]` float32, and lengths `[N]` int32.

  Raises:
    ValueError: a value further from the mean than LARGEST.
  """
  lengths = np.array([len(rows) for rows in file.values], np.int32)
  inputs = np.zeros((len(lengths), steps, len(statistics.mean)), np.float32)
  for i, (row, values) in enumerate(zip(inputs, file.values, strict=True)):
    with np.errstate(over="ignore"):
      row[: len(values)] = (values - statistics.mean) / statistics.std
    wrong = np.argwhere(~(np.abs(row) <= LARGEST))
    if wrong.size:
      step, channel = wrong[0]
      raise ValueError(
        f"{file.path}, {file.places[i]}: step {step + 1} of {file.channels[channel]} is "
        f"{values[step, channel]:g}, too far from the training series' mean, "
        f"{statistics.mean[channel]:g}; correct it, or mark it as missing"
      )
  return inputs, lengths


def _count_series(splits: Splits, class_names: tuple[str, ...], share: float) -> list[str]:
  """Says how many series of each class the splits have, and which classes could not be held out."""
  lines, counted = [], {}
  for name, split in splits._asdict().items():
    counted[name] = np.bincount(split.labels, minlength=len(class_names))
    each = ", ".join(f"{n}: {c}" for n, c in zip(class_names, counted[name], strict=True))
    lines.append(f"{name}: {len(split)} series ({each})")
  if not share:
    lines.append("validation repeats the training series (--validation_share=0)")
  alone = [n for n, c in zip(class_names, counted["validation"], strict=True) if c == 0]
  if alone:
    lines.append(f"with one training series, which trains and is not held out: {', '.join(alone)}")
  return lines


def _describe_steps(train: SeriesFile, test: SeriesFile) -> str:
  lengths = [len(rows) for file in (train, test) for rows in file.values]
  span = f"{lengths[0]}" if min(lengths) == max(lengths) else f"{min(lengths)} to {max(lengths)}"
  s = "s" if len(train.channels) > 1 else ""
  names = f" ({', '.join(train.channels)})" if train.path.suffix == ".csv" else ""
  return f"each series has {span} samples of {len(train.channels)} channel{s}{names}"


def _note_repeated(train: SeriesFile, test: SeriesFile) -> list[str]:
  """Notes test series that are training series: a result on them says little."""
  identify = lambda rows: hashlib.sha256(rows.tobytes()).digest()
  known = {identify(rows) for rows in train.values}
  repeated = [
    p for p, rows in zip(test.places, test.values, strict=True) if identify(rows) in known
  ]
  if not repeated:
    return []
  return [f"test series that are training series, too: {len(repeated)} (the first: {repeated[0]})"]

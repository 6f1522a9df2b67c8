"""Missing values of a series: filled from the values around them, or refused."""

from typing import NamedTuple

import numpy as np

from data_pipelines.series.contents import SeriesFile

MISSING = ("hold", "interpolate", "error")


class Filled(NamedTuple):
  """Series without missing values.

  Attributes:
    values: N arrays `[T, F]` float64.
    number: how many values were filled.
    series: in how many series.
  """

  values: tuple[np.ndarray, ...]
  number: int
  series: int


def fill_missing(
  file: SeriesFile, how: str, leading: np.ndarray, *, may_be_empty: bool = False
) -> Filled:
  """Fills the missing values of a file's series.

  Args:
    file: the series.
    how: "hold" repeats the value before, as one who decides while the series arrives would have to;
      "interpolate" draws a line to the next one, which lies in the future; "error" refuses.
    leading: `[F]`, what stands for a channel before its first value with "hold".
    may_be_empty: whether "hold" lets `leading` stand for a channel without any value, as it must
      for one who decides while the series arrives.

  Raises:
    ValueError: an unknown `how`, a series in which a channel has no value at all, or, with "error",
      a missing value. The message names file and place.
  """
  if how not in MISSING:
    raise ValueError(f"missing is {how!r}; choose one of {', '.join(MISSING)}")
  values, number, series = [], 0, 0
  for rows, place in zip(file.values, file.places, strict=True):
    absent = np.isnan(rows)
    if absent.any():
      if not (may_be_empty and how == "hold"):
        _check(file, place, absent, how)
      rows = hold(rows, leading) if how == "hold" else interpolate(rows)
      number, series = number + int(absent.sum()), series + 1
    values.append(rows)
  return Filled(tuple(values), number, series)


def describe_filled(file: SeriesFile, filled: Filled, how: str) -> str:
  """Says in a line what has been filled.

  Args:
    file: whose values were missing.
    filled: the same without.
    how: as of `fill_missing`.
  """
  said = {
    "hold": "each holds the value before it",
    "interpolate": "interpolated, from values that lie in the future too, so that times are "
    "earlier than a live decision could be",
  }[how]
  return f"{file.path.name}: {filled.number} values missing in {filled.series} series: {said}"


def hold(rows: np.ndarray, leading: np.ndarray) -> np.ndarray:
  """Repeats in each channel of `[T, F]` the last value before a NaN; `leading` `[F]` at the start.

  Args:
    rows: NaN where a value is missing.
    leading: what stands for a channel before its first value.
  """
  with_start = np.concatenate([leading[None], rows])
  steps = np.arange(len(with_start))[:, None]
  last = np.maximum.accumulate(np.where(np.isnan(with_start), 0, steps), axis=0)
  return np.take_along_axis(with_start, last, axis=0)[1:]


def interpolate(rows: np.ndarray) -> np.ndarray:
  """Draws lines over the NaN of each channel of `[T, F]`; at the ends the nearest value stays.

  Args:
    rows: NaN where a value is missing; each channel has a value.
  """
  steps, filled = np.arange(len(rows)), rows.copy()
  for channel in filled.T:
    there = ~np.isnan(channel)
    channel[~there] = np.interp(steps[~there], steps[there], channel[there])
  return filled


def _check(file: SeriesFile, place: str, absent: np.ndarray, how: str) -> None:
  """Raises ValueError where missing values `[T, F]` cannot, or must not, be filled."""
  empty = np.flatnonzero(absent.all(axis=0))
  if empty.size:
    raise ValueError(
      f"{file.path}, {place}: {file.channels[empty[0]]} has no value in all of the series; remove "
      "the series, or leave the channel out"
    )
  if how == "error":
    step, channel = np.argwhere(absent)[0]
    raise ValueError(
      f"{file.path}, {place}: step {step + 1} of {file.channels[channel]} is missing; complete "
      "the file, or train with --missing=hold or --missing=interpolate"
    )

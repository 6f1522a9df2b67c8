"""CSV in long form: a line a step, with the series' id, the time, the channels and the label.

The first column is the id, the second the time, the last the label; those between are channels.
Where the names of the channels are known, the label may be left out. The first line names the
columns. The lines of a series follow one another, in the order of time.
"""

import contextlib
import csv
import datetime
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.series.contents import (
  SeriesFile,
  check_label,
  parse_values,
  read_lines,
)

MISSING = frozenset(("", "?", "nan", "na"))
LABELS = frozenset(("label", "labels", "class", "target", "y"))  # what a column of labels is called


class _Open(NamedTuple):
  """The series whose lines are being read."""

  name: str
  label: str
  line: int
  times: list[float]
  rows: list[list[float]]


def read_csv(path: pathlib.Path, channels: Sequence[str] | None = None) -> SeriesFile:
  """Reads a CSV file in long form.

  Args:
    path: of the file.
    channels: names that its channels must have, in this order; then labels, or their column, may
      be left out. None: any, and labels are needed.

  Raises:
    ValueError: the file cannot be read, has no line of names, or others than `channels`, or a line
      is malformed: too few or too many fields, no number, no label, another label than the series
      began with, a time that does not rise, or an id that was another series'. The message names
      file and line.
  """
  reader = csv.reader(read_lines(path), strict=True)
  columns: list[str] = []
  labelled, end = True, 0
  done: list[_Open] = []
  first_line: dict[str, int] = {}
  try:
    for fields in reader:
      number = reader.line_num
      where = f"{path}, line {number}"
      if not any(field.strip() for field in fields):
        continue
      if not columns:
        columns = _check_columns(fields, where, channels)
        labelled = channels is None or len(columns) > 2 + len(channels)
        end = len(columns) - 1 if labelled else len(columns)  # of the channels
        continue
      if len(fields) != len(columns):
        raise ValueError(
          f"{where}: there are {len(fields)} fields, the first line names {len(columns)}; give "
          "every line as many"
        )
      name, label = fields[0].strip(), fields[-1].strip() if labelled else ""
      if channels is not None and label.lower() in MISSING:
        label = ""
      if not done or done[-1].name != name:
        _check_begin(name, first_line, where)
        if label or channels is None:
          check_label(label, f"{where}, series {name!r}", MISSING)
        first_line[name] = number
        done.append(_Open(name, label, number, [], []))
      _add_row(done[-1], fields[:end], label, columns, where)
  except csv.Error as error:
    raise ValueError(f"{path}, line {reader.line_num}: {error}; correct the quotes") from error
  if not done:
    raise ValueError(f"{path} has no line below the names of its columns; give at least one series")
  return SeriesFile(
    path,
    tuple(np.array(one.rows, np.float64) for one in done),
    tuple(one.label for one in done),
    tuple(one.name for one in done),
    tuple(f"line {one.line} (series {one.name!r})" for one in done),
    tuple(columns[2:end]),
    _note_uneven_times(path, done),
  )


def _check_columns(fields: list[str], where: str, channels: Sequence[str] | None) -> list[str]:
  """Returns the names of the columns; raises ValueError if the first line holds others."""
  names = [field.strip() for field in fields]
  if channels is not None:
    if list(channels) not in (names[2:], names[2:-1]):
      raise ValueError(
        f"{where}: the columns are {', '.join(names)}; give id, time, {', '.join(channels)}, in "
        "this order, separated by commas, and a column of labels or none"
      )
    return names
  if len(names) < 4:
    raise ValueError(
      f"{where}: there are {len(names)} columns; give id, time, one or more channels, and label, "
      "separated by commas"
    )
  if _is_time(names[1]):
    raise ValueError(
      f"{where}: there are values where the first line has to name the columns; put id, time, the "
      "channels' names and label above them"
    )
  if "" in names[1:]:  # pandas leaves that of the index empty, which may be the id
    raise ValueError(f"{where}: column {names.index('', 1) + 1} has no name; give it one")
  labels = [name for name in names[2:-1] if name.lower() in LABELS]
  if labels and names[-1].lower() not in LABELS:
    raise ValueError(
      f"{where}: the last column, {names[-1]!r}, is read as the label, and {labels[0]!r} stands "
      f"among the channels; put {labels[0]!r} last"
    )
  repeated = [name for name in names if names.count(name) > 1]
  if repeated:
    raise ValueError(f"{where}: the column {repeated[0]!r} is there more than once; rename one")
  return names


def _check_begin(name: str, first_line: dict[str, int], where: str) -> None:
  """Raises ValueError where a series cannot begin."""
  if not name:
    raise ValueError(f"{where}: the id of the series is missing; give each series one")
  if name in first_line:
    raise ValueError(
      f"{where}: the series {name!r} began in line {first_line[name]}, and others came between; "
      "give each series an id of its own, and keep its lines together"
    )


def _add_row(series: _Open, fields: list[str], label: str, columns: list[str], where: str) -> None:
  """Adds a line to its series; raises ValueError where it does not fit."""
  time = _parse_time(fields[1].strip(), where)
  if label != series.label:
    raise ValueError(
      f"{where}: the label is {label!r}, but series {series.name!r} began with {series.label!r} in "
      f"line {series.line}; a series has one label, in the last column, here {columns[-1]!r}"
    )
  if series.times and time <= series.times[-1]:
    raise ValueError(
      f"{where}: the time {fields[1].strip()} of series {series.name!r} does not come after that "
      "of the line before; sort the lines of a series by time, each once"
    )
  series.times.append(time)
  # A single name would be taken for that of all fields.
  named = [f"column {name!r}" for name in columns[2:]] + ["label"]
  series.rows.append(parse_values(fields[2:], MISSING, named, where))


def _parse_time(text: str, where: str) -> float:
  """Returns a time as a number; a date and time of ISO 8601 as seconds."""
  if _is_number(text):
    with contextlib.suppress(ValueError):
      return int(text)  # nanoseconds since 1970 have more digits than a float
    return float(text)
  try:
    stamp = datetime.datetime.fromisoformat(text)
  except ValueError:
    raise ValueError(
      f"{where}: the time is {text!r}; give a number, or a date as 2024-05-01T12:00:00"
    ) from None
  if stamp.tzinfo is None:  # hours of a local clock would repeat in autumn
    stamp = stamp.replace(tzinfo=datetime.UTC)
  return stamp.timestamp()


def _is_time(text: str) -> bool:
  try:
    _parse_time(text, "")
  except ValueError:
    return False
  return True


def _is_number(text: str) -> bool:
  try:
    return bool(np.isfinite(float(text)))
  except ValueError:
    return False


def _note_uneven_times(path: pathlib.Path, done: list[_Open]) -> tuple[str, ...]:
  """Notes that steps lie unevenly in time, as the network sees their order alone."""
  gaps = np.concatenate([np.diff(one.times) for one in done])
  if not gaps.size or gaps.max() <= 1.01 * gaps.min():
    return ()
  return (
    f"{path.name}: steps lie {gaps.min():g} to {gaps.max():g} apart in time; the network sees "
    "their order alone",
  )

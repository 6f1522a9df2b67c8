"""What a file of time series holds, and how its numbers are read; the formats share both."""

import math
import pathlib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

NO_LABEL = frozenset(("", "?", "nan"))  # in lower case


class SeriesFile(NamedTuple):
  """N series of F channels, as one file has them.

  Attributes:
    path: of the file.
    values: N arrays `[T, F]` float64, each with a T of its own; NaN where a value is missing.
    labels: N labels as text; "" of a series without one, which only those read who ask for it.
    names: of the series, as the file has them: an id, "row 3" or "line 7".
    places: where each series stands, for messages: "line 7", "row 3", "line 40 (series 'a')".
    channels: names of the F channels.
    notes: what a user should know of how the file was read.
  """

  path: pathlib.Path
  values: tuple[np.ndarray, ...]
  labels: tuple[str, ...]
  names: tuple[str, ...]
  places: tuple[str, ...]
  channels: tuple[str, ...]
  notes: tuple[str, ...] = ()


def read_lines(path: pathlib.Path) -> Iterator[str]:
  """Yields the lines of a text file, without their ends.

  Raises:
    ValueError: the file is not there, cannot be read, is empty, or is no text.
  """
  try:
    with open(path, encoding="utf-8-sig", newline="") as file:
      number = 0
      for number, line in enumerate(file, 1):  # noqa: B007  (looked at below)
        yield line.rstrip("\r\n")
  except UnicodeDecodeError as error:
    raise ValueError(f"{path} is no UTF-8 text ({error.reason}); save it as UTF-8") from error
  except OSError as error:
    raise ValueError(f"{path} cannot be read ({error.strerror}); give a file of series") from error
  if number == 0:
    raise ValueError(f"{path} is empty; give a file of series")


def check_label(label: str, where: str, missing: frozenset[str] = NO_LABEL) -> None:
  """Raises ValueError for a label that is missing, or that would spoil what it is printed in.

  Args:
    label: without blanks around it.
    where: it stands, for messages.
    missing: what stands for no label, in lower case.
  """
  if label.lower() in missing:
    said = f"{label!r}, which stands for a missing one" if label else "missing"
    raise ValueError(f"{where}: the label is {said}; give every series one, or rename the class")
  if has_control_characters(label):
    raise ValueError(f"{where}: the label {label!r} cannot be printed; give it another name")


def find_class(label: str, class_names: Sequence[str]) -> str | None:
  """Finds the class that a label names: "1.0" also the class "1"; None where there is none."""
  if label in class_names:
    return label
  number = _to_number(label)
  if number is None:
    return None
  return next((name for name in class_names if _to_number(name) == number), None)


def _to_number(text: str) -> float | None:
  if "_" in text:  # Python's 1_000 is no file's number
    return None
  try:
    return float(text)
  except ValueError:
    return None


def has_control_characters(text: str) -> bool:
  """Whether there are control characters, or halves of characters, that no report can hold."""
  return any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def parse_values(
  fields: Sequence[str], missing: frozenset[str], names: Sequence[str], where: str
) -> list[float]:
  """Parses fields as finite numbers; a field that stands for a missing value becomes NaN.

  Args:
    fields: as text, blanks around them allowed.
    missing: what stands for a missing value, in lower case.
    names: what each field is, for messages, or one name for all.
    where: of the fields: file and line, for messages.

  Raises:
    ValueError: a field is neither a number nor a missing value, or it is infinite.
  """
  try:  # nearly all lines hold nothing but numbers
    values = [float(field) for field in fields]
    if all(map(math.isfinite, values)) and not any("_" in field for field in fields):
      return values
  except ValueError:
    pass
  return [
    _parse(field.strip(), missing, names[i] if len(names) > 1 else f"{names[0]} {i + 1}", where)
    for i, field in enumerate(fields)
  ]


def _parse(field: str, missing: frozenset[str], name: str, where: str) -> float:
  if field.lower() in missing:
    return math.nan
  value = _to_number(field)
  if value is None or not math.isfinite(value):
    raise ValueError(f"{where}: {name} is {field!r}, which is no finite number; correct it")
  return value

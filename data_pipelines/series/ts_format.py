"""The `.ts` format of the UEA and UCR archive: a header of `@` lines, then a series a line.

A line is `1,2,3:4,5,6:label`: the channels (the format calls them dimensions), each a list of
values, then the label; `?` is a missing value. What the header says is checked against the lines.
"""

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.series.contents import SeriesFile, check_label, parse_values, read_lines

MISSING = frozenset(("?", "nan"))
_Tags = dict[str, tuple[int, str, str]]  # lower case -> line, as written, what it says


class _Header(NamedTuple):
  """What the header promises; None where it says nothing.

  Attributes:
    classes: the labels that may occur, or None where the lines end without one.
    dimension: F.
    length: T of every series.
    univariate: whether F is 1.
    equal: whether all series are as long.
  """

  classes: tuple[str, ...] | None
  dimension: int | None
  length: int | None
  univariate: bool | None
  equal: bool | None


def read_ts(path: pathlib.Path, *, labelled: bool = True) -> SeriesFile:
  """Reads a `.ts` file of a classification problem.

  Args:
    path: of the file.
    labelled: whether it must have labels; else its header may say `@classLabel false`.

  Raises:
    ValueError: the file cannot be read, a line is malformed, or the header promises other
      channels, lengths or classes than the lines have. The message names file and line.
  """
  header: _Header | None = None
  tags: _Tags = {}
  values: list[np.ndarray] = []
  labels, places = [], []
  for number, line in enumerate(read_lines(path), 1):
    text, where = line.strip(), f"{path}, line {number}"
    if not text or text[0] in "#%":
      continue
    if header is not None:
      series, label = _read_series(text, header, where)
      if values and series.shape[1] != values[0].shape[1]:
        raise ValueError(
          f"{where}: the series has {series.shape[1]} dimensions, those before have "
          f"{values[0].shape[1]}; give every series the same ones"
        )
      if header.equal and values and len(series) != len(values[0]):
        raise ValueError(
          f"{where}: the series has {len(series)} values, the first has {len(values[0])}, but the "
          "header says @equalLength true; correct one of them"
        )
      values.append(series)
      labels.append(label)
      places.append(f"line {number}")
    elif text.lower() == "@data":
      header = _check_header(tags, path, labelled=labelled)
    elif text[0] == "@" and text != "@":
      name, *said = text[1:].split(None, 1)
      tags[name.lower()] = (number, name, "".join(said))
    else:
      raise ValueError(f"{where}: there are values before a line @data; put the header above them")
  if header is None:
    raise ValueError(f"{path} has no line @data; give a whole .ts file")
  if not values:
    raise ValueError(f"{path} has no series after @data; give at least one")
  channels = tuple(f"channel {i + 1}" for i in range(values[0].shape[1]))
  return SeriesFile(path, tuple(values), tuple(labels), tuple(places), tuple(places), channels)


def _check_header(tags: _Tags, path: pathlib.Path, *, labelled: bool) -> _Header:
  """Reads the tags of a header; raises ValueError where they make the file unusable."""

  def read_bool(name: str) -> bool | None:
    if name not in tags:
      return None
    number, written, said = tags[name]
    if said.lower() not in ("true", "false"):
      raise ValueError(f"{path}, line {number}: @{written} is {said!r}; give true or false")
    return said.lower() == "true"

  def read_count(name: str) -> int | None:
    if name not in tags:
      return None
    number, written, said = tags[name]
    if not said.isdecimal() or len(said) > 9 or int(said) < 1:
      raise ValueError(
        f"{path}, line {number}: @{written} is {said[:20]!r}; give a whole number of 1 or more"
      )
    return int(said)

  if read_bool("timestamps"):
    raise ValueError(
      f"{path}, line {tags['timestamps'][0]}: values with time stamps are not read; write the "
      "values alone, and @timeStamps false"
    )
  number, _, said = tags.get("classlabel", (0, "", "false"))
  flag, *classes = said.split() or ["false"]
  if labelled and (flag.lower() != "true" or not classes):
    raise ValueError(
      f"{path}{f', line {number}' if number else ''}: the header has no @classLabel true with the "
      "classes after it; a classifier needs labels"
    )
  repeated = [name for name in classes if classes.count(name) > 1]
  if repeated:
    raise ValueError(f"{path}, line {number}: @classLabel names {repeated[0]!r} more than once")
  equal = read_bool("equallength")
  return _Header(
    tuple(classes) if flag.lower() == "true" else None,
    dimension=read_count("dimension" if "dimension" in tags else "dimensions"),
    # Of series of several lengths some files of the archive give the longest.
    length=None if equal is False else read_count("serieslength"),
    univariate=read_bool("univariate"),
    equal=equal,
  )


def _check_label(
  label: str, dimensions: Sequence[str], classes: tuple[str, ...], where: str
) -> None:
  """Raises ValueError for a label that is missing, or not one of the header's."""
  if not dimensions:
    raise ValueError(f"{where}: there is no ':' before a label; end the line with ':LABEL'")
  check_label(label, where)
  if label not in classes:
    advice = "write it without blanks" if " " in label else "correct one of them"
    raise ValueError(
      f"{where}: the label {label!r} is not in the header's @classLabel ({', '.join(classes)}); "
      f"{advice}"
    )


def _read_series(text: str, header: _Header, where: str) -> tuple[np.ndarray, str]:
  """Reads a line as values `[T, F]` and a label, and checks it against the header."""
  dimensions, label = [part.strip() for part in text.split(":")], ""
  if header.classes is not None:
    label = dimensions.pop()
    _check_label(label, dimensions, header.classes, where)
  number = len(dimensions)
  for promise, is_kept in (
    (f"@univariate {str(header.univariate).lower()}", header.univariate in (None, number == 1)),
    (f"@dimension {header.dimension}", header.dimension in (None, number)),
  ):
    if not is_kept:
      raise ValueError(
        f"{where}: the series has {number} dimensions, but the header says {promise}; correct one "
        "of them"
      )
  columns = []
  for k, dimension in enumerate(dimensions, 1):
    fields = dimension.split(",") if dimension else []
    if not fields:
      raise ValueError(f"{where}: dimension {k} has no values; a series needs at least one")
    columns.append(parse_values(fields, MISSING, [f"value {k}:" if number > 1 else "value"], where))
    if len(columns[k - 1]) != len(columns[0]):
      raise ValueError(
        f"{where}: dimension {k} has {len(fields)} values, dimension 1 has {len(columns[0])}; "
        "give them as many"
      )
  if header.length is not None and len(columns[0]) != header.length:
    raise ValueError(
      f"{where}: the series has {len(columns[0])} values, but the header says "
      f"@seriesLength {header.length}; correct one of them"
    )
  return np.array(columns, np.float64).T, label

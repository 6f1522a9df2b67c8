"""Where the files of a data set of series lie: a folder, two paths, or what packages bring."""

import importlib.util
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from data_pipelines.series.contents import SeriesFile, has_control_characters
from data_pipelines.series.csv_format import read_csv
from data_pipelines.series.numpy_format import read_both, read_npy, read_npz
from data_pipelines.series.ts_format import read_ts

READERS: dict[str, Callable[..., SeriesFile]] = {
  ".ts": read_ts,
  ".npz": read_npz,
  ".npy": read_npy,
  ".csv": read_csv,
}
# What the packages of aeon and, of Trace, tslearn have, so that nothing is downloaded.
PACKAGED = (
  "ACSF1",
  "ArrowHead",
  "BasicMotions",
  "GunPoint",
  "ItalyPowerDemand",
  "JapaneseVowels",
  "OSULeaf",
  "PickupGestureWiimoteZ",
  "Trace",
)
# How the files of the two splits are called in a folder, in the order in which they are sought.
_PATTERNS = (
  ("*_TRAIN.ts", "*_TEST.ts"),
  ("train.npz", "test.npz"),
  ("train.csv", "test.csv"),
  ("X_train.npy", "X_test.npy"),
)


class Paths(NamedTuple):
  """The files of the training and of the test split; the same where one `.npz` holds both."""

  train: pathlib.Path
  test: pathlib.Path


def find_files(
  *,
  data_dir: str | None = None,
  train: str | None = None,
  test: str | None = None,
  dataset: str | None = None,
) -> Paths:
  """Finds the files that the arguments name.

  Args:
    data_dir: a folder that holds both.
    train: path of the training split.
    test: path of the test split.
    dataset: one of PACKAGED, from the package aeon or tslearn.

  Raises:
    ValueError: none of the three ways, or more than one, is given; or the files are not there. The
      message says what was looked for.
  """
  ways = [bool(data_dir), bool(train or test), bool(dataset)]
  if sum(ways) != 1:
    raise ValueError(
      "the data is named in one of three ways; give --data_dir=FOLDER, or --train=FILE and "
      f"--test=FILE, or --dataset, one of {', '.join(PACKAGED)}"
    )
  if data_dir:
    return _find_in_folder(pathlib.Path(os.path.expanduser(data_dir)))
  if dataset:
    return _find_packaged(dataset)
  if not (train and test):
    absent, given = ("test", "train") if train else ("train", "test")
    raise ValueError(f"there is --{given} but no --{absent}; give the files of both splits")
  paths = Paths(pathlib.Path(os.path.expanduser(train)), pathlib.Path(os.path.expanduser(test)))
  for path in paths:
    if not path.is_file():
      raise ValueError(f"{path} is no file; give the path of a .ts, .npz, .npy or .csv file")
  if paths.train.resolve() != paths.test.resolve():
    return paths
  if paths.train.suffix.lower() != ".npz":
    raise ValueError(f"--train and --test are both {paths.train}; a test needs series of its own")
  return Paths(paths.train, paths.train)


def read_files(paths: Paths) -> tuple[SeriesFile, SeriesFile]:
  """Reads the training and the test split; errors are those of `read_file` and `read_both`."""
  if paths.train == paths.test:
    _check_name(paths.train)
    return read_both(paths.train)
  return read_file(paths.train), read_file(paths.test)


def read_file(path: pathlib.Path) -> SeriesFile:
  """Reads a file of series by the ending of its name.

  Args:
    path: of the file.

  Raises:
    ValueError: another ending, a name that is no text, or as the reader of the format.
  """
  return _find_reader(path)(path)


def read_new(path: pathlib.Path, channels: Sequence[str]) -> SeriesFile:
  """Reads a file of series that need no labels, for a network that knows its channels.

  Args:
    path: of the file.
    channels: their names. Those of a `.csv` must be the same, of other files there must be as many.

  Raises:
    ValueError: as `read_file`, or other channels.
  """
  reader = _find_reader(path)
  if reader is read_csv:
    return read_csv(path, channels)
  file = reader(path, labelled=False)
  if len(file.channels) != len(channels):
    raise ValueError(
      f"{path} has {len(file.channels)} channels, and the network reads {len(channels)} "
      f"({', '.join(channels)}); give these"
    )
  return file._replace(channels=tuple(channels))


def _find_reader(path: pathlib.Path) -> Callable[..., SeriesFile]:
  """The reader of a file by the ending of its name; raises ValueError as `read_file`."""
  _check_name(path)
  if path.is_dir():
    raise ValueError(f"{path} is a folder; name a file in it")
  if path.suffix.lower() not in READERS:
    raise ValueError(f"{path} ends in {path.suffix!r}; give a file in {', '.join(READERS)}")
  return READERS[path.suffix.lower()]


def _check_name(path: pathlib.Path) -> None:
  if has_control_characters(str(path)):
    raise ValueError(f"the name {str(path)!r} cannot be printed; rename it")


def _find_in_folder(folder: pathlib.Path) -> Paths:
  if not folder.is_dir():
    raise ValueError(f"--data_dir={folder} is no folder; give the folder of the two files")
  found = {pattern: sorted(folder.glob(pattern)) for pair in _PATTERNS for pattern in pair}
  there = [pair for pair in _PATTERNS if found[pair[0]] or found[pair[1]]]
  sought = "; ".join(f"{train} and {test}" for train, test in _PATTERNS)
  if not there:
    raise ValueError(f"{folder} has no series; looked for {sought}")
  if len(there) > 1:
    names = ", ".join((found[pair[0]] or found[pair[1]])[0].name for pair in there)
    raise ValueError(
      f"{folder} has series in several formats ({names}); name the files with --train and --test"
    )
  (pair,) = there
  for pattern in pair:
    if len(found[pattern]) > 1:
      names = ", ".join(path.name for path in found[pattern])
      raise ValueError(f"{folder} has {names}; name the files with --train and --test")
    if not found[pattern]:
      other = found[pair[0] if pattern == pair[1] else pair[1]][0].name
      raise ValueError(f"{folder} has {other} but no {pattern}; looked for {sought}")
  train, test = (found[pattern][0] for pattern in pair)
  of_train, of_test = (
    path.name.removesuffix(pattern.removeprefix("*"))
    for path, pattern in zip((train, test), pair, strict=True)
  )
  if of_train != of_test:
    raise ValueError(
      f"{folder} has {train.name} and {test.name}, which are of two data sets; name the files with "
      "--train and --test"
    )
  return Paths(train, test)


def _find_packaged(dataset: str) -> Paths:
  """Finds a data set within a package, which is not imported: that takes seconds."""
  if dataset not in PACKAGED:
    raise ValueError(f"dataset is {dataset!r}; choose one of {', '.join(PACKAGED)}")
  package = "tslearn" if dataset == "Trace" else "aeon"
  spec = importlib.util.find_spec(package)
  if spec is None or not spec.submodule_search_locations:
    raise ValueError(f"--dataset={dataset} is a part of {package}; pip install 'rc-jax[peers]'")
  folder = pathlib.Path(spec.submodule_search_locations[0])
  if package == "tslearn":
    path = folder / ".cached_datasets" / f"{dataset}.npz"
    paths = Paths(path, path)
  else:
    folder = folder / "datasets" / "data" / dataset
    paths = Paths(folder / f"{dataset}_TRAIN.ts", folder / f"{dataset}_TEST.ts")
  for path in paths:
    if not path.is_file():
      raise ValueError(f"this version of {package} has no {path.name}; give the files with --train")
  return paths

"""What identifies the data of a run: kept in config.json, compared when the run goes on.

Labels, lengths and whole numbers are hashed. Features in floats are not: another machine that
decodes the same recordings may round them otherwise. Of them weighted means are kept, of up to
`BLOCKS` runs of records, and compared within `TOLERANCE`: far above rounding, and far below what
another recording in a block changes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.batches import Split, Splits

BLOCKS = 256  # of the records of a split
TOLERANCE = 1e-5  # relative
_SEPARATOR = " "
_PARTS = ("labels", "lengths", "inputs")


def identify_splits(splits: Splits) -> dict[str, Any]:
  """Returns JSON values that change with any record of the splits, or with their order."""
  return {name: _identify_split(split) for name, split in splits._asdict().items()}


def identify_samples(samples: np.ndarray) -> dict[str, Any]:
  """Returns JSON values, as of a split, that change with any of these samples `[n]` integers."""
  return {
    "examples": len(samples),
    "labels": None,
    "lengths": None,
    "inputs": _hash(samples),
  }


def identify_data(
  splits: Mapping[str, Any], class_names: Sequence[str], saved: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns what config.json keeps of a run's data.

  Args:
    splits: of `identify_splits`; empty for a generated task, whose flags say all.
    class_names: of the C classes.
    saved: statistics of the inputs.
  """
  return {"class_names": list(class_names), "splits": dict(splits), "statistics": dict(saved)}


def list_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
  """Says in words how the data of two starts differ.

  Args:
    before: of `identify_data`, as JSON gives it back; what it lacks is not compared.
    after: the same of now.

  Returns:
    A phrase for each difference; empty where the data is the same.
  """
  found = []
  had, has = before.get("class_names", after["class_names"]), after["class_names"]
  if list(had) != list(has):
    found.append(f"the classes were {', '.join(had)}, are {', '.join(has)}")
  for name, split in after["splits"].items():
    old = before.get("splits", {}).get(name)
    if old is None:
      continue
    if old["examples"] != split["examples"]:
      found.append(f"the {name} split had {old['examples']} examples, has {split['examples']}")
      continue
    if parts := [part for part in _PARTS if not _is_equal(old[part], split[part])]:
      found.append(f"other {' and '.join(parts)} in the {name} split")
  for name, value in after["statistics"].items():
    if not _is_equal(before.get("statistics", {}).get(name, value), value):
      found.append(f"another {name} of the inputs")
  return found


def _identify_split(split: Split) -> dict[str, Any]:
  whole = np.issubdtype(split.inputs.dtype, np.integer) or split.inputs.dtype == bool
  return {
    "examples": len(split),
    "labels": _hash(split.labels),
    "lengths": _hash(split.lengths),
    "inputs": _hash(split.inputs) if whole else _summarize(split.inputs),
  }


def _hash(values: Any) -> str:
  return "sha256 " + hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def _summarize(inputs: Any) -> str:
  """Returns the weighted means of blocks of records `[N, ...]` in one line, for config.json."""
  features = int(np.prod(inputs.shape[1:]))
  # Of uneven weights, so that an exchange of two records or features changes the mean too.
  weights = (1 + 0.5 * np.cos(np.arange(features, dtype=np.float32))) / max(features, 1)
  means = []
  for index in np.array_split(np.arange(len(inputs)), min(BLOCKS, len(inputs))):
    block = np.asarray(inputs[index[0] : index[-1] + 1], np.float32).reshape(len(index), -1)
    of_records = 1 + 0.5 * np.cos(index.astype(np.float64))
    means.append(f"{np.mean(of_records * (block @ weights)):.8e}")
  return _SEPARATOR.join(means)


def _is_equal(a: Any, b: Any) -> bool:
  """Whether two hashes are the same, or two lists of numbers but for rounding."""
  if a == b:
    return True
  try:
    a, b = (np.asarray(v.split(_SEPARATOR) if isinstance(v, str) else v, float) for v in (a, b))
  except (TypeError, ValueError):  # hashes, or something else than a list of numbers
    return False
  scale = max(np.max(np.abs(b), initial=0.0), 1e-30)
  return a.shape == b.shape and bool(np.all(np.abs(a - b) <= TOLERANCE * scale))

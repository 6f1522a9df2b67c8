"""Stored data: splits of labelled records, and grain data sets of shuffled batch indices."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import grain
import numpy as np

from rc_jax.types import Batch


class Split:
  """N labelled records that can be read in any order, as a grain source.

  Args:
    inputs: `[N, ...]` array or memory map of the records as they are stored. A pure function of
      each data set, `prepare`, turns a batch of them into steps on the device.
    labels: `[N]` int in `0..num_classes-1`.
    lengths: `[N]` int in `1..num_steps`, the number of steps of each record.
    num_classes: C.
    num_steps: T.
    name: the split's name, which error messages use.

  Raises:
    ValueError: if there is no record, if the arrays differ in length, if a label or a length is
      no whole number or out of range, or if floating-point inputs hold NaN or infinite values. The
      message names the split and the record.
  """

  def __init__(self, inputs, labels, lengths, *, num_classes: int, num_steps: int, name: str):
    self.inputs = inputs
    self.labels = _to_int32(name, "label", labels)
    self.lengths = _to_int32(name, "length", lengths)
    self.name = name
    n = len(inputs)
    if n == 0:
      raise ValueError(f"the {name} split has no records; give it at least one")
    if not len(self.labels) == len(self.lengths) == n:
      raise ValueError(
        f"the {name} split has {n} inputs, {len(self.labels)} labels and {len(self.lengths)} "
        "lengths; they must be as many"
      )
    _check_range(name, "label", self.labels, 0, num_classes - 1)
    _check_range(name, "length", self.lengths, 1, num_steps)
    _check_finite(name, inputs)

  def __len__(self) -> int:
    return len(self.inputs)

  def __getitem__(self, index) -> Batch:
    """Returns the record at an index, or a batch of the records at an array of indices."""
    return Batch(self.inputs[index], self.labels[index], self.lengths[index])


class Splits(NamedTuple):
  """The three parts of a data set.

  The data set alone decides which record belongs to which part; no seed does.
  """

  train: Split
  validation: Split
  test: Split


def shuffled_indices(num_records: int, batch_size: int, seed: int) -> grain.MapDataset:
  """Makes an endless data set of batches of record indices, shuffled anew in every epoch.

  Batch k depends on k and the seed alone, so that a run can resume at any batch. The incomplete
  batch at the end of an epoch is dropped.

  Args:
    num_records: N, the number of records to draw from.
    batch_size: B, the number of indices in a batch.
    seed: an integer; the order of an epoch follows from (seed, epoch).

  Returns:
    A grain data set whose elements are `[B]` int indices in `0..N-1`. They are read-only.

  Raises:
    ValueError: if there are fewer records than a batch holds.
  """
  if num_records < batch_size:
    raise ValueError(
      f"batch_size is {batch_size} but there are only {num_records} training examples; "
      "choose a smaller --batch_size"
    )
  batches = num_records // batch_size

  order = _make_order(num_records, seed)

  def batch(k: int) -> np.ndarray:
    epoch, place = divmod(k, batches)
    return order(epoch)[place * batch_size : (place + 1) * batch_size]

  # The data set maps over batches, not over records: grain's own shuffle works record by record
  # and took 2.2 ms for a batch of 128.
  return grain.MapDataset.range(2**31 - 1).map(batch)


def filled_indices(num_records: int, batch_size: int, seed: int) -> grain.MapDataset:
  """Makes an endless data set of batches of record indices, whose epochs follow without a gap.

  As `shuffled_indices`, but the last batch of an epoch is filled from the next one: a small data
  set loses no record, and a batch may be larger than it.

  Args:
    num_records: N, the number of records to draw from.
    batch_size: B, the number of indices in a batch; batch k has the places `k B` to `k B + B - 1`
      of the epochs' orders, one after the other.
    seed: an integer; the order of an epoch follows from (seed, epoch).

  Returns:
    A grain data set whose elements are `[B]` int indices in `0..N-1`.
  """
  order = _make_order(num_records, seed)

  def batch(k: int) -> np.ndarray:
    epoch, start = divmod(k * batch_size, num_records)
    epochs = -(-(start + batch_size) // num_records)
    places = np.concatenate([order(epoch + i) for i in range(epochs)])
    return places[start : start + batch_size]

  return grain.MapDataset.range(2**31 - 1).map(batch)


def _make_order(num_records: int, seed: int) -> Callable[[int], np.ndarray]:
  """Returns `epoch -> [N]`, the order of its records, which is kept for the next call."""

  @functools.lru_cache(maxsize=2)
  def order(epoch: int) -> np.ndarray:
    permutation = np.random.default_rng((seed, epoch)).permutation(num_records)
    permutation.setflags(write=False)  # the batches of an epoch are views of this one array
    return permutation

  return order


def _to_int32(split: str, what: str, values) -> np.ndarray:
  """Returns values `[N]` as int32; raises ValueError where that would change one."""
  given = np.asarray(values)
  with np.errstate(invalid="ignore"):  # a NaN is told below
    whole = given.astype(np.int32)
  changed = np.flatnonzero(whole != given)
  if changed.size:
    first = changed[0]
    raise ValueError(
      f"{what} {given[first]} of record {first} in the {split} split is no whole number; give "
      f"{what}s as integers"
    )
  return whole


def _check_range(split: str, what: str, values: np.ndarray, low: int, high: int) -> None:
  """Raises ValueError if a value `[N]` lies outside `low..high`."""
  outside = np.flatnonzero((values < low) | (values > high))
  if outside.size:
    first = outside[0]
    raise ValueError(
      f"{what} {values[first]} of record {first} in the {split} split is outside {low}..{high}"
    )


def _check_finite(split: str, inputs, rows: int = 4096) -> None:
  """Raises ValueError if floating-point inputs `[N, ...]` hold NaN or infinite values.

  It reads `rows` records at a time, since a memory map may be larger than memory.
  """
  if not np.issubdtype(inputs.dtype, np.floating):
    return
  for start in range(0, len(inputs), rows):
    block = inputs[start : start + rows]
    bad = np.flatnonzero(~np.isfinite(block).reshape(len(block), -1).all(axis=1))
    if bad.size:
      raise ValueError(
        f"record {start + bad[0]} in the {split} split has NaN or infinite values; remove it or "
        "repair its source"
      )

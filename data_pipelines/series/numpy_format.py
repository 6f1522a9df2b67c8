"""NumPy's files: an `.npz` with `X`, `y` and perhaps `lengths`, or `.npy` files of these names.

One `.npz` may hold both splits: `X_train`, `y_train`, `X_test`, `y_test`, and lengths likewise.
`X` is `[N, T, F]`, or `[N, T]` for one channel. Without `lengths`, steps at the end of a series at
which every channel is NaN are taken for padding, as tslearn and others pad.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.series.contents import SeriesFile, check_label

_ARRAYS = ("X", "y", "lengths")
_SPLITS = ("_train", "_test")


def read_npz(path: pathlib.Path, *, labelled: bool = True) -> SeriesFile:
  """Reads an `.npz` file.

  Args:
    path: of the file.
    labelled: whether it must have `y`.

  Raises:
    ValueError: it cannot be read, lacks `X` or `y`, or as `from_arrays`.
  """
  needed = ("X", "y") if labelled else ("X",)
  example = f"np.savez(path, {', '.join(f'{name}={name}' for name in needed)})"
  (file,) = _read_arrays(path, ("",), needed, example)
  return file


def read_both(path: pathlib.Path) -> tuple[SeriesFile, SeriesFile]:
  """Reads an `.npz` file that holds the training and the test split.

  Args:
    path: of the file.

  Raises:
    ValueError: it cannot be read, lacks `X_train`, `y_train`, `X_test` or `y_test`, or as
      `from_arrays`.
  """
  example = "np.savez(path, X_train=X_train, y_train=y_train, X_test=X_test, y_test=y_test)"
  remedy = f"{example}, or give a file for each split"
  train, test = _read_arrays(path, _SPLITS, ("X", "y"), remedy)
  return train, test


def _read_arrays(
  path: pathlib.Path, splits: tuple[str, ...], needed: tuple[str, ...], remedy: str
) -> list[SeriesFile]:
  """Reads `X`, `y` and perhaps `lengths` with each of the endings `splits`."""
  arrays = _load(path, [f"{name}{split}" for name in _ARRAYS for split in splits])
  if not isinstance(arrays, dict):
    raise ValueError(f"{path} holds one array; save it with {remedy}")
  for name in (f"{name}{split}" for split in splits for name in needed):
    if name not in arrays:
      if name == "X" and "X_train" in arrays and "y" in needed:
        remedy += ", or name it by both --train and --test"
      raise ValueError(
        f"{path} has no array {name!r} (it has {', '.join(arrays) or 'none'}); save it with "
        f"{remedy}"
      )
  files = []
  for split in splits:
    named = pathlib.Path(f"{path} ({split[1:]})") if split else path  # in messages
    files.append(from_arrays(named, *(arrays.pop(f"{name}{split}", None) for name in _ARRAYS)))
  if arrays:
    said = f"{path.name}: arrays that are not read: {', '.join(arrays)}"
    files[0] = files[0]._replace(notes=(*files[0].notes, said))
  return files


def read_npy(path: pathlib.Path, *, labelled: bool = True) -> SeriesFile:
  """Reads a pair of `.npy` files: `X_train.npy` and, beside it, `y_train.npy`.

  Args:
    path: of the first, whose name begins with X; `lengths_train.npy` is read where it is there.
    labelled: whether `y_train.npy` must be there.

  Raises:
    ValueError: a name that does not begin with X, a file that cannot be read, or as `from_arrays`.
  """
  if not path.name.startswith("X"):
    raise ValueError(
      f"{path}: the name of an .npy file of series begins with X, as X_train.npy, and that of its "
      "labels with y, as y_train.npy; rename them, or save both in one .npz"
    )
  paths = [path, *(path.with_name(name + path.name[1:]) for name in ("y", "lengths"))]
  arrays = []
  for one, is_needed in zip(paths, (True, labelled, False), strict=True):
    array = _load(one, ()) if is_needed or one.exists() else None
    if isinstance(array, dict):
      raise ValueError(f"{one} is an .npz under another name; give it that ending")
    arrays.append(array)
  return from_arrays(path, *arrays)


def from_arrays(path: pathlib.Path, X: Any, y: Any, lengths: Any = None) -> SeriesFile:
  """Makes series of arrays.

  Args:
    path: of the file, for messages.
    X: `[N, T, F]` or `[N, T]`, numbers; NaN where a value is missing.
    y: `[N]`, whole numbers, floats or text; or None, without labels.
    lengths: `[N]` whole numbers in 1..T, or None.

  Raises:
    ValueError: arrays of objects or of other shapes, as many that disagree, an infinite value, a
      missing label, a length out of range, or a series without steps. The message names the row.
  """
  if X.dtype.kind not in "iufb" or X.ndim not in (2, 3):
    raise ValueError(
      f"{path}: X is {X.dtype}{list(X.shape)}; give numbers of shape [N, T, F], or [N, T]"
    )
  if y is not None:
    _check_labels(path, y, len(X))
  if len(X) == 0:
    raise ValueError(f"{path}: X has no series; give at least one")
  values = X.astype(np.float64)[..., None] if X.ndim == 2 else X.astype(np.float64)
  if 0 in values.shape[1:]:
    raise ValueError(f"{path}: X is {list(X.shape)}, without a step or channel; give at least one")
  ends, notes = _find_ends(path, values, lengths)
  rows = tuple(value[:end] for value, end in zip(values, ends, strict=True))
  for i, row in enumerate(rows):
    if len(row) == 0:
      raise ValueError(f"{path}, row {i}: the series has no steps; remove it")
    if np.isinf(row).any():
      raise ValueError(f"{path}, row {i}: there is an infinite value; correct it")
  names = tuple(f"row {i}" for i in range(len(X)))
  labels = ("",) * len(X)
  if y is not None:
    labels = tuple(_to_text(label, f"{path}, row {i}") for i, label in enumerate(y.tolist()))
  channels = tuple(f"channel {i + 1}" for i in range(values.shape[2]))
  return SeriesFile(path, rows, labels, names, names, channels, notes)


def _check_labels(path: pathlib.Path, y: np.ndarray, number: int) -> None:
  """Raises ValueError if labels are no `[N]` numbers or text."""
  if y.ndim != 1 or y.dtype.kind not in "iufbUS":
    raise ValueError(f"{path}: y is {y.dtype}{list(y.shape)}; give numbers or text of shape [N]")
  if len(y) != number:
    raise ValueError(f"{path}: X has {number} series, y {len(y)} labels; give as many")


def _find_ends(
  path: pathlib.Path, values: np.ndarray, lengths: np.ndarray | None
) -> tuple[np.ndarray, tuple[str, ...]]:
  """Returns the length `[N]` of each series in values `[N, T, F]`, and notes."""
  steps = values.shape[1]
  if lengths is None:
    there = ~np.isnan(values).all(axis=2)
    ends = np.where(there.any(axis=1), steps - there[:, ::-1].argmax(axis=1), 0)
    padded = int(np.sum(ends < steps))
    if not padded:
      return ends, ()
    note = f"{path.name}: {padded} series end in steps that are NaN throughout: taken for padding"
    return ends, (note,)
  if lengths.shape != (len(values),) or lengths.dtype.kind not in "iu":
    raise ValueError(
      f"{path}: lengths is {lengths.dtype}{list(lengths.shape)}; give a whole number for each of "
      f"the {len(values)} series"
    )
  wrong = np.flatnonzero((lengths < 1) | (lengths > steps))
  if wrong.size:
    swapped = steps < lengths.max() <= values.shape[2]
    hint = "; X looks like [N, F, T], so give X.swapaxes(1, 2)" if swapped else ""
    raise ValueError(
      f"{path}, row {wrong[0]}: the length is {lengths[wrong[0]]}; it has to lie in 1..{steps}, "
      f"the steps of X{hint}"
    )
  return lengths, ()


def _to_text(label: Any, where: str) -> str:
  try:
    text = (label.decode() if isinstance(label, bytes) else str(label)).strip()
  except UnicodeDecodeError as error:
    raise ValueError(f"{where}: the label {label!r} is no UTF-8; give text") from error
  check_label(text, where)
  return text


def _load(path: pathlib.Path, names: Sequence[str]) -> Any:
  """Loads an array, or the arrays of an `.npz` by name; of those not among `names`, None.

  Pickled objects are refused, since reading them runs their code.
  """
  reading = ""
  try:
    with open(path, "rb") as file:
      if not file.read(1):
        raise ValueError("it is empty")
      file.seek(0)
      stored = np.load(file, allow_pickle=False)
      if not isinstance(stored, np.lib.npyio.NpzFile):
        return stored
      arrays = {}
      for name in stored.files:
        reading = f" array {name!r}"
        arrays[name] = stored[name] if name in names else None
        if isinstance(arrays[name], bytes):
          raise ValueError("it is no array of NumPy")
      return arrays
  except OSError as error:
    reason = error.strerror or error
    raise ValueError(f"{path} cannot be read ({reason}); give a file of np.savez") from error
  except MemoryError as error:
    raise ValueError(f"{path}:{reading} does not fit in memory; give fewer steps") from error
  except Exception as error:  # whatever a damaged file makes of the reader
    if "allow_pickle" in str(error):
      raise ValueError(
        f"{path}:{reading} holds objects, or is no file of NumPy; give arrays of numbers or text, "
        "padded to one length, with `lengths`"
      ) from error
    raise ValueError(
      f"{path}:{reading} cannot be read ({error}); write it anew with np.savez"
    ) from error

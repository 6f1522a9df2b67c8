"""Reads examples.npz of a run: the sequences that its pictures show."""

import pathlib

import numpy as np


def read_examples(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns the arrays of an npz file, by name; nothing in it is unpickled.

  Args:
    path: of the file.

  Raises:
    ValueError: it is damaged, or holds something else than arrays of numbers and text.
  """
  try:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
      return dict(archive)
  except Exception as error:  # whatever a damaged file makes of the reader
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    raise ValueError(
      f"{path} is damaged ({reason}); the command of the run makes it again"
    ) from error

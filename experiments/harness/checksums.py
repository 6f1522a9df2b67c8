"""SHA-256 of every file of every checkpoint of a run: a flipped bit is a fault that is seen.

Orbax has no such sums, and a flipped bit in parameters reads as other parameters. They lie beside
the checkpoints, in `checkpoints.json`, so that one that was deleted is missed too.
"""

import hashlib
import json
import pathlib
from collections.abc import Sequence

from experiments.harness.workdir import write_json


class Checksums:
  """The sums of the checkpoints in a folder.

  Args:
    folder: of the checkpoints, one folder for each, named by its step.

  Attributes:
    damage: a line for the user if the file of the sums was damaged, else None.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    self._path = folder.with_name(f"{folder.name}.json")
    self.damage: str | None = None
    try:
      text = json.loads(self._path.read_bytes()) if self._path.exists() else {}
      self._sums = {int(step): dict(sums) for step, sums in text.items()}
    except (OSError, ValueError, AttributeError, TypeError):
      self._sums = {}
      self.damage = f"{self._path} is damaged: checkpoints are read without a check of their sums"

  @property
  def steps(self) -> set[int]:
    """Of the checkpoints that have sums."""
    return set(self._sums)

  def find_damage(self, step: int) -> str | None:
    """Names a file of a checkpoint that is missing or altered; None if all are as they were.

    Args:
      step: of a checkpoint that has sums.
    """
    for name, expected in self._sums[step].items():
      path = self._folder / str(step) / name
      try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
          return f"{path} was altered"
      except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return None

  def take(self, steps: Sequence[int]) -> None:
    """Takes the sums of finished checkpoints that have none, and drops those of all others.

    Args:
      steps: of all finished checkpoints.

    Raises:
      OSError: they cannot be read, or the sums cannot be written.
    """
    if self.steps == set(steps):
      return
    self._sums = {step: self._sums.get(step) or self._sum(step) for step in steps}
    write_json(self._path, self._sums)

  def _sum(self, step: int) -> dict[str, str]:
    root = self._folder / str(step)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
    return {str(path.relative_to(root)): digest(path) for path in files}

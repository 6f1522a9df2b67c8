"""The folder of a run: config, lines of metrics, result; written so that a kill is safe."""

import contextlib
import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from deploy.run_files import read_json, write_whole
from experiments.harness.circumstances import describe_machine, describe_numerics, list_starts
from experiments.harness.fingerprint import list_differences
from experiments.harness.lock import Lock
from experiments.harness.settings import FREE_FLAGS

LENGTHS = {"epochs", "num_examples"}  # flags that say how long to train

# `axes` of results from before tasks handed them over: all images were MNIST's, all audio was
# one-second clips at 16 kHz, of which the window of the first step's last frame ends at 0.2125 s.
AXES_BEFORE = {
  "image_shape": [28, 28],
  "sample_rate": 16_000,
  "clip_s": 1.0,
  "first_heard_s": 0.2125,
}


class Workdir:
  """Opens, or makes, the folder of one run, and holds it until it is closed.

  Args:
    path: of the folder.
    experiment: its name.
    flags: every flag's value.
    flag_defaults: every flag's default, which a run had whose config is older than the flag.
    data: of `identify_data`; None where the data is not to be compared.
    data_notes: lines about the data, to be kept beside the circumstances of this start.

  Attributes:
    path: of the folder.
    notes: lines about the state of the folder that a user should see.

  Raises:
    ValueError: the path is a file, cannot be written, is in use by another process, or holds a run
      of another experiment, with other settings or on other data; nothing in it is touched then.
  """

  def __init__(
    self,
    path: str,
    experiment: str,
    flags: dict[str, Any],
    flag_defaults: dict[str, Any],
    data: dict[str, Any] | None = None,
    data_notes: Sequence[str] = (),
  ):
    self.path = pathlib.Path(path)
    self.notes: list[str] = []
    if self.path.exists() and not self.path.is_dir():
      raise ValueError(f"--workdir={path} is a file; name a folder")
    self._config = config = {"experiment": experiment, "flags": flags} | describe_machine()
    config["numerics"] = describe_numerics()
    config |= {} if data is None else {"data": to_plain(data)}
    self._refuse_other_run(path, config, flag_defaults)
    try:
      (self.path / "figures").mkdir(parents=True, exist_ok=True)
      self._lock = Lock(self.path)
      try:
        old = self._refuse_other_run(path, config, flag_defaults)  # one that began meanwhile
        config["starts"] = list_starts(old, config, [*data_notes, *self.notes])
        if old is not None and "data" in old:
          config.setdefault("data", old["data"])
        write_json(self.path / "config.json", config)
      except BaseException:
        self.close()
        raise
    except OSError as error:
      raise ValueError(f"--workdir={path} cannot be written: {error.strerror}") from error
    self.notes += [self._lock.note] if self._lock.note else []

  def close(self) -> None:
    """Lets another process use the folder."""
    self._lock.close()

  def _refuse_other_run(
    self, path: str, config: dict[str, Any], flag_defaults: dict[str, Any]
  ) -> dict[str, Any] | None:
    """Raises ValueError if the folder holds another run than `config`'s; returns its config."""
    self.notes.clear()
    old = read_config(self.path)
    if old is not None:
      _refuse_other(path, old, config, flag_defaults)
      self._compare_data(path, old, config)
    elif (self.path / "checkpoints").exists():
      raise ValueError(
        f"--workdir={path} has checkpoints but no config.json; choose another folder"
      )
    return old

  def add_notes(self, notes: Sequence[str]) -> None:
    """Keeps more lines beside the circumstances of this start, and shows them to the user."""
    self.notes += notes
    if notes and (config := read_config(self.path)):
      self._config = config
      config["starts"][-1]["notes"] += notes
      with self.naming_failure():
        write_json(self.path / "config.json", config)

  def _compare_data(self, path: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raises ValueError if the run in the folder has other data; says so if that is not known."""
    if "data" not in new:
      return
    if "data" not in old:
      self.notes.append(
        f"--workdir={path} is from before config.json described the data of a run: whether the "
        "data is still the same was not checked"
      )
    elif differences := list_differences(old["data"], new["data"]):
      raise ValueError(
        f"--workdir={path} holds a run on other data ({'; '.join(differences)}); choose another "
        "--workdir, or give it the old data again"
      )

  @contextlib.contextmanager
  def naming_failure(self) -> Iterator[None]:
    """Says where and what next if the code inside cannot write a file of the run.

    Raises:
      ValueError: in place of an OSError.
    """
    try:
      yield
    except OSError as error:
      if not self.path.exists():
        gone = f"--workdir={self.path} was removed while its run went on; choose one that stays"
        raise ValueError(gone) from error
      raise ValueError(
        f"--workdir={self.path} cannot be written: {error.strerror or error}; checkpoints from "
        "before are unharmed: once that is mended, the same command goes on"
      ) from error

  def append_metrics(self, line: dict[str, Any]) -> None:
    """Adds a line to metrics.jsonl; config.json is written again if somebody has removed it.

    Raises:
      ValueError: it cannot be written.
    """
    with self.naming_failure():
      with open(self.path / "metrics.jsonl", "a") as file:
        file.write(json.dumps(to_plain(line), allow_nan=False) + "\n")
      if not (self.path / "config.json").exists():
        write_json(self.path / "config.json", self._config)

  def rewind_metrics(self, step: int, every: int) -> None:
    """Drops the lines after `step`: a run that was killed goes on from its last checkpoint.

    Where earlier ones are missing or damaged, it adds a note: they are lost.

    Args:
      step: of the checkpoint.
      every: updates between validations, each of which has left a line.
    """
    path = self.path / "metrics.jsonl"
    kept = []
    with contextlib.suppress(FileNotFoundError):
      kept = [line for line in read_metrics(self.path) if line["step"] <= step]
    if lost := step // every - sum(line["step"] % every == 0 for line in kept):
      text = f"{path} lacks {lost} of {step // every} lines, damaged or missing"
      self.add_notes([f"{text}: figures and reports of this run leave them out"])
    if step or path.exists():
      with self.naming_failure():
        write_text(path, "".join(json.dumps(to_plain(line)) + "\n" for line in kept))


def read_metrics(path: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the lines of metrics.jsonl that can be read; a kill may have cut the last one short.

  Args:
    path: folder of the run.

  Raises:
    OSError: it has no such file.
  """
  lines = []
  for text in (path / "metrics.jsonl").read_bytes().splitlines():
    with contextlib.suppress(ValueError):
      line = json.loads(text)
      if isinstance(line, dict) and isinstance(line.get("step"), int):
        lines.append(line)
  return lines


def find_validation(path: pathlib.Path, step: int) -> dict[str, Any] | None:
  """Returns the line of metrics.jsonl after so many updates; None where it is lost.

  Args:
    path: folder of the run.
    step: number of updates.

  Raises:
    OSError: there is no metrics.jsonl.
  """
  return next((line for line in read_metrics(path) if line["step"] == step), None)


def read_config(folder: pathlib.Path) -> dict[str, Any] | None:
  """Returns the config of the run that a folder holds, or None.

  Raises:
    ValueError: the file is damaged.
  """
  path = folder / "config.json"
  if not path.exists():
    return None
  config = read_json(path, "put a copy in its place, or choose another --workdir")
  if not isinstance(config.get("flags"), dict):
    raise ValueError(
      f"{path} is damaged: it has no flags; put a copy in its place, or choose another --workdir"
    )
  return config


def read_result(path: pathlib.Path) -> dict[str, Any]:
  """Returns result.json; what a file lacks that is older than a field is filled in.

  Args:
    path: folder of the run.

  Raises:
    OSError: it has no such file.
    ValueError: the file is damaged.
  """
  return {"axes": AXES_BEFORE} | read_json(
    path / "result.json", "the command of the run makes it again"
  )


def write_json(path: pathlib.Path, value: Any) -> None:
  """Writes JSON atomically."""
  write_text(path, json.dumps(to_plain(value), indent=2, allow_nan=False) + "\n")


def write_text(path: pathlib.Path, text: str) -> None:
  """Writes a file whole or not at all."""
  write_whole(path, text.encode())


def to_plain(value: Any) -> Any:
  """Turns NumPy and JAX values in dicts, lists and tuples into JSON values.

  NaN and infinities, which JSON does not have, become null.
  """
  if isinstance(value, dict):
    return {str(k): to_plain(v) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return [to_plain(v) for v in value]
  if isinstance(value, np.ndarray | np.generic | jax.Array):
    return to_plain(np.asarray(value).tolist())
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def _refuse_other(
  path: str, old: dict[str, Any], new: dict[str, Any], flag_defaults: dict[str, Any]
) -> None:
  """Raises ValueError, with the difference, if a folder holds another run.

  Args:
    path: of the folder, for the message.
    old: its config.
    new: config of the run that is to use it.
    flag_defaults: what a run had of the flags that its config does not know.
  """
  if old.get("experiment") != new["experiment"]:
    raise ValueError(
      f"--workdir={path} holds a run of {old.get('experiment')}; choose another --workdir"
    )
  after = to_plain(new["flags"])
  before = {
    **{name: to_plain(flag_defaults.get(name)) for name in new["flags"]},
    **old.get("flags", {}),
  }
  # What a run from before did not write down is not compared.
  for name, value in new.get("numerics", {}).items():
    after[name.upper()], before[name.upper()] = value, old.get("numerics", {}).get(name, value)
  # A schedule falls over the whole training, whose length then cannot change.
  free = set(FREE_FLAGS) - (LENGTHS if after.get("schedule") == "cosine" else set())
  names = [n for n in {**before, **after} if n not in free and before.get(n) != after.get(n)]
  if names:
    difference = ", ".join(f"{n} was {before.get(n)!r}, is {after.get(n)!r}" for n in sorted(names))
    raise ValueError(
      f"--workdir={path} holds a run with other settings ({difference}); choose another --workdir"
    )

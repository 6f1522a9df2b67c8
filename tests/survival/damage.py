"""Every file of a half-done run, damaged in every way, and the same command given again."""

import collections
import contextlib
import io
import os
import random
import shutil
import traceback
from typing import NamedTuple
from unittest import mock

from experiments import temporal_mnist
from experiments.harness import figures, run_state
from tests.running import FAST, run
from tests.survival.ends import list_differences, read_end

GIVEN = FAST | {"engine": "full", "batch_size": "320", "beta": "0.3", "learning_rate": "0.03"}
GIVEN |= {"dataset": "digits"}
GOOD = ("as undisturbed", "named loss", "one sentence")
FAULTS = ("traceback", "silent restart", "silently different")


class Case(NamedTuple):
  """What came of one damage.

  Attributes:
    file: relative to the workdir.
    damage: its name.
    outcome: one of `GOOD` or `FAULTS`.
    said: the sentence, the notes, or the traceback.
  """

  file: str
  damage: str
  outcome: str
  said: str


def flip(path, rng):
  """Flips one bit."""
  data = bytearray(path.read_bytes())
  if data:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
  path.write_bytes(data)


def truncate(path, rng):
  """Cuts the file off."""
  os.truncate(path, rng.randrange(max(1, path.stat().st_size)))


def empty(path, rng):
  """Leaves nothing in it."""
  os.truncate(path, 0)


def delete(path, rng):
  """Takes it away."""
  path.unlink()


def make_folder(path, rng):
  """Puts a folder in its place."""
  path.unlink()
  path.mkdir()


DAMAGES = (flip, truncate, empty, delete, make_folder)


def damage_all(root, seed, most=None):
  """Damages a half-done run in every way and goes on with it; yields a `Case` for each.

  Args:
    root: an empty folder for the runs.
    seed: of the bits and lengths.
    most: number of cases, drawn at random; None means all.
  """
  half, whole = root / "half", root / "whole"
  for folder, epochs in ((half, "1"), (half, "2"), (whole, "1"), (whole, "2"), (whole, "4")):
    go_on(folder, epochs)
  for name in ("result.json", "report.md", "params.msgpack", "model.json", "examples.npz"):
    (half / name).unlink()  # of the end of the first two epochs: this run is to have had none
  expected = read_end(whole)
  files = sorted(str(p.relative_to(half)) for p in half.rglob("*") if p.is_file())
  cases, rng = [(file, damage) for file in files for damage in DAMAGES], random.Random(seed)
  for file, damage in cases if most is None else rng.sample(cases, min(most, len(cases))):
    folder = root / "run"
    shutil.copytree(half, folder)
    damage(folder / file, rng)
    yield Case(file, damage.__name__, *_judge(folder, expected))
    shutil.rmtree(folder)


def go_on(folder, epochs="4"):
  """Gives the command; returns the update from which it went on, and what it said of that.

  Raises:
    Exception: whatever the command raises.
  """
  begun = []
  restore = run_state.RunState._restore

  def restore_and_tell(self):
    restore(self)
    begun.append(self.step)

  with (
    mock.patch.object(run_state.RunState, "_restore", restore_and_tell),
    mock.patch.object(figures, "draw_all", lambda *given, **named: []),
    contextlib.redirect_stdout(io.StringIO()),
    contextlib.redirect_stderr(io.StringIO()) as said,
  ):
    status = run(temporal_mnist, folder, **GIVEN, epochs=epochs)
  if status != 0:
    raise RuntimeError(f"status {status}")
  return begun[0], said.getvalue()


def _judge(folder, expected):
  """Goes on with a damaged run: returns the outcome and what was said."""
  try:
    begun, said = go_on(folder)
    end = read_end(folder)
  except (ValueError, OSError) as error:
    text = str(error)
    good = "\n" not in text and str(folder) in text
    return ("one sentence", text) if good else ("traceback", traceback.format_exc(limit=-8))
  except Exception:
    return "traceback", traceback.format_exc(limit=-8)
  if begun == 0:
    return "silent restart", said
  differences = list_differences(end, expected)
  if not differences:
    return "as undisturbed", said
  told = differences == ["metrics"] and "metrics.jsonl lacks" in said
  return ("named loss" if told else "silently different"), f"{differences} {said}"


def report(cases):
  """Prints the tally and the faults of cases as they come, and returns the faults."""
  counts, faults = collections.Counter(), []
  for case in cases:
    counts[case.outcome] += 1
    if case.outcome in FAULTS:
      faults.append(case)
      print(f"{case.outcome}: {case.damage} of {case.file}: {case.said}", flush=True)
  print(f"{sum(counts.values()):6d}  damages")
  for outcome in (*GOOD, *FAULTS):
    print(f"{counts[outcome]:6d}  {outcome}")
  return faults

"""What has been run: each training as it is read in each way, from the files of its runs."""

import pathlib
from typing import NamedTuple

import numpy as np

from data_pipelines import two_sequence
from deploy.run_files import read_json
from experiments.harness.workdir import write_json
from experiments.reproduce.results import Done, read_done
from experiments.rivals.curves import Curve
from experiments.rivals.records import TRAININGS, label_of


class Method(NamedTuple):
  """A training that is read in one way.

  Attributes:
    label: what the page calls it.
    seeds: its runs.
    curves: one a seed.
    chances: accuracy of a guess, one a seed.
    steps: of patience, those that were chosen, one a seed; else empty.
  """

  label: str
  seeds: list[Done]
  curves: list[Curve]
  chances: list[float]
  steps: list[int]


def read_methods(folder: pathlib.Path) -> list[Method]:
  """Reads the runs under `folder/OBJECTIVE/SEED` that have ended, as each is read."""
  methods = []
  for name, training in TRAININGS.items():
    numbers = [path.parent.name for path in (folder / name).glob("*/result.json")]
    seeds = sorted(int(number) for number in numbers if number.isdigit())
    done = [read_done(folder / name / str(seed), seed) for seed in seeds]
    for reading in training.readings if done else ():
      read = [one.result["curves"][reading] for one in done]
      curves = [Curve(np.asarray(r["time"]), np.asarray(r["accuracy"])) for r in read]
      steps = [r["steps"] for r in read if "steps" in r]
      chances = [r["chance"] for r in read]
      methods.append(Method(label_of(name, reading), done, curves, chances, steps))
  return methods


def find_optimum(folder: pathlib.Path) -> Curve:
  """The best that any stopping rule reaches on the 2-sequence problem; kept in a file."""
  path = folder / "two_sequence" / "optimum.json"
  if not path.exists():
    best = two_sequence.optimum(np.geomspace(1e-5, 0.3, 60))
    time = np.asarray(best.mean_spike_step) / two_sequence.NUM_STEPS
    write_json(path, {"time": time, "accuracy": np.asarray(best.accuracy)})
  read = read_json(path, "delete it")
  return Curve(np.asarray(read["time"]), np.asarray(read["accuracy"]))

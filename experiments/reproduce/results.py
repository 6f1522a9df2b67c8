"""Finished runs, as their files tell of them."""

import pathlib
from typing import Any, NamedTuple

import numpy as np

from deploy.run_files import read_json
from experiments.harness.examples import read_examples
from experiments.harness.workdir import read_metrics, read_result

Result = dict[str, Any]


class Done(NamedTuple):
  """A finished run, from its files.

  Attributes:
    seed: of it.
    config: config.json.
    result: result.json.
    metrics: lines of metrics.jsonl.
    examples: arrays of examples.npz; empty where the run has none.
  """

  seed: int
  config: dict[str, Any]
  result: Result
  metrics: list[dict[str, Any]]
  examples: dict[str, np.ndarray]


Runs = dict[str, list[Done]]  # by name, the seeds of each in order


def read_done(workdir: pathlib.Path, seed: int) -> Done:
  """Reads a finished run.

  Args:
    workdir: of the run.
    seed: of it.

  Raises:
    OSError: a file is missing.
    ValueError: a file is damaged.
  """
  config = read_json(workdir / "config.json", "put a copy in its place")
  path = workdir / "examples.npz"
  examples = read_examples(path) if path.exists() else {}
  return Done(seed, config, read_result(workdir), read_metrics(workdir), examples)

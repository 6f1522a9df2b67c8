"""Runs of the binaries as a user types them, and what two runs are compared by."""

import json

from absl.testing import flagsaver

from experiments import spotting, temporal_mnist, two_sequence
from experiments.harness.flags import read_settings
from experiments.harness.workdir import read_metrics

FAST = {"batch_size": "32", "units": "8", "progress": "false"}
BINARIES = {
  "spotting": (spotting, {"num_examples": "1600", "num_test": "1000"}),
  "two_sequence": (two_sequence, {"num_examples": "1600", "num_test": "1000"}),
  "temporal_mnist": (temporal_mnist, {"epochs": "1", "dataset": "digits"}),
}


def run(module, folder, **given):
  """Runs a binary's main with flags as strings."""
  with flagsaver.as_parsed(workdir=str(folder), **(FAST | given)):
    return module.main()


def set_up(module, **given):
  """The task and the settings of a binary, from flags as strings."""
  with flagsaver.as_parsed(**given):
    settings = read_settings(module.EXPERIMENT)
  return module.setup(settings), settings


def mnist_setup(**given):
  """The same of temporal_mnist on its smallest data."""
  return set_up(temporal_mnist, dataset="digits", **(FAST | given))


def lines(folder):
  """metrics.jsonl without the times, which no two runs share."""
  return [
    {k: v for k, v in line.items() if k not in ("seconds", "update_ms")}
    for line in read_metrics(folder)
  ]


def read_json(folder, name="result.json"):
  """A JSON file of a run."""
  return json.loads((folder / name).read_text())

"""Runs of the binaries as a user types them, and what two runs are compared by."""

import functools
import json

from absl.testing import flagsaver

from experiments import speech, spotting, temporal_mnist, two_sequence
from experiments.harness import joint
from experiments.harness.flags import read_settings
from experiments.harness.updates import choose_task_engine
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


def share_programs(patch):
  """Lets runs of one process share their task and update where their flags make the same of both.

  Each run still begins from its files. That a run makes the same task anew, tests without this and
  those that start processes show.
  """
  for module in (speech, spotting, temporal_mnist, two_sequence):
    patch.setattr(module, "setup", functools.partial(_set_up_once, module.setup))
  patch.setattr(joint, "make_update", functools.partial(_make_update_once, joint.make_update))


_TASKS, _UPDATES = {}, {}


def _set_up_once(setup, settings):
  key = (setup, _identify(settings))
  if key not in _TASKS:
    _TASKS[key] = setup(settings)
  return _TASKS[key]


def _make_update_once(make_update, task, settings, beta=None):
  if beta is not None:  # of a member of a population, traced
    return make_update(task, settings, beta)
  amount = settings.amount if settings.schedule != "constant" else None
  own = (settings.devices, amount, choose_task_engine(task, settings))
  key = (task.classifier, task.fetch, task.make_steps, _identify(settings), *own)
  if key not in _UPDATES:
    _UPDATES[key] = make_update(task, settings, beta)
  return _UPDATES[key]


def _identify(settings):
  """The flags that decide about a task, and but for the devices and the amount its update."""
  free = ("workdir", "epochs", "num_examples", "early_stop", "devices")
  return repr({name: value for name, value in settings.flags.items() if name not in free})

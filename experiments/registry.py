"""The experiments by name, for the commands whose first argument is one of them."""

import importlib
import pathlib
import sys
from collections.abc import Callable
from typing import Protocol, cast

from experiments.harness.flags import run_main
from experiments.harness.settings import Experiment, Settings
from experiments.harness.task import Task

EXPERIMENTS = ("spotting", "two_sequence", "temporal_mnist", "speech", "series")  # modules here


class Binary(Protocol):
  """What the module of an experiment offers.

  Attributes:
    EXPERIMENT: its name, its flags and their defaults.
    setup: makes the task that the settings describe.
  """

  EXPERIMENT: Experiment

  @staticmethod
  def setup(settings: Settings) -> Task:
    """Makes the task that the settings describe."""


def load_binary(name: str) -> Binary:
  """Imports the module of one of EXPERIMENTS, which defines its flags.

  Args:
    name: one of EXPERIMENTS.

  Raises:
    ValueError: another name.
  """
  if name not in EXPERIMENTS:
    raise ValueError(f"the experiment is {name!r}; name one of {', '.join(EXPERIMENTS)}")
  return cast(Binary, importlib.import_module(f"experiments.{name}"))


def run_command(main: Callable[[str], int]) -> None:
  """Runs a command whose first argument is an experiment, with the flags of both.

  Args:
    main: called with the experiment's name once the flags are parsed; returns the exit status.
  """
  name = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1][0] != "-" else ""
  if not name and {"--help", "--helpfull"} & set(sys.argv):
    run_main(lambda: 0)
  if name not in EXPERIMENTS:
    print(
      f"error: the experiment is {name!r}; name one of {', '.join(EXPERIMENTS)} first, as in "
      f"`python -m experiments.{pathlib.Path(sys.argv[0]).stem} {EXPERIMENTS[0]}`",
      file=sys.stderr,
    )
    sys.exit(2)
  load_binary(name)
  run_main(lambda: main(name))

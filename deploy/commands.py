"""What the commands of this package share."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from data_pipelines import speech
from deploy.front_end import make_front_end
from deploy.run_files import Run, load_run
from deploy.spotter import Spotter, make_spotter


def load_speech_run(workdir: str) -> Run:
  """Loads a run that decides about sound as it arrives.

  Raises:
    ValueError: as `load_run`; or a run of another task, or of a network of whole clips.
  """
  run = load_run(workdir)
  if run.experiment != "speech":
    raise ValueError(
      f"{workdir} is a run of {run.experiment}, which hears nothing; give one of experiments.speech"
    )
  if run.model.constructor == "cnn":
    raise ValueError(
      f"{workdir} is a network of whole clips (--model=cnn), which cannot decide while it listens; "
      "give a run of --model=lstm or dense_lstm"
    )
  return run


def make_run_spotter(run: Run, theta: float | None = None, **options: Any) -> Spotter:
  """Makes the spotter of a run; `theta` None is the run's, options are those of `make_spotter`.

  Raises:
    ValueError: as `make_spotter`.
  """
  return make_spotter(
    run.classifier,
    run.params,
    run.class_names,
    run.theta if theta is None else theta,
    make_front_end(run.statistics["mean"], run.statistics["std"]),
    **options,
  )


def add_run(parser: argparse.ArgumentParser) -> None:
  """Adds the run and the threshold to a command's arguments."""
  parser.add_argument("run", metavar="RUN", help="the --workdir of a run of experiments.speech")
  parser.add_argument("--theta", type=float, help="threshold; default: the run's, or calibrated")


def add_policy(parser: argparse.ArgumentParser) -> None:
  """Adds what a spotter makes of decisions to a command's arguments."""
  parser.add_argument("--refractory", type=float, default=0.5, help="seconds between two events")
  parser.add_argument("--patience", type=int, default=1, help="steps on end that must be sure")
  parser.add_argument("--timeout", type=float, help="seconds undecided before it begins anew")


def add_data(parser: argparse.ArgumentParser, split: str = "test") -> None:
  """Adds a data set of words to a command's arguments."""
  parser.add_argument("--dataset", choices=speech.DATASETS, default="folder", help="of the clips")
  parser.add_argument("--data_dir", help="folder of the data set")
  parser.add_argument("--cache_dir", help="of decoded audio")
  parser.add_argument("--split", choices=("train", "validation", "test"), default=split)


def run_command(main: Callable[[], int]) -> None:
  """Runs a command and exits: with its status, or with 2 and one sentence on bad input."""
  try:
    sys.exit(main())
  except ValueError as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
  except BrokenPipeError:  # `| head` has seen enough
    sys.stderr.close()
    sys.exit(0)
  except KeyboardInterrupt:
    sys.exit(130)

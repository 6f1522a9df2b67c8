"""What the commands of this package share."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from data_pipelines import speech
from deploy.front_end import check_statistics, make_front_end
from deploy.rule import Rule, check_rule
from deploy.run_files import Run, load_run, with_unknown_bias
from deploy.spotter import Spotter, make_spotter

KINDS = ("keywords", "unknown", "all", "sentences")  # of what a long recording is made


def load_speech_run(workdir: str, *, calibrated: bool = True) -> Run:
  """Loads a run that decides about sound as it arrives; the arguments are those of `load_run`.

  Raises:
    ValueError: as `load_run`; or a run of another task, or of a network of whole clips.
  """
  return check_speech_run(load_run(workdir, calibrated=calibrated), workdir)


def check_speech_run(run: Run, workdir: str, wanted: str = "experiments.speech") -> Run:
  """Returns a run with its statistics as arrays of float32.

  Args:
    run: any.
    workdir: its folder, for messages.
    wanted: of which experiments a run may be, for messages.

  Raises:
    ValueError: a run of another task, or of a network of whole clips.
  """
  if run.experiment != "speech":
    raise ValueError(f"{workdir} is a run of {run.experiment}; give one of {wanted}")
  if run.model.constructor == "cnn":
    raise ValueError(
      f"{workdir} is a network of whole clips (--model=cnn), which cannot decide while it listens; "
      "give a run of --model=lstm or dense_lstm"
    )
  try:
    mean, std = check_statistics(run.statistics.get("mean"), run.statistics.get("std"))
  except (TypeError, ValueError) as error:
    raise ValueError(
      f"the statistics in {workdir} are damaged ({error}); train the run again"
    ) from error
  return run._replace(statistics={"mean": mean, "std": std})


def make_run_spotter(run: Run, rule: Rule | None = None, **options: Any) -> Spotter:
  """Makes the spotter of a run.

  Args:
    run: of speech.
    rule: when it decides; None: the run's own.
    **options: further ones of `make_spotter`.

  Raises:
    ValueError: as `make_spotter`.
  """
  theta, patience, refractory_s = run.rule if rule is None else rule
  return make_spotter(
    run.classifier,
    run.params,
    run.class_names,
    theta,
    make_front_end(run.statistics["mean"], run.statistics["std"]),
    patience=patience,
    refractory_s=refractory_s,
    **options,
  )


def add_run(parser: argparse.ArgumentParser, *, of: str = "experiments.speech") -> None:
  """Adds the run, and when it is sure, to a command's arguments.

  Args:
    parser: of the command.
    of: which experiment it is a run of.
  """
  add_folder(parser, of)
  parser.add_argument("--theta", type=float, help="threshold; default: the run's, or calibrated")
  parser.add_argument(
    "--patience", type=int, help="steps on end that must reach theta; default: 1, or calibrated"
  )
  add_unknown_bias(parser)


def add_folder(parser: argparse.ArgumentParser, of: str) -> None:
  """Adds the folder of a run of these experiments to a command's arguments."""
  # A shell expands no ~ that stands in quotes.
  expand = os.path.expanduser
  parser.add_argument("run", metavar="RUN", type=expand, help=f"the --workdir of a run of {of}")


def add_unknown_bias(parser: argparse.ArgumentParser) -> None:
  """Adds how readily `unknown` is said to a command's arguments."""
  parser.add_argument(
    "--unknown_bias",
    type=float,
    metavar="NATS",
    help="added to the logit of `unknown`: below 0 finds more keywords, with more false alarms; "
    "default: 0, or calibrated",
  )


def add_refractory(parser: argparse.ArgumentParser) -> None:
  """Adds the refractory time of events to a command's arguments."""
  parser.add_argument(
    "--refractory", type=float, help="seconds between two events; default: 0.5, or calibrated"
  )


def with_arguments(run: Run, given: argparse.Namespace) -> Run:
  """Makes the run whose rule and bias are those of the arguments, where they give some.

  Raises:
    ValueError: a value out of its range.
  """
  said = {"theta": "theta", "patience": "patience", "refractory": "refractory_s"}
  changes = {field: getattr(given, flag, None) for flag, field in said.items()}
  rule = run.rule._replace(**{k: v for k, v in changes.items() if v is not None})
  check_rule(rule, len(run.class_names))
  nats = run.unknown_bias if given.unknown_bias is None else given.unknown_bias
  return with_unknown_bias(run._replace(rule=rule), nats)


def add_policy(parser: argparse.ArgumentParser) -> None:
  """Adds what a spotter makes of decisions to a command's arguments."""
  add_refractory(parser)
  parser.add_argument("--timeout", type=float, help="seconds undecided before it begins anew")


def add_recording(parser: argparse.ArgumentParser, *, of: str, seed: int) -> None:
  """Adds a recording, to be read or made, to a command's arguments.

  Args:
    parser: of the command.
    of: what a made recording consists of, by default.
    seed: of a made recording, by default.
  """
  parser.add_argument("--recording", help="a recording of any rate")
  parser.add_argument("--labels", metavar="FILE.tsv", help="start, end and word; none: no keyword")
  parser.add_argument("--synthesize", type=float, metavar="MINUTES", help="make a recording")
  parser.add_argument("--of", choices=KINDS, default=of, help="what a made one consists of")
  parser.add_argument("--gap_s", type=float, default=1.0, help="mean gap between clips")
  parser.add_argument("--snr_db", type=float, help="add noise at this ratio; default: none")
  parser.add_argument("--seed", type=int, default=seed)


def add_data(
  parser: argparse.ArgumentParser,
  split: str = "test",
  datasets: Sequence[str] = speech.DATASETS,
) -> None:
  """Adds a data set to a command's arguments: of words, or one of those that are named."""
  parser.add_argument("--dataset", choices=datasets, default="folder", help="default: folder")
  parser.add_argument("--data_dir", help="folder of the data set")
  parser.add_argument("--cache_dir", help="of decoded audio")
  parser.add_argument("--split", choices=("train", "validation", "test"), default=split)


def data_of(given: argparse.Namespace) -> dict[str, Any]:
  """Takes the data set out of the arguments of `add_data`, as `load_data` has it."""
  return {name: getattr(given, name) for name in ("dataset", "data_dir", "cache_dir")}


def load_data(run: Run, data: dict[str, Any], *, progress: bool = True) -> speech.Speech:
  """Loads a data set of a run's classes, split and cut as for its training.

  Args:
    run: of speech.
    data: `dataset`, `data_dir` and `cache_dir` of `speech.load`.
    progress: whether to show a progress bar.

  Raises:
    ValueError: as `speech.load`; or data that has other classes.
  """
  keywords: Any = [name for name in run.class_names if name != speech.UNKNOWN]
  if speech.UNKNOWN in run.class_names[:-1]:  # a folder of that name, in a run with --keywords=all
    keywords = "all"
  try:
    loaded = speech.load(keywords=keywords, progress=progress, **run.reading, **data)
  except TypeError as error:
    raise ValueError(
      f"the run read its data in a way that this version does not know ({error}); install the "
      "version that trained it, or a newer one"
    ) from error
  if loaded.class_names != run.class_names:
    raise ValueError(
      f"the data has the classes {', '.join(loaded.class_names)}, the run has "
      f"{', '.join(run.class_names)}; give the data that the run was trained on"
    )
  return loaded


def load_pyplot() -> Any:
  """Imports matplotlib's pyplot; raises ValueError where it is missing."""
  try:
    import matplotlib.pyplot as plt
  except ImportError as error:
    raise ValueError("--plot needs matplotlib: pip install matplotlib") from error
  return plt


def run_command(main: Callable[[], int | None]) -> None:
  """Runs a command and exits: with its status, or with 2 and one sentence on bad input."""
  try:
    sys.exit(main())
  except BrokenPipeError:  # `| head` has seen enough
    sys.stderr.close()
    sys.exit(0)
  except (ValueError, OSError) as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    sys.exit(130)

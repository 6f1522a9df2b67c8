"""Chooses the threshold of a run from held-out data, and writes it beside the run.

    python -m deploy.calibrate RUN --max_accuracy_loss=0.01 --data_dir=WORDS
    python -m deploy.calibrate RUN --max_mean_ms=600 --data_dir=WORDS
    python -m deploy.calibrate RUN --max_false_alarms_per_hour=1 --recording=A.wav --labels=A.tsv

The first promises, with `--confidence`, that a decision at the spike is wrong where the end of the
clip would have been right for at most that share of clips. The last promises the rate of false
alarms in sound such as the recording, with the `--patience` and `--refractory` given. These are
written, too, and `--unknown_bias`. `load_run` and every command then use them; delete
calibration.json for the threshold of the training.

Of a run of experiments.series, with the files of its training:

    python -m deploy.calibrate RUN --max_accuracy_loss=0.02 --data_dir=FOLDER
    python -m deploy.calibrate RUN --max_earliness=0.5 --data_dir=FOLDER

The second takes the highest threshold at which a decision comes, on average, after at most that
share of a series. Both read the series that the training held out; `--split=test` others.
"""

import argparse
import pathlib
from typing import Any

import numpy as np

from data_pipelines import series
from data_pipelines.speech import DATASETS, SAMPLE_RATE
from deploy.commands import (
  add_data,
  add_folder,
  add_recording,
  add_unknown_bias,
  check_speech_run,
  data_of,
  run_command,
  with_arguments,
)
from deploy.held_out import Readings, read_clips, read_series
from deploy.long_recordings import open_recording
from deploy.measure import measure
from deploy.run_files import Run, load_run, save_calibration
from deploy.series import check_series_run
from deploy.thresholds import choose_for_accuracy, choose_for_rate, choose_for_time, list_thetas

GOALS = ("max_accuracy_loss", "max_mean_ms", "max_earliness", "max_false_alarms_per_hour")
OF_SERIES = ("max_earliness", "train", "test")
OF_SOUND = (
  *("max_mean_ms", "max_false_alarms_per_hour", "patience", "refractory", "recording", "labels"),
  *("synthesize", "cache_dir"),
)


def main() -> int:
  """Calibrates and writes; returns the exit status."""
  given = _read_arguments()
  run = with_arguments(_load(given), given)
  thetas = list_thetas(len(run.class_names))
  if run.experiment == "series":
    theta, found = _calibrate_series(run, given, thetas)
  elif given.max_false_alarms_per_hour is not None:
    theta, found = _calibrate_rate(run, given, thetas)
  else:
    theta, found = _calibrate_clips(run, given, thetas)
  asked = {name: getattr(given, name) for name in GOALS if getattr(given, name) is not None}
  if run.unknown_bias:
    found["unknown_bias"] = run.unknown_bias
  calibration = {"theta": theta, "class_names": list(run.class_names), **asked, **found}
  try:
    save_calibration(pathlib.Path(given.run), calibration)
  except OSError as error:
    also = f" --patience={run.rule.patience} --unknown_bias={run.unknown_bias:g}"
    also += f" --refractory={found['refractory_s']}" if "refractory_s" in found else ""
    raise ValueError(
      f"calibration.json cannot be written into {given.run} ({error.strerror}); make the folder "
      f"writable, or give --theta={theta:.5f}{also} to each command"
    ) from error
  said = ", ".join(
    f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
    for name, value in found.items()
  )
  print(f"theta {theta:.5f} ({said}); written to {pathlib.Path(given.run) / 'calibration.json'}")
  return 0


def _load(given: argparse.Namespace) -> Run:
  """Loads the run; raises ValueError for one, or for flags, of another experiment."""
  run = load_run(given.run, calibrated=False)
  of_series = run.experiment == "series"
  for name in OF_SOUND if of_series else OF_SERIES:
    if getattr(given, name) is not None:
      kind = "sound" if of_series else "series"
      raise ValueError(f"--{name} is for {kind}; {given.run} is a run of {run.experiment}")
  if of_series:
    return check_series_run(run, given.run)
  return check_speech_run(run, given.run, "experiments.speech or experiments.series")


def _calibrate_series(
  run: Run, given: argparse.Namespace, thetas: np.ndarray
) -> tuple[float, dict[str, Any]]:
  """Returns the threshold for accuracy or earliness, and what it was found on."""
  most = given.max_earliness
  if most is not None and not 0 < most <= 1:
    raise ValueError(f"--max_earliness is {most}; it is a share of a series, so give 0 to 1")
  where = {name: getattr(given, name) for name in ("data_dir", "train", "test")}
  dataset = None if given.dataset == "folder" else given.dataset
  if dataset is not None and dataset not in series.PACKAGED:
    raise ValueError(f"--dataset={dataset} is of sound; {given.run} is a run of series")
  read = read_series(run, series.find_files(dataset=dataset, **where), given.split, thetas)
  theta, promise = _choose(thetas, read, given, most, "{:.3g} of a series")
  return theta, {**promise, **_describe(read, thetas == theta, given.split, "series", "earliness")}


def _calibrate_clips(
  run: Run, given: argparse.Namespace, thetas: np.ndarray
) -> tuple[float, dict[str, Any]]:
  """Returns the threshold for accuracy or time, and what it was found on."""
  if given.patience is not None or given.refractory is not None:
    raise ValueError(
      "accuracy and time are read at the first sure step of a clip; leave --patience and "
      "--refractory out, or give --max_false_alarms_per_hour"
    )
  if given.recording or given.synthesize:
    raise ValueError(
      "accuracy and time are read on clips; give --max_false_alarms_per_hour, or leave --recording "
      "and --synthesize out"
    )
  read = read_clips(run, data_of(given), given.split, thetas)
  theta, promise = _choose(thetas, read, given, given.max_mean_ms, "{:.0f} ms")
  return theta, {**promise, **_describe(read, thetas == theta, given.split, "clips", "mean_ms")}


def _choose(
  thetas: np.ndarray, read: Readings, given: argparse.Namespace, most: float | None, unit: str
) -> tuple[float, dict[str, float]]:
  """Returns the threshold for `most` of time if that is given, else for accuracy, and a promise."""
  if most is not None:
    return choose_for_time(thetas, read.seen, most, unit), {}
  loss, confidence = given.max_accuracy_loss, given.confidence
  return choose_for_accuracy(thetas, read.lost, loss, confidence), {"confidence": confidence}


def _describe(
  read: Readings, chosen: np.ndarray, split: str, examples: str, time: str
) -> dict[str, Any]:
  """What was found at the one threshold that is chosen `[K]` bool."""
  (at,) = np.flatnonzero(chosen)
  return {
    "split": split,
    examples: read.lost.shape[1],
    "accuracy": float(read.accuracy[at]),
    "eos_accuracy": read.eos_accuracy,
    time: float(read.seen[at]),
  }


def _calibrate_rate(
  run: Run, given: argparse.Namespace, thetas: np.ndarray
) -> tuple[float, dict[str, Any]]:
  """Returns the threshold for a rate of false alarms, and what it was found on."""
  samples, words = open_recording(run, given)
  hours = len(samples) / SAMPLE_RATE / 3600
  policy = {"patience": run.rule.patience, "refractory_s": run.rule.refractory_s}
  scores = measure(run, samples, words, thetas, progress=True)
  counts = np.array([one.false_alarms for one in scores])
  wanted = given.max_false_alarms_per_hour
  theta = choose_for_rate(thetas, counts, hours, wanted, given.confidence)
  at = int(np.flatnonzero(thetas == theta)[0])
  return theta, {
    "confidence": given.confidence,
    **policy,
    "hours": hours,
    "false_alarms": int(counts[at]),
    **({"recall": scores[at].recall} if scores[at].words else {}),
  }


def _read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m deploy.calibrate", description=(__doc__ or "").partition("\n")[0]
  )
  add_folder(parser, "experiments.speech or series")
  goal = parser.add_mutually_exclusive_group(required=True)
  goal.add_argument("--max_accuracy_loss", type=float, help="share of examples, against their end")
  goal.add_argument("--max_mean_ms", type=float, help="mean time heard until a decision")
  goal.add_argument("--max_earliness", type=float, help="mean share of a series until a decision")
  goal.add_argument("--max_false_alarms_per_hour", type=float, help="in sound as the recording")
  parser.add_argument("--confidence", type=float, default=0.95, help="of what is promised")
  add_data(parser, split="validation", datasets=(*DATASETS, *series.PACKAGED))
  parser.add_argument("--train", metavar="FILE", help="of series: the training file, with --test")
  parser.add_argument("--test", metavar="FILE", help="of series: the test file, or a new one")
  add_recording(parser, of="unknown", seed=2)
  parser.add_argument("--patience", type=int, help="steps on end that must be sure; default: 1")
  parser.add_argument("--refractory", type=float, help="seconds between two events; default: 0.5")
  add_unknown_bias(parser)
  return parser.parse_args()


if __name__ == "__main__":
  run_command(main)

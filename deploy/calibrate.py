"""Chooses the threshold of a run from held-out data, and writes it beside the run.

    python -m deploy.calibrate RUN --max_accuracy_loss=0.01 --data_dir=WORDS
    python -m deploy.calibrate RUN --max_mean_ms=600 --data_dir=WORDS
    python -m deploy.calibrate RUN --max_false_alarms_per_hour=1 --recording=A.wav --labels=A.tsv

The first promises, with `--confidence`, that a decision at the spike is wrong where the end of the
clip would have been right for at most that share of clips. The last promises the rate of false
alarms in sound such as the recording, with the `--patience` and `--refractory` given. These are
written, too, and `--unknown_bias`. `load_run` and every command then use them; delete
calibration.json for the threshold of the training.
"""

import argparse
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from data_pipelines import speech
from data_pipelines.speech import SAMPLE_RATE, heard_ms
from deploy.commands import (
  add_data,
  add_recording,
  add_unknown_bias,
  data_of,
  load_data,
  load_speech_run,
  run_command,
  with_arguments,
)
from deploy.long_recordings import open_recording
from deploy.measure import measure
from deploy.run_files import Run, save_calibration
from deploy.thresholds import choose_for_accuracy, choose_for_rate, choose_for_time, list_thetas
from rc_jax import Batch, Classifier, evaluate, record

ROWS = 500  # to one batch


def read_clips(run: Run, data: dict[str, Any], split: str, thetas: np.ndarray) -> dict[str, Any]:
  """Reads the clips of a split at each of K thresholds.

  Args:
    run: of speech.
    data: of `load_data`.
    split: of the data.
    thetas: `[K]`.

  Returns:
    `lost` `[K, N]` bool, right at the end but wrong at the spike; `mean_ms` `[K]` heard; `accuracy`
    `[K]` at the spike; `eos_accuracy`.

  Raises:
    ValueError: data that cannot be read, or that has other classes.
  """
  recorded, logits = record_clips(run, data, split)
  read = [evaluate(recorded, (), logits, float(theta)) for theta in thetas]
  right = np.array([one.predicted == one.label for one in read])
  at_end = np.asarray(read[0].eos_label) == read[0].label
  return {
    "lost": at_end & ~right,
    "mean_ms": np.array([np.mean(heard_ms(one.step)) for one in read]),
    "accuracy": right.mean(axis=1),
    "eos_accuracy": float(at_end.mean()),
  }


def record_clips(run: Run, data: dict[str, Any], split: str) -> tuple[Classifier, list[Batch]]:
  """Records a run's logits at every step of the clips of a split, as `record` gives them.

  Args:
    run: of speech.
    data: of `load_data`.
    split: of the data.

  Raises:
    ValueError: data that cannot be read, or that has other classes.
  """
  clips = getattr(load_data(run, data).splits, split)
  statistics = speech.Statistics(run.statistics["mean"], run.statistics["std"])
  batches = (
    speech.prepare(statistics, Batch(*(jnp.asarray(a) for a in clips[start : start + ROWS])))
    for start in range(0, len(clips), ROWS)
  )
  return record(run.classifier, run.params, batches)


def main() -> int:
  """Calibrates and writes; returns the exit status."""
  given = _read_arguments()
  run = with_arguments(load_speech_run(given.run, calibrated=False), given)
  thetas = list_thetas(len(run.class_names))
  if given.max_false_alarms_per_hour is not None:
    theta, found = _calibrate_rate(run, given, thetas)
  else:
    theta, found = _calibrate_clips(run, given, thetas)
  asked = {
    name: getattr(given, name)
    for name in ("max_accuracy_loss", "max_mean_ms", "max_false_alarms_per_hour")
    if getattr(given, name) is not None
  }
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
  if given.max_mean_ms is not None:
    theta = choose_for_time(thetas, read["mean_ms"], given.max_mean_ms)
    promise = {}
  else:
    loss, confidence = given.max_accuracy_loss, given.confidence
    theta = choose_for_accuracy(thetas, read["lost"], loss, confidence)
    promise = {"confidence": confidence}
  at = int(np.flatnonzero(thetas == theta)[0])
  return theta, {
    **promise,
    "split": given.split,
    "clips": read["lost"].shape[1],
    "accuracy": float(read["accuracy"][at]),
    "eos_accuracy": read["eos_accuracy"],
    "mean_ms": float(read["mean_ms"][at]),
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
  parser.add_argument("run", metavar="RUN", help="the --workdir of a run of experiments.speech")
  goal = parser.add_mutually_exclusive_group(required=True)
  goal.add_argument("--max_accuracy_loss", type=float, help="share of clips, against their end")
  goal.add_argument("--max_mean_ms", type=float, help="mean time heard until a decision")
  goal.add_argument("--max_false_alarms_per_hour", type=float, help="in sound as the recording")
  parser.add_argument("--confidence", type=float, default=0.95, help="of what is promised")
  add_data(parser, split="validation")
  add_recording(parser, of="unknown", seed=2)
  parser.add_argument("--patience", type=int, help="steps on end that must be sure; default: 1")
  parser.add_argument("--refractory", type=float, help="seconds between two events; default: 0.5")
  add_unknown_bias(parser)
  return parser.parse_args()


if __name__ == "__main__":
  run_command(main)

"""How well do trained runs decide about sound without an end?

  python -m benchmarks.live RUN... --data_dir=WORDS [--minutes=30] [--theta=0.9]
      [--patience=20] [--json=FILE]

Recordings are made of clips of the test split: keywords in silence and in noise (half white, half
pink) at 30, 20 and 10 dB, running words without noise, words of `unknown`, keywords and others
backwards, synthesized sentences without keywords, and noise alone. Each run is read on all of them
at one threshold: the one given, or the lowest at which recordings of the validation split have no
more false alarms than are allowed. Means over the runs. What was measured: docs/results/live.md.
"""

import argparse
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.speech import SAMPLE_RATE
from deploy.commands import (
  add_data,
  add_unknown_bias,
  data_of,
  load_speech_run,
  run_command,
  with_arguments,
)
from deploy.labels import Word
from deploy.long_recordings import add_noise, synthesize
from deploy.measure import measure
from deploy.run_files import Run
from deploy.scoring import Score
from deploy.thresholds import list_thetas
from experiments.harness.tables import format_table

PER_HOUR = {"unknown": 5.0, "sentences": 60.0}  # false alarms allowed on validation


class Recording(NamedTuple):
  """How a recording is made.

  Attributes:
    of: what it consists of, as `deploy.measure --of`, or "noise".
    gap_s: mean gap between clips.
    snr_db: ratio to noise, or None.
    is_reversed: whether it is played backwards, so that it has no keyword.
  """

  of: str
  gap_s: float = 1.0
  snr_db: float | None = None
  is_reversed: bool = False


RECORDINGS = {
  "keywords, silence": Recording("keywords", 3.0),
  "keywords, 30 dB": Recording("keywords", 3.0, 30.0),
  "keywords, 20 dB": Recording("keywords", 3.0, 20.0),
  "keywords, 10 dB": Recording("keywords", 3.0, 10.0),
  "running words, gaps of 0.1 s": Recording("keywords", 0.1),
  "keywords and unknown, 20 dB": Recording("all", 1.0, 20.0),
  "unknown, 20 dB": Recording("unknown", 1.0, 20.0),
  "all words backwards, 20 dB": Recording("all", 1.0, 20.0, is_reversed=True),
  "sentences": Recording("sentences"),
  "noise, 10 dB": Recording("noise", snr_db=10.0),
}


def make(
  run: Run, recording: Recording, minutes: float, data: dict[str, Any], split: str, seed: int
) -> tuple[np.ndarray, list[Word]]:
  """Makes a recording of the clips of a split: samples and the words in it."""
  if recording.of == "noise":
    silence = np.zeros(int(60 * minutes * SAMPLE_RATE), np.float32)
    return add_noise(silence, recording.snr_db, np.random.default_rng(seed)), []
  given: dict[str, Any] = {"data": data, "split": split, "seed": seed, "progress": True}
  samples, words = synthesize(
    run, recording.of, minutes, gap_s=recording.gap_s, snr_db=recording.snr_db, **given
  )
  return (samples[::-1].copy(), []) if recording.is_reversed else (samples, words)


def choose_theta(run: Run, minutes: float, data: dict[str, Any]) -> float:
  """Lowest threshold whose false alarms on recordings of validation are allowed, going down."""
  thetas = list_thetas(len(run.class_names), 20)
  allowed = np.ones(len(thetas), bool)
  for name, per_hour in PER_HOUR.items():
    recording = next(r for r in RECORDINGS.values() if r.of == name)
    samples, words = make(run, recording, minutes, data, "validation", seed=11)
    found = np.array([s.per_hour for s in measure(run, samples, words, thetas)])
    allowed &= found <= per_hour
  failed = np.flatnonzero(~allowed)
  return float(thetas[max(0, int(failed[0]) - 1) if failed.size else -1])


def main() -> None:
  """Reads the command line, measures, and prints a table."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("runs", metavar="RUN", nargs="+")
  add_data(parser)
  parser.add_argument("--minutes", type=float, default=30.0, help="of each recording")
  parser.add_argument("--theta", type=float, help="threshold; default: chosen on validation")
  parser.add_argument("--patience", type=int, help="default: 1, or calibrated")
  add_unknown_bias(parser)
  parser.add_argument("--json", help="file for the numbers")
  given = parser.parse_args()
  data = data_of(given)
  runs = [with_arguments(load_speech_run(folder), given) for folder in given.runs]
  thetas = [
    given.theta if given.theta is not None else choose_theta(run, given.minutes, data)
    for run in runs
  ]
  found: dict[str, list[Score]] = {}
  for number, (name, recording) in enumerate(RECORDINGS.items()):
    samples, words = make(runs[0], recording, given.minutes, data, given.split, 100 + number)
    found[name] = [
      measure(run, samples, words, np.array([theta]))[0]
      for run, theta in zip(runs, thetas, strict=True)
    ]
  patiences = [run.rule.patience for run in runs]
  print("theta", ", ".join(f"{theta:.4f}" for theta in thetas))
  print("patience", ", ".join(map(str, patiences)))
  print("bias of unknown", ", ".join(f"{run.unknown_bias:g}" for run in runs))
  print(tabulate(found))
  if given.json:
    content = {name: [score.to_json() for score in scores] for name, scores in found.items()}
    biases = [run.unknown_bias for run in runs]
    said = {"theta": thetas, "patience": patiences, "unknown_bias": biases, "recordings": content}
    text = json.dumps(said, indent=2)
    pathlib.Path(given.json).write_text(text + "\n")


def tabulate(found: dict[str, list[Score]]) -> str:
  """Table of means over the runs, from the scores of each recording."""
  columns = ["recording", "keywords", "right, %", "wrong, %", "twice, %", "false alarms/h (bound)"]
  columns += ["after the start, s", "after the end, s"]
  rows = []
  for name, scores in found.items():
    mean = lambda field, scores=scores: float(np.mean([getattr(s, field) for s in scores]))
    has_words = scores[0].words > 0
    percent = [f"{100 * mean(field):.1f}" for field in ("recall", "wrong", "repeated")]
    delays = [f"{mean(field):.2f}" for field in ("delay_start_s", "delay_end_s")]
    rows.append(
      [
        name,
        str(scores[0].words),
        *(percent if has_words else ["-"] * 3),
        f"{mean('per_hour'):.1f} ({mean('per_hour_bound'):.1f})",
        *(delays if has_words else ["-"] * 2),
      ]
    )
  return format_table(columns, rows)


if __name__ == "__main__":
  run_command(main)

"""The networks in `trained/`: they load, and they hear what they were trained for."""

import pathlib

import numpy as np
import soundfile

from deploy import load_run, measure
from deploy.long_recordings import add_noise, join_clips

TRAINED = pathlib.Path(__file__).parents[2] / "trained"
DIGITS = ["zero", "one", "two", "three", "four", "five"]


def heard(run, samples, words):
  (score,) = measure.measure(run, samples, words, np.array([run.rule.theta]))
  return score


def test_zero_to_five_finds_real_words_in_noise(shared):
  """On a minute of recordings of the test split; trained/README.md has half hours."""
  run = load_run(TRAINED / "zero_to_five")
  assert run.class_names == (*DIGITS, "unknown")
  lines = (shared / "testing_list.txt").read_text().split()
  paths = [path for word in DIGITS for path in [p for p in lines if p.startswith(f"{word}/")][:15]]
  read = lambda k: soundfile.read(shared / paths[k], dtype="float32")[0]
  rng = np.random.default_rng(0)
  names = [path.split("/")[0] for path in paths]
  track, words = join_clips(read, names, minutes=1, gap_s=0.5, rng=rng)
  score = heard(run, add_noise(track, 20.0, rng), words)
  assert score.words > 30
  assert score.recall > 0.8 and score.wrong < 0.05 and score.false_alarms <= 2


def test_zero_to_five_is_silent_in_noise():
  run = load_run(TRAINED / "zero_to_five")
  rng = np.random.default_rng(0)
  noise = add_noise(np.zeros(30 * 16000, np.float32), 10.0, rng)
  assert heard(run, noise, []).false_alarms == 0

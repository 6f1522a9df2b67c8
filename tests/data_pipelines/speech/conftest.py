import itertools

import numpy as np
import pytest
import soundfile

from data_pipelines.speech.split_rules import hashed_split


def _speakers(split, count):
  names = (f"{number:08x}" for number in itertools.count())
  return list(itertools.islice((name for name in names if hashed_split(name) == split), count))


def _write_clip(path, samples=16_000, rate=16_000, seed=0, channels=1, level=0.3):
  path.parent.mkdir(parents=True, exist_ok=True)
  noise = np.random.default_rng(seed).normal(size=(samples, channels))
  soundfile.write(path, np.clip(level * noise, -1, 1), rate)
  return path


@pytest.fixture
def write_clip():
  """Writes noise to an audio file: (path, samples, rate, seed, channels, level) -> path."""
  return _write_clip


@pytest.fixture
def speakers():
  """(split, count) -> speaker ids that the hash rule puts there."""
  return _speakers


@pytest.fixture
def tree(tmp_path):
  """(words, clips a word and split, ending) -> a folder of word/speaker_nohash_0.wav."""

  def write(words=("yes", "no", "bed"), each=2, ending=".wav", name="tree"):
    root = tmp_path / name
    for word_number, word in enumerate(words):
      for split_number, split in enumerate(("train", "validation", "test")):
        for number, speaker in enumerate(_speakers(split, each)):
          seed = 100 * word_number + 10 * split_number + number
          _write_clip(root / word / f"{speaker}_nohash_0{ending}", seed=seed)
    return root

  return write

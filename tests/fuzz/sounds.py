"""Mutated sound files through every reader of sound."""

import numpy as np
import soxr

from data_pipelines.speech.background import open_background
from data_pipelines.speech.waveforms import ENDINGS, read_waveform
from deploy.recordings import read_pieces
from tests.fuzz.mutations import mutate
from tests.fuzz.outcomes import READ, REFUSED, check, refuse

RATE = 16_000
UNTOUCHED = 12  # one file in so many is not mutated


def try_sound(rng, folder, seeds):
  """Writes a sound file, mutated or not, and reads it.

  Args:
    rng: a `random.Random`.
    folder: an empty one.
    seeds: of `write_seeds`.

  Returns:
    The outcome and what was done.

  Raises:
    Exception: whatever must not be.
  """
  seed, whole = rng.choice(seeds), rng.randrange(UNTOUCHED) == 0
  others = [other.content for other in seeds]
  content, done = (seed.content, ["untouched"]) if whole else mutate(rng, seed.content, others)
  path = folder / f"clip{rng.choice(ENDINGS)}"
  path.write_bytes(content)
  reader = rng.choice((_read_clip, _read_clip, _read_recording, _read_background))
  what = f"{seed.name}, {' + '.join(done)}, {reader.__name__}"
  with refuse(path.name) as refused:
    samples = reader(path, rng)
  if refused:
    check(not whole or seed.mono is None, f"a whole file was refused: {refused[0]}")
    return REFUSED, what
  if whole and seed.mono is not None and reader is not _read_background:
    expected = seed.mono
    if seed.rate != RATE:
      expected = soxr.resample(expected, seed.rate, RATE)
    expected = np.clip(expected, -1, 1)
    check(abs(len(samples) - len(expected)) <= 1, f"{len(samples)}, not {len(expected)} samples")
    n = min(len(samples), len(expected))
    error = np.abs(samples[:n] - expected[:n]).max()
    check(error <= (0 if seed.rate == RATE else 2e-3), f"samples differ by {error}")
  return READ, what


def _read_clip(path, rng):
  samples, seconds = read_waveform(path, path.name, rng.choice(("start", "loudest", "error")))
  check(samples.dtype == np.float32 and 1 <= len(samples) <= RATE, "a clip of another kind")
  check(bool(np.all(np.abs(samples) <= 1)), "samples outside of [-1, 1]")
  check(np.isfinite(seconds) and seconds > 0, f"{seconds} s long")
  return samples


def _read_recording(path, rng):
  pieces = list(read_pieces(path))
  samples = np.concatenate(pieces)
  check(samples.dtype == np.float32 and bool(np.all(np.abs(samples) <= 1)), "bad samples")
  return samples


def _read_background(path, rng):
  samples = open_background(str(path.parent))
  check(samples.dtype == np.int16 and len(samples) > 0, "a background of another kind")
  return samples

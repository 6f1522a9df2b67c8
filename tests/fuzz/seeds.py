"""Sound files of every container and subtype that libsndfile writes, to be mutated."""

import io
import itertools
from typing import NamedTuple

import numpy as np
import soundfile

RATES = (16_000, 44_100, 8_000)
SECONDS = 0.12
# RAW needs the reader to be told what it holds, so that no file of a user can be one. SD2 has its
# header in a second file, which libsndfile writes into the folder that is the present one.
WITHOUT_A_HEADER = ("RAW", "SD2")


class Seed(NamedTuple):
  """A sound file.

  Attributes:
    name: container, subtype, rate in kHz and channels.
    content: its bytes.
    mono: `[n]` float32, what an independent reader makes of it, or None where it reads nothing.
    rate: in Hz.
  """

  name: str
  content: bytes
  mono: np.ndarray | None
  rate: int


def write_seeds(rng):
  """Writes a sound of noise and a tone into every container and subtype, at changing rates."""
  layouts = itertools.cycle(itertools.product(RATES, (1, 2)))
  for container in soundfile.available_formats():
    if container in WITHOUT_A_HEADER:
      continue
    for subtype in soundfile.available_subtypes(container):
      rate, channels = next(layouts)
      for given in ((rate, channels), (8_000, 1), (48_000, 1)):
        if (content := _write(container, subtype, *given, rng)) is not None:
          yield _read_back(f"{container} {subtype} {given[0] // 1000} kHz {given[1]}", content)
          break


def _write(container, subtype, rate, channels, rng):
  """Returns the bytes of a file, or None where libsndfile writes none such."""
  steps = np.arange(int(SECONDS * rate))
  tone = 0.4 * np.sin(2 * np.pi * 440 * steps / rate)[:, None]
  samples = tone + 0.05 * rng.standard_normal((len(steps), channels))
  file = io.BytesIO()
  try:
    soundfile.write(file, samples, rate, subtype, format=container)
  except (RuntimeError, ValueError, TypeError):
    return None
  return file.getvalue()


def _read_back(name, content):
  try:
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
  except RuntimeError:
    return Seed(name, content, None, 0)
  return Seed(name, content, samples.mean(axis=1, dtype=np.float32), rate)

"""Background sound that is mixed into recordings: made here, or read from a folder.

A background is one long track, of which any excerpt will do. Each of its parts has the same power,
so that whoever mixes an excerpt into speech knows what to multiply it with.
"""

import pathlib

import numpy as np

from data_pipelines.speech.features import SAMPLE_RATE
from data_pipelines.speech.loudness import BACKGROUND_LEVEL, rms
from data_pipelines.speech.source import show_name
from data_pipelines.speech.waveforms import (
  ENDINGS,
  LARGEST_PEAK,
  is_recording,
  read_mono,
  resample,
)

SYNTHETIC = "synthetic"
_PART_S = 40  # seconds of each kind of noise that is made
_LARGEST_S = 20 * 60  # seconds that are read from a folder
_LOWEST_HZ = 20  # the spectrum of noise is flat below


def open_background(name: str, seed: int = 0) -> np.ndarray:
  """Opens a background.

  Args:
    name: "synthetic" (white, pink and brown noise, their mixtures, and hum), or a folder of
      recordings, of which the first 20 minutes are read.
    seed: of the noise that is made.

  Returns:
    `[n]` int16 samples at 16 kHz, each part with a root mean square of `BACKGROUND_LEVEL`.

  Raises:
    ValueError: no such folder, none with recordings, or one that cannot be read.
  """
  rng = np.random.default_rng(seed)
  parts = _make_parts(rng) if name == SYNTHETIC else _read_parts(pathlib.Path(name).expanduser())
  return np.concatenate([to_int16(BACKGROUND_LEVEL * part / rms(part)) for part in parts])


def make_noise(number: int, rng: np.random.Generator, slope: float) -> np.ndarray:
  """Makes noise `[number]` float32 of unit power.

  Args:
    number: of samples.
    rng: draws it.
    slope: power falls as frequency to this power: 0 is white, 1 pink, 2 brown.
  """
  spectrum = np.fft.rfft(rng.normal(size=number))
  frequency = np.maximum(np.fft.rfftfreq(number, 1 / SAMPLE_RATE), _LOWEST_HZ)
  noise = np.fft.irfft(spectrum * frequency ** (-slope / 2), number)
  return (noise / rms(noise)).astype(np.float32)


def to_int16(samples: np.ndarray) -> np.ndarray:
  """Rounds samples in [-1, 1] to 16 bits."""
  return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)


def _make_parts(rng: np.random.Generator) -> list[np.ndarray]:
  number = _PART_S * SAMPLE_RATE
  white, pink, brown = (make_noise(number, rng, slope) for slope in (0, 1, 2))
  seconds = np.arange(number) / SAMPLE_RATE
  hum = sum(
    np.sin(2 * np.pi * 50 * k * seconds + rng.uniform(0, 6)) / k for k in (1, 2, 3, 5, 7, 9)
  )
  return [white, pink, brown, white + pink, pink + brown, hum + 0.3 * pink]


def _read_parts(folder: pathlib.Path) -> list[np.ndarray]:
  if not folder.is_dir():
    raise ValueError(f"background {folder} is no folder; give one with recordings, or 'synthetic'")
  parts, left = [], _LARGEST_S * SAMPLE_RATE
  for path in sorted(p for p in folder.rglob("*") if is_recording(p)):
    name = f"background {show_name(str(path))}"
    samples, rate, _ = read_mono(path, name, left / SAMPLE_RATE)
    peak = np.abs(samples).max(initial=0.0)
    if not 0 < peak <= LARGEST_PEAK:  # NaN neither
      raise ValueError(
        f"{name} is silent, or has samples that are not finite or far outside -1..1; remove it"
      )
    if rate != SAMPLE_RATE:
      samples = resample(samples, rate)
    parts.append(samples)
    left -= len(samples)
    if left < SAMPLE_RATE:  # no file has to be read for less than a second
      break
  if not parts:
    raise ValueError(f"background {folder} has no recording ({', '.join(ENDINGS)}); add one")
  return parts

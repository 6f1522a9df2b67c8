"""Audio files as 16 kHz mono samples."""

import pathlib

import numpy as np
import soundfile

from data_pipelines.speech.features import NUM_SAMPLES, SAMPLE_RATE

ENDINGS = (".wav", ".flac", ".ogg")
# A second and a half: what lies after it does not reach the first second through a resampler.
_SECONDS_READ = 1.5
# Floating-point files may overshoot [-1, 1] a little; far beyond it they hold another unit.
_LARGEST_PEAK = 32.0


def read_waveform(path: pathlib.Path, name: str) -> np.ndarray:
  """The first second of an audio file, at most.

  Args:
    path: a file of one of `ENDINGS`, of any sample rate and number of channels.
    name: of the file, for messages.

  Returns:
    `[n]` float32 samples at 16 kHz in [-1, 1], channels averaged, 1 <= n <= 16000.

  Raises:
    ValueError: the file cannot be read, holds no audio, or samples that are not finite or not in
      the unit of [-1, 1]; one line that names it.
  """
  try:
    with soundfile.SoundFile(path) as file:
      rate = file.samplerate
      samples = file.read(int(_SECONDS_READ * rate), dtype="float32", always_2d=True)
  except (OSError, RuntimeError, TypeError) as error:
    # libsndfile's own words, where there are some, do not repeat the path.
    reason = str(getattr(error, "error_string", error)).rstrip(".")
    raise ValueError(f"{name} cannot be read as audio: {reason}") from error
  return as_clip(samples.mean(axis=1, dtype=np.float32), rate, name)


def as_clip(samples: np.ndarray, rate: int, name: str) -> np.ndarray:
  """Checks samples `[n]` at `rate` Hz, resamples them to 16 kHz and cuts them to a second.

  Raises:
    ValueError: see `read_waveform`.
  """
  if samples.size == 0:
    raise ValueError(f"{name} holds no audio")
  if not np.isfinite(samples).all():
    raise ValueError(f"{name} has NaN or infinite samples")
  peak = np.abs(samples).max()
  if peak > _LARGEST_PEAK:
    raise ValueError(f"{name} has samples up to {peak:.0f}; scale it to -1..1")
  if rate != SAMPLE_RATE:
    import librosa  # takes a second, which only odd sample rates cost

    samples = librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE)
    if samples.size == 0:
      raise ValueError(f"{name} is shorter than one sample at 16 kHz")
  return np.clip(samples[:NUM_SAMPLES], -1, 1)


def padded(samples: np.ndarray) -> np.ndarray:
  """Samples `[n]`, n <= 16000, with zeros after them: `[16000]` float32."""
  audio = np.zeros(NUM_SAMPLES, np.float32)
  audio[: len(samples)] = samples
  return audio

"""Reads audio files as mono samples at 16 kHz."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
import soundfile
import soxr

from data_pipelines.speech.features import NUM_SAMPLES, SAMPLE_RATE
from data_pipelines.speech.source import UnreadableError

ENDINGS = (".wav", ".flac", ".ogg")
# The resampler's filter is much shorter than the half second that is read beyond the first second,
# so that what follows cannot change the result.
_SECONDS_READ = 1.5
_LONGEST_S = 600.0  # of a file whose loudest second is looked for
# Floating-point files may exceed [-1, 1] a little. Far beyond it their samples have another unit.
LARGEST_PEAK = 32.0
RATES = (
  100,
  1_000_000,
)  # Hz; what is beyond them is a damaged header, whose resampling is endless
_BLOCK = 1 << 22  # samples of all channels that are read at once, whatever a header promises
_UNKNOWN_LENGTH = 0x7FFF_0000  # bytes; from here on a header's length says that it is unknown
_SYSTEM_ERROR = 2  # libsndfile's code


def is_recording(path: pathlib.Path, endings: Sequence[str] = ENDINGS) -> bool:
  """Whether a file has the name of a recording; what systems hide, as ._one.wav, is none.

  Args:
    path: of the file.
    endings: of recordings, in lower case.
  """
  return path.suffix.lower() in endings and not path.name.startswith(".")


def read_waveform(
  path: pathlib.Path, name: str, clip_at: str = "start"
) -> tuple[np.ndarray, float]:
  """Reads at most a second of an audio file, averages its channels and resamples it.

  Args:
    path: a file with one of `ENDINGS`, of any sample rate and number of channels.
    name: the file's name, which error messages use.
    clip_at: which second of a longer file is taken: "start", its first, or "loudest", the one with
      the largest energy in its first ten minutes; "error" takes none.

  Returns:
    `[n]` float32 samples at 16 kHz in [-1, 1], 1 <= n <= 16000, and the seconds of the whole file.

  Raises:
    ValueError: if the file cannot be read or holds no audio, if its samples are not finite or far
      outside [-1, 1], or if it is longer than `clip_at` allows. The message is one line that names
      the file.
    UnreadableError: if the system cannot read the file, which may be sound.
  """
  length = _LONGEST_S if clip_at == "loudest" else _SECONDS_READ
  mono, rate, seconds = read_mono(path, name, length)
  if seconds > 1 and clip_at == "error":
    raise ValueError(
      f"{name} is {seconds:.1f} s long, a clip one second; cut it, or choose --clip_at=loudest"
    )
  if clip_at == "loudest" and np.isfinite(mono).all():
    mono = mono[_find_loudest_second(mono, rate) :][: int(_SECONDS_READ * rate)]
  return to_clip(mono, rate, name), seconds


def read_mono(path: pathlib.Path, name: str, seconds: float) -> tuple[np.ndarray, int, float]:
  """Reads the beginning of an audio file and averages its channels.

  Args:
    path: of the file.
    name: the file's name, which error messages use.
    seconds: that are read, at most.

  Returns:
    `[n]` float32 samples, their rate in Hz, and the seconds of the whole file.

  Raises:
    ValueError: if the file cannot be read as audio; `UnreadableError` where it may be sound.
  """
  with open_sound(path, name) as file:
    rate, length = file.samplerate, max(file.frames, 0) / file.samplerate
    blocks = list(read_blocks(file, int(seconds * rate)))
  return np.concatenate([np.zeros(0, np.float32), *blocks]), rate, length


@contextlib.contextmanager
def open_sound(path: pathlib.Path, name: str) -> Iterator[soundfile.SoundFile]:
  """Opens an audio file, and names it in all that goes wrong until it is closed.

  Args:
    path: of the file.
    name: the file's name, which error messages use.

  Raises:
    ValueError: if the file cannot be read as audio; `UnreadableError` where it may be sound.
  """
  # soundfile cannot encode a name that is not UTF-8.
  given = path if str(path).isprintable() else os.fsencode(path)
  try:
    with soundfile.SoundFile(given) as file:
      if not RATES[0] <= file.samplerate <= RATES[1]:
        raise soundfile.SoundFileRuntimeError(f"its sample rate is {file.samplerate} Hz")
      _refuse_cut(file)
      yield file
  except (OSError, RuntimeError, TypeError) as error:
    # Where libsndfile gives a reason, it stands in `error_string`, without the path that `str`
    # would add.
    reason = str(getattr(error, "error_string", error)).rstrip(".")
    is_of_system = isinstance(error, OSError) or getattr(error, "code", None) == _SYSTEM_ERROR
    kind = UnreadableError if is_of_system else ValueError
    raise kind(f"{name} cannot be read as audio: {reason}") from error


def _refuse_cut(file: soundfile.SoundFile) -> None:
  """Raises SoundFileRuntimeError for a WAV whose end is missing, which libsndfile reads in part."""
  found = re.search(r"^data *: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
  promised, there = map(int, found.groups()) if found else (0, 0)
  # A program that writes as it records may not know the length, and promise the most or nothing.
  if there < promised < _UNKNOWN_LENGTH:
    raise soundfile.SoundFileRuntimeError(
      f"it is cut short: its header promises {promised} bytes of sound, {there} are there"
    )


def read_blocks(
  file: soundfile.SoundFile, number: int | None = None, size: int | None = None
) -> Iterator[np.ndarray]:
  """Reads an audio file block by block and averages its channels.

  A header may promise any number of samples: what is held grows with those that are there.

  Args:
    file: open, at the sample to begin with.
    number: of samples of each channel to read at most; None reads to the end.
    size: of a block at most.

  Yields:
    `[n]` float32 samples, n > 0.
  """
  largest = max(1, _BLOCK // file.channels)
  size = largest if size is None else min(size, largest)
  while number is None or number > 0:
    block = file.read(size if number is None else min(size, number), "float32", always_2d=True)
    if len(block) == 0:
      return
    with np.errstate(invalid="ignore", over="ignore"):  # infinite samples; `to_clip` refuses them
      yield block.mean(axis=1, dtype=np.float32)
    number = None if number is None else number - len(block)


def _find_loudest_second(samples: np.ndarray, rate: int) -> int:
  """First sample of the second with the largest energy in `[n]`, in steps of 10 ms."""
  hop = max(1, rate // 100)
  energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
  starts = np.arange(0, max(1, len(samples) - rate + 1), hop)
  ends = np.minimum(starts + rate, len(samples))
  return int(starts[np.argmax(energy[ends] - energy[starts])])


def to_clip(samples: np.ndarray, rate: int, name: str) -> np.ndarray:
  """Checks samples, resamples them to 16 kHz and cuts them to one second.

  Args:
    samples: `[n]` float32.
    rate: their sample rate in Hz.
    name: the recording's name, which error messages use.

  Returns:
    `[n]` float32 samples at 16 kHz in [-1, 1], 1 <= n <= 16000.

  Raises:
    ValueError: if there are no samples, or if they are not finite or far outside [-1, 1].
  """
  if samples.size == 0:
    raise ValueError(f"{name} holds no audio")
  if not np.isfinite(samples).all():
    raise ValueError(f"{name} has NaN or infinite samples")
  peak = np.abs(samples).max()
  if peak > LARGEST_PEAK:
    raise ValueError(f"{name} has samples up to {peak:.6g}; scale it to -1..1")
  if rate != SAMPLE_RATE:
    samples = resample(samples, rate)
    if samples.size == 0:
      raise ValueError(f"{name} is shorter than one sample at 16 kHz")
  return np.clip(samples[:NUM_SAMPLES], -1, 1)


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
  """Resamples float32 `[n]` at `rate` Hz to `[ceil(16000 n / rate)]` at 16 kHz.

  These are the samples of `librosa.resample`, without the 20 s that librosa compiles for at first.
  """
  resampled = soxr.resample(samples, rate, SAMPLE_RATE)
  fitted = np.zeros(-(-len(samples) * SAMPLE_RATE // rate), np.float32)
  count = min(len(resampled), len(fitted))
  fitted[:count] = resampled[:count]
  return fitted


def pad_to_second(samples: np.ndarray) -> np.ndarray:
  """Appends zeros to samples `[n]`, n <= 16000, up to one second: `[16000]` float32."""
  audio = np.zeros(NUM_SAMPLES, np.float32)
  audio[: len(samples)] = samples
  return audio

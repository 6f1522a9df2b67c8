"""Recordings of any length as 16 kHz samples, piece by piece, in memory that does not grow."""

import itertools
import pathlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soxr

from data_pipelines.speech import SAMPLE_RATE
from data_pipelines.speech.source import show_name
from data_pipelines.speech.waveforms import (
  LARGEST_PEAK,
  RATES,
  is_recording,
  open_sound,
  read_blocks,
)

ENDINGS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".w64", ".au")
PIECE_S = 0.5


def find_recordings(name: str) -> list[pathlib.Path]:
  """Lists the recordings that a path stands for: itself, or all below a folder, by their names.

  Raises:
    ValueError: it does not exist or cannot be read, or is a folder without recordings.
  """
  path = pathlib.Path(name)
  try:
    if not path.exists():
      raise ValueError(f"{name} does not exist; give a recording, or a folder of them")
    if not path.is_dir():
      return [path]
    below = sorted(p for p in path.rglob("*") if is_recording(p, ENDINGS) and p.is_file())
  except OSError as error:
    raise ValueError(f"{name} cannot be read: {error.strerror}") from error
  if not below:
    raise ValueError(f"{name} holds no recording; it may have {', '.join(ENDINGS)}")
  return below


def read_pieces(path: pathlib.Path) -> Iterator[np.ndarray]:
  """Reads a recording of any rate, length and number of channels, which are averaged.

  Args:
    path: of the file.

  Yields:
    `[n]` float32 samples at 16 kHz.

  Raises:
    ValueError: the file cannot be read, is empty, or has samples that are not finite or far outside
      [-1, 1].
  """
  name = show_name(str(path))
  with open_sound(path, name) as file:
    size = max(1, int(PIECE_S * file.samplerate))
    pieces = read_blocks(file, size=size)
    first = next(pieces, None)
    if first is None:
      raise ValueError(f"{name} holds no audio; record it again")
    yield from resample_pieces(itertools.chain([first], pieces), file.samplerate, name)


def read_raw(stream: BinaryIO, rate: int) -> Iterator[np.ndarray]:
  """Reads raw samples as they arrive: 16-bit signed, little endian, one channel.

  Args:
    stream: open for bytes, e.g. `sys.stdin.buffer`.
    rate: of its samples in Hz.

  Yields:
    `[n]` float32 samples at 16 kHz.

  Raises:
    ValueError: a rate that no sound has.
  """
  if not RATES[0] <= rate <= RATES[1]:
    raise ValueError(f"--rate is {rate}; give Hz, {RATES[0]} to {RATES[1]}")

  def pieces() -> Iterator[np.ndarray]:
    odd = b""
    read = getattr(stream, "read1", stream.read)
    while got := read(2 * max(1, int(0.02 * rate))):
      whole = odd + got
      odd = whole[len(whole) // 2 * 2 :]
      yield np.frombuffer(whole[: len(whole) // 2 * 2], "<i2").astype(np.float32) / 32768

  return resample_pieces(pieces(), rate, "the input")


def resample_pieces(pieces: Iterator[np.ndarray], rate: int, name: str) -> Iterator[np.ndarray]:
  """Checks pieces of samples and brings them to 16 kHz.

  Args:
    pieces: `[n]` float32 each.
    rate: of their samples in Hz.
    name: of the recording, for messages.

  Yields:
    `[n]` float32 samples in [-1, 1].

  Raises:
    ValueError: samples that are not finite, or far outside [-1, 1].
  """
  stream = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32")
  for piece in pieces:
    if not np.isfinite(piece).all():
      raise ValueError(f"{name} has NaN or infinite samples; record it again")
    # The resampler makes NaN of the largest floats.
    if len(piece) and (peak := np.abs(piece).max()) > LARGEST_PEAK:
      raise ValueError(f"{name} has samples up to {peak:.6g}; scale it to -1..1")
    yield np.clip(piece if stream is None else stream.resample_chunk(piece), -1, 1)
  if stream is not None:
    yield np.clip(stream.resample_chunk(np.zeros(0, np.float32), last=True), -1, 1)

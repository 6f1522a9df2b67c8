"""Long recordings with known words, made of a data set's clips or of synthesized sentences."""

from collections.abc import Callable, Sequence

import numpy as np

from data_pipelines.speech import SAMPLE_RATE
from data_pipelines.speech.background import make_noise
from deploy.scoring import Word

LEVEL = 0.05  # root mean square of a word's loud part, where full scale is 1
_LEVELS_DB = 3.0  # words differ from it by up to so much
_FRAME = 160
_LOUD = 0.1  # a word begins and ends where 10 ms exceed this share of its loudest 10 ms (-20 dB)
_FADE = 320  # samples
_SILENT_PEAK = 100 / 32768  # recordings below are taken for silence


def join_clips(
  read: Callable[[int], np.ndarray],
  words: Sequence[str],
  *,
  minutes: float,
  gap_s: float,
  rng: np.random.Generator,
) -> tuple[np.ndarray, list[Word]]:
  """Joins clips to one recording; each is used once before any is used again.

  Args:
    read: `index -> samples [n]` of a clip.
    words: name of each clip.
    minutes: length of the recording.
    gap_s: mean of the gaps between clips, which are drawn from an exponential distribution.
    rng: draws order, gaps and levels.

  Returns:
    Samples `[n]` float32 at 16 kHz, and where each word begins and ends.

  Raises:
    ValueError: every clip is silent, or the recording has no room for one.
  """
  track = np.zeros(int(minutes * 60 * SAMPLE_RATE), np.float32)
  ramp = (0.5 - 0.5 * np.cos(np.pi * (np.arange(_FADE) + 0.5) / _FADE)).astype(np.float32)
  placed: list[Word] = []
  order: list[int] = []
  silent: set[int] = set()
  at = SAMPLE_RATE
  while len(silent) < len(words):
    order = order or [int(k) for k in rng.permutation(len(words))]
    index = order.pop()
    clip = read(index).copy()
    if np.abs(clip).max() < _SILENT_PEAK:
      silent.add(index)
      continue
    at += int(SAMPLE_RATE * rng.exponential(gap_s)) if gap_s else 0
    if at + len(clip) + SAMPLE_RATE > len(track):
      break
    start, end, loudness = _find_word(clip)
    gain = LEVEL * 10 ** (rng.uniform(-_LEVELS_DB, _LEVELS_DB) / 20) / loudness
    clip *= min(gain, 0.99 / np.abs(clip).max())
    clip[:_FADE] *= ramp
    clip[-_FADE:] *= ramp[::-1]
    track[at : at + len(clip)] += clip
    begin, finish = ((at + sample) / SAMPLE_RATE for sample in (start, end))
    placed.append(Word(begin, finish, words[index]))
    at += len(clip)
  if not placed:
    raise ValueError("no clip fits into the recording, or all are silent; give more --synthesize")
  return track, placed


def add_noise(track: np.ndarray, snr_db: float | None, rng: np.random.Generator) -> np.ndarray:
  """Adds noise, half white and half pink, at a ratio to `LEVEL`; None adds none.

  Args:
    track: `[n]` float32.
    snr_db: signal-to-noise ratio in dB.
    rng: draws the noise.
  """
  if snr_db is None:
    return track
  noise = (make_noise(len(track), rng, 0) + make_noise(len(track), rng, 1)) / np.sqrt(2)
  return np.clip(track + LEVEL * 10 ** (-snr_db / 20) * noise, -1, 1).astype(np.float32)


def _find_word(clip: np.ndarray) -> tuple[int, int, float]:
  """First and last sample of a word in a clip, and its loudness."""
  frames = clip[: len(clip) // _FRAME * _FRAME].reshape(-1, _FRAME)
  power = np.mean(np.square(frames, dtype=np.float64), axis=1)
  loud = np.flatnonzero(power > _LOUD**2 * power.max())
  return (
    int(loud[0]) * _FRAME,
    (int(loud[-1]) + 1) * _FRAME,
    float(np.sqrt(np.mean(power[loud]))),
  )

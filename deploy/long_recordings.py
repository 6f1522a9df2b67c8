"""Long recordings with known words: read, or made of a data set's clips or of sentences."""

import argparse
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import soundfile

from data_pipelines import speech
from data_pipelines.speech import SAMPLE_RATE, UNKNOWN
from data_pipelines.speech.background import make_noise
from data_pipelines.speech.loudness import SPEECH_LEVEL, find_word
from deploy.commands import data_of, load_data
from deploy.labels import Word, check_spelling, read_words
from deploy.recordings import read_pieces
from deploy.run_files import Run

_LEVELS_DB = 3.0  # words differ from it by up to so much
_FADE = 320  # samples
_SILENT_PEAK = 100 / 32768  # recordings below are taken for silence


def synthesize(
  run: Run,
  of: str,
  minutes: float,
  *,
  data: dict[str, Any],
  split: str = "test",
  gap_s: float = 1.0,
  snr_db: float | None = None,
  seed: int = 1,
  progress: bool = False,
) -> tuple[np.ndarray, list[Word]]:
  """Makes a recording of clips or of sentences.

  Args:
    run: whose classes are used.
    of: "keywords", "unknown" (the other words of the data), "all", or "sentences".
    minutes: its length.
    data: `dataset`, `data_dir` and `cache_dir` of `speech.load`.
    split: of the data set whose clips are joined.
    gap_s: mean gap between clips.
    snr_db: ratio of speech and noise; None adds no noise.
    seed: of everything random.
    progress: whether to show progress bars.

  Returns:
    Samples `[n]` float32 at 16 kHz, and the words in them; none are listed of sentences.

  Raises:
    ValueError: data that cannot be read, or that lacks such clips.
  """
  rng = np.random.default_rng(seed)
  if of == "sentences":
    keywords = [name for name in run.class_names if name != UNKNOWN]
    number = int(25 * minutes) + 5  # of 2.7 s on average
    said: dict[str, Any] = {"utterances": number, "seed": seed, "progress": progress}
    track = speech.open_other_speech(data["cache_dir"], "sentences", keywords, split=split, **said)
    samples = track[: int(60 * minutes * SAMPLE_RATE)].astype(np.float32) / 32768
    return add_noise(samples, snr_db, rng), []
  loaded = load_data(run, data, progress=progress)
  names = np.array(loaded.class_names)[getattr(loaded.splits, split).labels]
  wanted = {"keywords": names != UNKNOWN, "unknown": names == UNKNOWN, "all": names != ""}[of]
  index = np.flatnonzero(wanted)
  if not index.size:
    raise ValueError(f"the {split} split has no clip of --of={of}; choose another one")
  read = lambda k: loaded.audio(split, int(index[k]))
  words = [str(name) for name in names[index]]
  track, placed = join_clips(read, words, minutes=minutes, gap_s=gap_s, rng=rng)
  return add_noise(track, snr_db, rng), placed


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
    start, end, loudness = find_word(clip)
    gain = SPEECH_LEVEL * 10 ** (rng.uniform(-_LEVELS_DB, _LEVELS_DB) / 20) / loudness
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
  """Adds noise, half white and half pink, at a ratio to `SPEECH_LEVEL`; None adds none.

  Args:
    track: `[n]` float32.
    snr_db: signal-to-noise ratio in dB.
    rng: draws the noise.
  """
  if snr_db is None:
    return track
  noise = (make_noise(len(track), rng, 0) + make_noise(len(track), rng, 1)) / np.sqrt(2)
  return np.clip(track + SPEECH_LEVEL * 10 ** (-snr_db / 20) * noise, -1, 1).astype(np.float32)


def save_recording(path: str, samples: np.ndarray, words: list[Word]) -> None:
  """Writes a recording, and its labels beside it as `read_words` reads them.

  Args:
    path: of the recording; the labels have the ending .tsv.
    samples: `[n]` at 16 kHz.
    words: in it.

  Raises:
    ValueError: the files cannot be written.
  """
  lines = [f"{word.start:.3f}\t{word.end:.3f}\t{word.word}\n" for word in words]
  try:
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
    pathlib.Path(path).with_suffix(".tsv").write_text("".join(lines), encoding="utf-8")
  except (OSError, RuntimeError, TypeError, ValueError) as error:
    raise ValueError(f"--save={path} cannot be written: {error}") from error


def open_recording(run: Run, given: argparse.Namespace) -> tuple[np.ndarray, list[Word]]:
  """Reads or makes the recording that a command's arguments name.

  Args:
    run: of speech.
    given: arguments of `add_recording` and `add_data`.

  Returns:
    Samples `[n]` float32 at 16 kHz, and the words in them.

  Raises:
    ValueError: neither or both are named, or a file cannot be read.
  """
  if bool(given.recording) == (given.synthesize is not None):
    raise ValueError("give --recording=FILE or --synthesize=MINUTES, one of them")
  if given.synthesize is not None and not 0 < given.synthesize < math.inf:
    raise ValueError(f"--synthesize is {given.synthesize:g}; give minutes, more than 0")
  if not 0 <= given.gap_s < math.inf:
    raise ValueError(f"--gap_s is {given.gap_s:g}; give seconds, 0 or more")
  if given.recording and given.snr_db is not None:
    raise ValueError("--snr_db adds noise to a made recording; leave it out, or give --synthesize")
  if given.synthesize and given.labels:
    raise ValueError("--labels are of --recording; a made recording has its own")
  if given.recording:
    samples = np.concatenate(list(read_pieces(pathlib.Path(given.recording))))
    words = read_words(given.labels, len(samples) / SAMPLE_RATE) if given.labels else []
    check_spelling(words, run.class_names, given.labels)
    return samples, words
  options = {name: getattr(given, name) for name in ("split", "gap_s", "snr_db", "seed")}
  data = data_of(given)
  return synthesize(run, given.of, given.synthesize, data=data, progress=True, **options)

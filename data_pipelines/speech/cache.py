"""The cache on disk: log-mel frames of every clip of a source, so that audio is decoded once.

An entry is a folder. Its name is a SHA-256 of everything that its content depends on: the source's
fingerprint (for files: the split, relative path, size and modification time of each), the
constants of the front end, and `FORMAT`. A changed file, list or constant therefore makes a new
entry, and a moved data folder keeps its entry. An entry holds these files:

    train.f32, validation.f32, test.f32   frames [N, 101, 20], little-endian float32
    clips.json                            for each record its name, word, number of samples, index
                                          in the source, length, and whether it is silent; for each
                                          skipped file the reason, and whether the system could not
                                          read it
    manifest.json                         sizes and checksums of the others; `store` writes it

Entries may be deleted at any time.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data_pipelines.speech import features, store
from data_pipelines.speech.source import SPLITS

FORMAT = 2
FRAME_SHAPE = (features.NUM_FRAMES, features.NUM_BANDS)
_CLIPS = "clips.json"


class SplitClips(NamedTuple):
  """What is known of the N records of a split, in lists of N.

  Attributes:
    names: the name of each, `word/file`.
    words: the spoken word of each.
    num_samples: the number of samples of each at 16 kHz, before padding.
    indices: the index of each in its source. Skipped files have an index too, so that a record's
      index may be larger than its position in these lists.
    seconds: the length of each whole recording.
    silent: whether the samples of each are zero, but for one unit of 16 bits.
  """

  names: list[str]
  words: list[str]
  num_samples: list[int]
  indices: list[int]
  seconds: list[float]
  silent: list[bool]


class Entry(NamedTuple):
  """An entry of the cache, opened.

  Attributes:
    frames: for each split, `[N, 101, 20]` float32 log-mel frames, memory-mapped.
    clips: for each split, what is known of its records.
    skipped: one line for each file that could not be used, which names it and says why.
  """

  frames: dict[str, np.ndarray]
  clips: dict[str, SplitClips]
  skipped: tuple[str, ...]


class Skipped(NamedTuple):
  """The files of a source that could not be used.

  Attributes:
    lines: one for each, which names it and says why.
    unreadable: split and index in the source of those that the system could not read.
  """

  lines: list[str]
  unreadable: list[tuple[str, int]]


def default_cache_dir() -> pathlib.Path:
  """Returns `rc_jax/speech` below $XDG_CACHE_HOME, or below ~/.cache where that is not set.

  Raises:
    ValueError: the user has no home.
  """
  base = os.environ.get("XDG_CACHE_HOME")
  if not base:
    try:
      base = str(pathlib.Path.home() / ".cache")
    except RuntimeError as error:
      raise ValueError("this user has no home; give --cache_dir or set XDG_CACHE_HOME") from error
  return pathlib.Path(base) / "rc_jax" / "speech"


def entry_key(fingerprint: str) -> str:
  """Returns the name of the entry of a source that has this fingerprint."""
  constants = [
    FORMAT,
    features.SAMPLE_RATE,
    features.NUM_SAMPLES,
    features.WINDOW,
    features.HOP,
    features.NUM_BANDS,
    features.LOG_OFFSET,
    fingerprint,
  ]
  return "frames-" + hashlib.sha256(json.dumps(constants).encode()).hexdigest()[:32]


def open_or_build(
  cache_dir: pathlib.Path,
  fingerprint: str,
  build: Callable[[pathlib.Path], None],
  can_read: Callable[[str, int], bool],
) -> Entry:
  """Opens the entry of a source, and builds it first where it is missing or damaged.

  It is built anew too where a file that the system could not read then can be read now.

  Args:
    cache_dir: the folder of the cache; it is made where it does not exist.
    fingerprint: the source's fingerprint.
    build: writes frames and clips into the empty folder that it is given.
    can_read: says of a split and an index whether the system can read that record now.

  Raises:
    ValueError: if cache_dir cannot be written, also by `build`. What else it raises is passed on.
  """
  key = entry_key(fingerprint)
  folder = store.open_or_build(cache_dir, key, build)
  body = json.loads((folder / _CLIPS).read_text())
  if any(can_read(*which) for which in body.get("unreadable", ())):
    store.remove(cache_dir, key)
    folder = store.open_or_build(cache_dir, key, build)
    body = json.loads((folder / _CLIPS).read_text())
  clips = {split: SplitClips(**body["splits"][split]) for split in SPLITS}
  frames = {
    split: _map_frames(frames_path(folder, split), len(clips[split].names)) for split in SPLITS
  }
  return Entry(frames, clips, tuple(body["skipped"]))


def write_clips(folder: pathlib.Path, clips: dict[str, SplitClips], skipped: Skipped) -> None:
  """Writes `clips.json`: what is known of each split's records, and why files were skipped."""
  splits = {split: clips[split]._asdict() for split in SPLITS}
  body = {"skipped": skipped.lines, "unreadable": skipped.unreadable, "splits": splits}
  (folder / _CLIPS).write_text(json.dumps(body))


def frames_path(folder: pathlib.Path, split: str) -> pathlib.Path:
  """Returns the file that holds the frames of a split."""
  return folder / f"{split}.f32"


def _map_frames(path: pathlib.Path, rows: int) -> np.ndarray:
  """Maps a file of frames into memory, read-only: `[rows, 101, 20]` float32."""
  if rows == 0:  # an empty file cannot be mapped
    return np.zeros((0, *FRAME_SHAPE), np.float32)
  return np.memmap(path, "<f4", mode="r", shape=(rows, *FRAME_SHAPE))

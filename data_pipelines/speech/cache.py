"""The cache: log-mel frames of every clip of a source, decoded once.

An entry is a folder named by a SHA-256 of what its content follows from: the source's fingerprint
(for files: split, relative path, size and modification time of each), the constants of the front
end and `FORMAT`. So a changed file, list or constant makes another entry, and a moved folder does
not. An entry holds

    train.f32, validation.f32, test.f32   frames [N, 101, 20], little-endian float32
    clips.json                            name, word, number of samples and source index a record;
                                          files that were skipped and why
    manifest.json                         see `store`, which writes entries whole or not at all

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

FORMAT = 1
FRAME_SHAPE = (features.NUM_FRAMES, features.NUM_BANDS)
_CLIPS = "clips.json"


class SplitClips(NamedTuple):
  """What is known of the records of a split; lists of N.

  Attributes:
    names: `word/file`.
    words: the word of each.
    num_samples: at 16 kHz, before padding.
    indices: place of each in its source, where skipped files count.
  """

  names: list[str]
  words: list[str]
  num_samples: list[int]
  indices: list[int]


class Entry(NamedTuple):
  """An entry of the cache.

  Attributes:
    frames: split -> `[N, 101, 20]` float32, memory-mapped.
    clips: split -> SplitClips.
    skipped: one line for each file that could not be used.
  """

  frames: dict[str, np.ndarray]
  clips: dict[str, SplitClips]
  skipped: tuple[str, ...]


def default_cache_dir() -> pathlib.Path:
  """`rc_jax/speech` below $XDG_CACHE_HOME, or below ~/.cache where that is not set."""
  base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
  return pathlib.Path(base) / "rc_jax" / "speech"


def key_of(fingerprint: str) -> str:
  """The name of the entry of a source."""
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
  cache_dir: pathlib.Path, fingerprint: str, build: Callable[[pathlib.Path], None]
) -> Entry:
  """The entry of a source; `build(folder)` writes frames and clips where there is no sound one.

  Raises:
    ValueError: cache_dir cannot be written; and whatever `build` raises.
  """
  folder = store.open_or_build(cache_dir, key_of(fingerprint), build)
  body = json.loads((folder / _CLIPS).read_text())
  clips = {split: SplitClips(**body["splits"][split]) for split in SPLITS}
  frames = {split: _map(frames_path(folder, split), len(clips[split].names)) for split in SPLITS}
  return Entry(frames, clips, tuple(body["skipped"]))


def write_clips(folder: pathlib.Path, clips: dict[str, SplitClips], skipped: list[str]) -> None:
  """Writes what is known of the records; their frames go to `frames_path`."""
  body = {"skipped": skipped, "splits": {split: clips[split]._asdict() for split in SPLITS}}
  (folder / _CLIPS).write_text(json.dumps(body))


def frames_path(folder: pathlib.Path, split: str) -> pathlib.Path:
  """The file of the frames of a split."""
  return folder / f"{split}.f32"


def _map(path: pathlib.Path, rows: int) -> np.ndarray:
  if rows == 0:  # an empty file cannot be mapped
    return np.zeros((0, *FRAME_SHAPE), np.float32)
  return np.memmap(path, "<f4", mode="r", shape=(rows, *FRAME_SHAPE))

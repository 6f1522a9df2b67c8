"""The cache: log-mel frames of every clip of a source, decoded once.

An entry is a folder named by a SHA-256 of what its content follows from: the source's fingerprint
(for files: split, relative path, size and modification time of each), the constants of the front
end and `FORMAT`. So a changed file, list or constant makes another entry, and a moved folder does
not. An entry holds

    train.f32, validation.f32, test.f32   frames [N, 101, 20], little-endian float32
    clips.json                            name, word, number of samples and source index a record;
                                          files that were skipped and why
    manifest.json                         size and CRC-32 of the files above, written last

It is written to a temporary folder beside it and renamed, so readers see all or nothing; whoever
loses a race takes the winner's. On opening every size and sum is checked: a truncated or altered
entry is built again. Entries hold no user data but these and may be deleted at any time.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from data_pipelines.speech import features
from data_pipelines.speech.source import SPLITS

FORMAT = 1
FRAME_SHAPE = (features.NUM_FRAMES, features.NUM_BANDS)
_MANIFEST = "manifest.json"
_CLIPS = "clips.json"
_TEMPORARY = ".unfinished-"
_STALE_SECONDS = 24 * 3600
_RENAMES = 10  # attempts, should others keep putting damaged entries in the way


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
  return hashlib.sha256(json.dumps(constants).encode()).hexdigest()[:32]


def open_or_build(
  cache_dir: pathlib.Path, key: str, build: Callable[[pathlib.Path], None]
) -> Entry:
  """The entry of a key; `build(folder)` writes its frames and clips where there is no sound one.

  Raises:
    ValueError: cache_dir cannot be written; and whatever `build` raises.
  """
  final = cache_dir / key
  entry = _open(final)
  if entry is None:
    with writable_folder(cache_dir) as folder:
      build(folder)
      _seal(folder)
      publish(folder, final, lambda path: _open(path) is not None)
    entry = _open(final)
  if entry is None:
    raise ValueError(f"cache entry {final} was altered while it was written; try again")
  return entry


@contextlib.contextmanager
def writable_folder(cache_dir: pathlib.Path):
  """A temporary folder in the cache, gone afterwards unless it was published.

  Raises:
    ValueError: cache_dir cannot be written, or the disk is full.
  """
  folder = None
  try:
    cache_dir.mkdir(parents=True, exist_ok=True)
    _sweep(cache_dir)
    folder = pathlib.Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=cache_dir))
    yield folder
  except OSError as error:
    raise ValueError(
      f"cache_dir {cache_dir} cannot be written ({error.strerror or error}); choose another one"
    ) from error
  finally:
    if folder is not None:
      shutil.rmtree(folder, ignore_errors=True)


def publish(
  folder: pathlib.Path, final: pathlib.Path, sound: Callable[[pathlib.Path], bool]
) -> None:
  """Renames a finished folder into place; a sound one that is there already stays."""
  for _ in range(_RENAMES):
    try:
      folder.rename(final)
      return
    except OSError:
      if not final.exists():
        raise
    if sound(final):
      return
    # A damaged entry is in the way. Maps of it that others hold stay valid after this.
    grave = pathlib.Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=final.parent))
    with contextlib.suppress(OSError):
      final.rename(grave / "entry")
    shutil.rmtree(grave, ignore_errors=True)


def _sweep(cache_dir: pathlib.Path) -> None:
  """Removes what killed processes left behind a day ago or earlier."""
  for folder in cache_dir.glob(f"{_TEMPORARY}*"):
    with contextlib.suppress(OSError):
      if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
        shutil.rmtree(folder, ignore_errors=True)


def write_clips(folder: pathlib.Path, clips: dict[str, SplitClips], skipped: list[str]) -> None:
  """Writes what is known of the records; their frames go to `frames_path`."""
  body = {"skipped": skipped, "splits": {split: clips[split]._asdict() for split in SPLITS}}
  (folder / _CLIPS).write_text(json.dumps(body))


def frames_path(folder: pathlib.Path, split: str) -> pathlib.Path:
  """The file of the frames of a split."""
  return folder / f"{split}.f32"


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  return [frames_path(folder, split) for split in SPLITS] + [folder / _CLIPS]


def _seal(folder: pathlib.Path) -> None:
  """Writes the manifest: from here on the entry counts."""
  sums = {path.name: [path.stat().st_size, _crc32(path)] for path in _files(folder)}
  (folder / _MANIFEST).write_text(json.dumps(sums))


def _open(folder: pathlib.Path) -> Entry | None:
  """The entry in a folder, or None where it is absent or damaged."""
  try:
    sums = json.loads((folder / _MANIFEST).read_text())
    for path in _files(folder):
      if sums[path.name] != [path.stat().st_size, _crc32(path)]:
        return None
    body = json.loads((folder / _CLIPS).read_text())
  except (OSError, ValueError, KeyError, TypeError):
    return None
  clips = {split: SplitClips(**body["splits"][split]) for split in SPLITS}
  frames = {split: _map(frames_path(folder, split), len(clips[split].names)) for split in SPLITS}
  return Entry(frames, clips, tuple(body["skipped"]))


def _map(path: pathlib.Path, rows: int) -> np.ndarray:
  if rows == 0:  # an empty file cannot be mapped
    return np.zeros((0, *FRAME_SHAPE), np.float32)
  return np.memmap(path, "<f4", mode="r", shape=(rows, *FRAME_SHAPE))


def _crc32(path: pathlib.Path) -> int:
  crc = 0
  with path.open("rb") as file:
    while block := file.read(1 << 22):
      crc = zlib.crc32(block, crc)
  return crc

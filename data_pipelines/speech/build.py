"""Fills a cache entry: threads decode clips, and the device computes frames batch by batch."""

import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Iterator

import numpy as np
import tqdm

from data_pipelines.speech import cache, features
from data_pipelines.speech.source import SPLITS, Clip, Source, UnreadableError
from data_pipelines.speech.waveforms import pad_to_second

# The intermediate arrays of 16 clips fit into a CPU's caches. With batches of 256 clips the
# transform took three times as long for each clip.
BATCH_SIZE = 16
SILENT_PEAK = 1 / 32768  # one unit of 16 bits, to which opposite channels may be rounded
_BATCHES_AHEAD = 4  # how many batches threads decode while the device transforms one


def build_entry(folder: pathlib.Path, source: Source, *, skip_bad: bool, progress: bool) -> None:
  """Writes the frames of all clips of a source, and what is known of the clips, into a folder.

  Args:
    folder: an existing, empty folder.
    source: the recordings to read.
    skip_bad: whether to leave out clips that cannot be used, instead of raising.
    progress: whether to show a progress bar.

  Raises:
    ValueError: if a clip cannot be used and `skip_bad` is False. The message names the clip.
  """
  clips: dict[str, cache.SplitClips] = {}
  skipped = cache.Skipped([], [])
  total = sum(source.sizes.values())
  workers = min(32, os.cpu_count() or 1)
  with (
    concurrent.futures.ThreadPoolExecutor(workers) as pool,
    tqdm.tqdm(total=total, desc="reading audio", unit="clip", disable=not progress) as bar,
  ):
    for split in SPLITS:
      clips[split] = cache.SplitClips([], [], [], [], [], [])
      with cache.frames_path(folder, split).open("wb") as file:
        for start, results in _decode_ahead(source, split, pool):
          good = _keep_usable(split, start, results, clips[split], skipped, skip_bad)
          if good:
            file.write(_compute_frames(good).astype("<f4", copy=False).tobytes())
          bar.update(len(results))
  cache.write_clips(folder, clips, skipped)


def _decode_ahead(
  source: Source, split: str, pool: concurrent.futures.Executor
) -> Iterator[tuple[int, list[Clip | ValueError]]]:
  """Yields the clips of a split batch by batch, while a pool decodes the next batches.

  Yields:
    The index of the batch's first clip, and its clips in order; a clip that cannot be used is
    given as the error that `read` raised.
  """
  read = functools.partial(_try_read, source, split)
  waiting: list[tuple[int, list[concurrent.futures.Future]]] = []
  size = source.sizes[split]
  try:
    for start in range(0, size, BATCH_SIZE):
      indices = range(start, min(start + BATCH_SIZE, size))
      waiting.append((start, [pool.submit(read, index) for index in indices]))
      if len(waiting) > _BATCHES_AHEAD:
        first, futures = waiting.pop(0)
        yield first, [future.result() for future in futures]
    while waiting:
      first, futures = waiting.pop(0)
      yield first, [future.result() for future in futures]
  finally:
    for _, futures in waiting:
      for future in futures:
        future.cancel()


def can_read(source: Source, split: str, index: int) -> bool:
  """Whether the system can read a clip, be it usable or not."""
  return not isinstance(_try_read(source, split, index), UnreadableError)


def _try_read(source: Source, split: str, index: int) -> Clip | ValueError:
  """Reads a clip; returns the error of a clip that cannot be used instead of raising it."""
  try:
    return source.read(split, index)
  except ValueError as error:
    return error


def _keep_usable(
  split: str,
  start: int,
  results: list[Clip | ValueError],
  clips: cache.SplitClips,
  skipped: cache.Skipped,
  skip_bad: bool,
) -> list[np.ndarray]:
  """Returns the samples of the usable clips of a batch and records what is known of them.

  Args:
    split: of the clips.
    start: index of the batch's first clip in its source.
    results: the batch's clips, or the error of a clip that cannot be used.
    clips: the record of usable clips, which is appended to.
    skipped: the record of unusable clips, which is appended to.
    skip_bad: whether to go on at an unusable clip.

  Raises:
    ValueError: if a clip cannot be used and `skip_bad` is False.
  """
  good = []
  for index, result in enumerate(results, start):
    if isinstance(result, ValueError):
      if not skip_bad:
        raise unusable_clip_error(str(result)) from result
      skipped.lines.append(str(result))
      if isinstance(result, UnreadableError):
        skipped.unreadable.append((split, index))
      continue
    good.append(result.samples)
    clips.names.append(result.name)
    clips.words.append(result.word)
    clips.num_samples.append(len(result.samples))
    clips.indices.append(index)
    clips.seconds.append(result.seconds)
    clips.silent.append(bool(np.abs(result.samples).max() <= SILENT_PEAK))
  return good


def unusable_clip_error(what: str) -> ValueError:
  """Makes the error for a clip that cannot be used, from a text that names it and says why."""
  return ValueError(f"{what}; repair or remove it, or give --on_bad_file=skip")


def _compute_frames(samples: list[np.ndarray]) -> np.ndarray:
  """Computes the frames `[k, 101, 20]` of k clips of `[n]` samples."""
  audio = np.zeros((len(samples), features.NUM_SAMPLES), np.float32)
  for row, clip in zip(audio, samples, strict=True):
    row[:] = pad_to_second(clip)
  return features.log_mel_of_clips(audio)

"""Filling a cache entry: decode in threads, transform in batches on the device."""

import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from data_pipelines.speech import cache, features
from data_pipelines.speech.source import SPLITS, Clip, Source
from data_pipelines.speech.waveforms import padded

# Frames of 16 clips stay in a CPU's caches; with 256 the transform took three times as long a clip.
BATCH_SIZE = 16
_AHEAD = 4  # batches that are decoded ahead of the transform


def build_entry(folder: pathlib.Path, source: Source, *, skip_bad: bool, progress: bool) -> None:
  """Writes frames and clips of a source into a folder.

  Args:
    folder: an empty folder.
    source: where the clips come from.
    skip_bad: leave out clips that cannot be used, instead of raising.
    progress: show a bar.

  Raises:
    ValueError: a clip cannot be used; the message names it.
  """
  clips: dict[str, cache.SplitClips] = {}
  skipped: list[str] = []
  total = sum(source.sizes.values())
  workers = min(32, os.cpu_count() or 1)
  with (
    concurrent.futures.ThreadPoolExecutor(workers) as pool,
    tqdm.tqdm(total=total, desc="reading audio", unit="clip", disable=not progress) as bar,
  ):
    for split in SPLITS:
      clips[split] = cache.SplitClips([], [], [], [])
      with cache.frames_path(folder, split).open("wb") as file:
        for start, results in _decoded(source, split, pool):
          good = _sort_out(start, results, clips[split], skipped, skip_bad)
          if good:
            file.write(_transform(good).astype("<f4", copy=False).tobytes())
          bar.update(len(results))
  cache.write_clips(folder, clips, skipped)


def _decoded(
  source: Source, split: str, pool: concurrent.futures.Executor
) -> Iterator[tuple[int, list[Clip | ValueError]]]:
  """Batches of clips in order, with the index of the first; some are read ahead."""
  read = functools.partial(_read, source, split)
  waiting: list[tuple[int, list[concurrent.futures.Future]]] = []
  size = source.sizes[split]
  try:
    for start in range(0, size, BATCH_SIZE):
      indices = range(start, min(start + BATCH_SIZE, size))
      waiting.append((start, [pool.submit(read, index) for index in indices]))
      if len(waiting) > _AHEAD:
        first, futures = waiting.pop(0)
        yield first, [future.result() for future in futures]
    while waiting:
      first, futures = waiting.pop(0)
      yield first, [future.result() for future in futures]
  finally:
    for _, futures in waiting:
      for future in futures:
        future.cancel()


def _read(source: Source, split: str, index: int) -> Clip | ValueError:
  try:
    return source.read(split, index)
  except ValueError as error:
    return error


def _sort_out(
  start: int,
  results: list[Clip | ValueError],
  clips: cache.SplitClips,
  skipped: list[str],
  skip_bad: bool,
) -> list[np.ndarray]:
  """Notes the clips of a batch and returns their samples; raises at a bad one, or notes that."""
  good = []
  for index, result in enumerate(results, start):
    if isinstance(result, ValueError):
      if not skip_bad:
        raise bad_clip(str(result)) from result
      skipped.append(str(result))
      continue
    good.append(result.samples)
    clips.names.append(result.name)
    clips.words.append(result.word)
    clips.num_samples.append(len(result.samples))
    clips.indices.append(index)
  return good


def bad_clip(what: str) -> ValueError:
  """The error of a clip that cannot be used."""
  return ValueError(f"{what}; repair or remove it, or pass on_bad_file='skip'")


def _transform(samples: list[np.ndarray]) -> np.ndarray:
  """Frames `[k, 101, 20]` of k <= BATCH_SIZE clips, by one compiled program."""
  audio = np.zeros((BATCH_SIZE, features.NUM_SAMPLES), np.float32)
  for row, clip in zip(audio, samples, strict=False):
    row[:] = padded(clip)
  return np.asarray(_log_mel(jnp.asarray(audio)))[: len(samples)]


_log_mel = jax.jit(features.log_mel)

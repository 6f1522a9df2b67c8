"""Loads spoken words: joins a source, its cached frames, classes, statistics and notes."""

import collections
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from data_pipelines.batches import Split, Splits
from data_pipelines.speech import cache, features
from data_pipelines.speech.build import build_entry, can_read, unusable_clip_error
from data_pipelines.speech.folder import folder_source
from data_pipelines.speech.notes import Notes, take_notes
from data_pipelines.speech.official import official_source
from data_pipelines.speech.source import SPLITS, Source
from data_pipelines.speech.split_rules import SPEAKER_PATTERN
from data_pipelines.speech.synthetic import synthetic_source
from data_pipelines.speech.waveforms import pad_to_second
from rc_jax.types import Batch

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
ALL = ("all",)
UNKNOWN = "unknown"
CLIP_AT = ("start", "loudest", "error")
DATASETS = ("folder", "speech_commands", "synthetic")


class Statistics(NamedTuple):
  """Mean and standard deviation of the training split's log-mel frames.

  Only frames whose windows hold recorded samples count; padding does not.

  Attributes:
    mean: `[20]` float32, the mean of each band in nats.
    std: `[20]` float32, the standard deviation of each band in nats; 1 for a band that is constant.
  """

  mean: np.ndarray
  std: np.ndarray


class Speech(NamedTuple):
  """A data set of spoken words.

  Attributes:
    splits: the records. Their `inputs` are log-mel frames `[N, 101, 20]` float32, memory-mapped;
      their `lengths` are numbers of steps, 1..81. `prepare` turns a batch of them into steps.
    class_names: the keywords in the given order, then "unknown" if there are other words.
    statistics: what standardises the frames, from the training split.
    notes: facts that a report must state.
    audio: `(split name, index) -> [16000]`, reads the float32 samples of a record from its source.
  """

  splits: Splits
  class_names: tuple[str, ...]
  statistics: Statistics
  notes: Notes
  audio: Callable[[str, int], np.ndarray]


def load(
  dataset: str,
  *,
  data_dir: str | pathlib.Path | None = None,
  keywords: Sequence[str] = KEYWORDS,
  pad_short: bool = True,
  speaker_pattern: str = SPEAKER_PATTERN,
  on_bad_file: str = "error",
  clip_at: str = "start",
  cache_dir: str | pathlib.Path | None = None,
  progress: bool = True,
) -> Speech:
  """Opens a data set of spoken words; decodes it first if the cache does not hold it yet.

  Args:
    dataset: "folder" (recordings as word/*.wav in `data_dir`), "speech_commands" (v0.02, which is
      downloaded into `data_dir`) or "synthetic" (spoken by espeak-ng, without a download).
    data_dir: the folder that `dataset` speaks of; None for "synthetic".
    keywords: the words to spot; every other word is in the class "unknown". With ("all",) each
      word is a class of its own.
    pad_short: True counts clips shorter than a second as padded to a second (appendix A.4). False
      ends their lengths with the recording.
    speaker_pattern: a regular expression that finds the speaker in a file name, for "folder".
    on_bad_file: "error" raises at a file that cannot be used; "skip" leaves it out.
    clip_at: which second of a recording longer than a second is taken, for "folder": "start",
      "loudest", or "error", which is a bad file.
    cache_dir: the folder of the cache; None means the user's cache folder. See `cache`.
    progress: whether to show a progress bar while clips are decoded.

  Returns:
    The data set, whose frames are memory-mapped.

  Raises:
    ValueError: if arguments or data are bad. The message is one sentence that
      says what to do.
  """
  keywords = _check_keywords(keywords)
  if on_bad_file not in ("error", "skip"):
    raise ValueError(f"on_bad_file is {on_bad_file!r}; choose 'error' or 'skip'")
  if clip_at not in CLIP_AT:
    raise ValueError(f"clip_at is {clip_at!r}; choose one of {', '.join(CLIP_AT)}")
  cache_path = pathlib.Path(cache_dir).expanduser() if cache_dir else cache.default_cache_dir()
  source = _open_source(dataset, data_dir, speaker_pattern, clip_at, cache_path, progress)
  class_names = _choose_class_names(source.words, keywords)

  entry = _open_entry(source, cache_path, on_bad_file == "skip", progress)
  labels = {split: _label_words(entry.clips[split].words, class_names) for split in SPLITS}
  notes = take_notes(source, entry, class_names, labels)

  def audio(split: str, index: int) -> np.ndarray:
    return pad_to_second(source.read(split, entry.clips[split].indices[index]).samples)

  splits = Splits(*(_make_split(entry, split, labels, class_names, pad_short) for split in SPLITS))
  return Speech(splits, class_names, _compute_statistics(entry), notes, audio)


def prepare(statistics: Statistics, batch: Batch) -> Batch:
  """Turns a batch of stored frames into steps: standardises them and joins each with its context.

  Args:
    statistics: mean and standard deviation of the training split.
    batch: inputs `[B, F, 20]` float32 log-mel frames; F = 101 for clips.

  Returns:
    The batch with inputs `[B, F - 20, 420]` float32. Labels and lengths stay.
  """
  frames = features.standardise(batch.inputs, statistics.mean, statistics.std)
  return batch._replace(inputs=features.context(frames))


def prepare_whole(statistics: Statistics, batch: Batch) -> Batch:
  """Turns each clip of a batch into a single step: the image of its standardised frames.

  Args:
    statistics: mean and standard deviation of the training split.
    batch: inputs `[B, 101, 20]` float32 log-mel frames.

  Returns:
    The batch with inputs `[B, 1, 101, 20, 1]` float32 and lengths 1. Labels stay.
  """
  frames = features.standardise(batch.inputs, statistics.mean, statistics.std)
  return batch._replace(inputs=frames[:, None, ..., None], lengths=jnp.ones_like(batch.lengths))


def _open_source(dataset, data_dir, speaker_pattern, clip_at, cache_path, progress) -> Source:
  """Opens the source that `dataset` names."""
  if dataset == "folder":
    return folder_source(data_dir, speaker_pattern, clip_at)
  if dataset == "speech_commands":
    return official_source(data_dir, progress=progress)
  if dataset == "synthetic":
    if data_dir is not None:
      raise ValueError("dataset 'synthetic' reads no data_dir; leave it out, or choose 'folder'")
    return synthetic_source(cache_path, progress=progress)
  raise ValueError(f"dataset is {dataset!r}; choose one of {', '.join(DATASETS)}")


def _open_entry(
  source: Source, cache_path: pathlib.Path, skip_bad: bool, progress: bool
) -> cache.Entry:
  """Opens the cache entry of a source, and builds it first if need be.

  Raises:
    ValueError: if a clip cannot be used and `skip_bad` is False, even where the entry was built
      earlier by skipping that clip.
  """
  entry = cache.open_or_build(
    cache_path,
    source.fingerprint,
    lambda folder: build_entry(folder, source, skip_bad=skip_bad, progress=progress),
    functools.partial(can_read, source),
  )
  if entry.skipped and not skip_bad:
    raise unusable_clip_error(entry.skipped[0])
  return entry


def _check_keywords(keywords: Sequence[str]) -> tuple[str, ...]:
  """Returns the keywords as a tuple; raises ValueError if they are none, repeated or ambiguous."""
  words = tuple(keywords.split(",") if isinstance(keywords, str) else keywords)
  if not words or not all(words):
    raise ValueError("keywords is empty; name at least one word, or 'all'")
  twice = [word for word, count in collections.Counter(words).items() if count > 1]
  if twice:
    raise ValueError(f"keywords has {twice[0]!r} more than once; name each word once")
  if "all" in words and words != ALL:
    raise ValueError("keywords has 'all' and other words; give 'all' alone, or only words")
  return words


def _choose_class_names(words: tuple[str, ...], keywords: tuple[str, ...]) -> tuple[str, ...]:
  """Names the classes in the order of their labels, from a source's words and the keywords."""
  if keywords == ALL:
    names = words
  else:
    absent = [word for word in keywords if word not in words]
    if absent:
      raise ValueError(
        f"keywords not in the data: {', '.join(absent)}; the words there are {', '.join(words)}"
      )
    others = set(words) - set(keywords)
    if others and UNKNOWN in keywords:
      raise ValueError("'unknown' is the class of all other words; rename the word of that name")
    names = (*keywords, UNKNOWN) if others else keywords
  if len(names) < 2:
    raise ValueError(f"the data has only the word {names[0]!r}; a classifier needs two classes")
  return names


def _label_words(words: list[str], class_names: tuple[str, ...]) -> np.ndarray:
  """Labels N words: `[N]` int32."""
  index = {name: label for label, name in enumerate(class_names)}
  other = len(class_names) - 1  # "unknown" is last; without it every word has a class
  return np.array([index.get(word, other) for word in words], np.int32)


def _make_split(entry: cache.Entry, split: str, labels, class_names, pad_short: bool) -> Split:
  """Joins the frames, labels and lengths of a split."""
  num_samples = np.array(entry.clips[split].num_samples)
  lengths = features.num_steps(num_samples)
  if pad_short:
    lengths = np.full_like(lengths, features.NUM_STEPS)
  return Split(
    entry.frames[split],
    labels[split],
    lengths,
    num_classes=len(class_names),
    num_steps=features.NUM_STEPS,
    name=split,
  )


def _compute_statistics(entry: cache.Entry, rows: int = 4096) -> Statistics:
  """Computes the statistics of the training split from `rows` clips at a time.

  A second pass sums squared deviations from the mean in float64; the difference of two large sums,
  which one pass would need, loses digits.
  """
  frames = entry.frames["train"]
  real = features.num_frames(np.array(entry.clips["train"].num_samples))
  total, square = np.zeros(features.NUM_BANDS), np.zeros(features.NUM_BANDS)

  def blocks():
    """Yields the frames that hold recorded samples, `[k, 20]` float64."""
    for start in range(0, len(frames), rows):
      block = np.asarray(frames[start : start + rows])
      mask = np.arange(features.NUM_FRAMES)[None, :] < real[start : start + rows, None]
      yield block[mask].astype(np.float64)

  for block in blocks():
    total += block.sum(axis=0)
  mean = total / real.sum()
  for block in blocks():
    square += ((block - mean) ** 2).sum(axis=0)
  std = np.sqrt(square / real.sum())
  std = np.where(std > 1e-6, std, 1.0)
  return Statistics(mean.astype(np.float32), std.astype(np.float32))

"""Loading spoken words: a source, its cached frames, classes, statistics, and what to report."""

import collections
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from data_pipelines.batches import Split, Splits
from data_pipelines.speech import cache, features
from data_pipelines.speech.build import bad_clip, build_entry
from data_pipelines.speech.folder import folder_source
from data_pipelines.speech.official import official_source
from data_pipelines.speech.source import SPLITS, Source
from data_pipelines.speech.split_rules import SPEAKER_PATTERN
from data_pipelines.speech.synthetic import synthetic_source
from data_pipelines.speech.waveforms import padded
from rc_jax.types import Batch

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
ALL = ("all",)
UNKNOWN = "unknown"
DATASETS = ("folder", "speech_commands", "synthetic")


class Statistics(NamedTuple):
  """Of the training split's log-mel frames, over frames that hold recorded samples.

  Attributes:
    mean: `[20]` float32, a band.
    std: `[20]` float32, a band; 1 for a band that never changes.
  """

  mean: np.ndarray
  std: np.ndarray


class Notes(NamedTuple):
  """What whoever quotes a number from this data has to know.

  Attributes:
    skipped: one line for each file that could not be used: its name and why.
    missing: entries of the split lists without a file.
    shared_speakers: speakers that the split lists put into more than one split.
    clips: split -> class name -> number of clips.
  """

  skipped: tuple[str, ...]
  missing: tuple[str, ...]
  shared_speakers: tuple[str, ...]
  clips: dict[str, dict[str, int]]

  def lines(self) -> list[str]:
    """The notes as text for a report; long lists are cut."""
    result = []
    for split, counts in self.clips.items():
      each = ", ".join(f"{name} {count}" for name, count in counts.items())
      result.append(f"{split}: {sum(counts.values())} clips ({each})")
    for what, items in (
      ("bad files skipped", self.skipped),
      ("list entries without a file", self.missing),
      ("speakers in more than one split", self.shared_speakers),
    ):
      if items:
        rest = ", ..." if len(items) > 3 else ""
        result.append(f"{what}: {len(items)} ({', '.join(items[:3])}{rest})")
    return result


class Speech(NamedTuple):
  """Spoken words as splits of records.

  Attributes:
    splits: `inputs` are log-mel frames `[N, 101, 20]` float32, memory-mapped; `lengths` count
      steps, 1..81. `prepare` turns a batch of them into steps.
    class_names: the keywords in the order given, then "unknown" where there are other words.
    statistics: of the training split.
    notes: what must be reported.
    audio: `(split name, index) -> [16000]` float32 samples of a record, read from its source.
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
  cache_dir: str | pathlib.Path | None = None,
  progress: bool = True,
) -> Speech:
  """Opens a data set of spoken words, decoding it first where the cache has it not.

  Args:
    dataset: "folder" (a tree of word/*.wav in `data_dir`), "speech_commands" (v0.02, downloaded
      into `data_dir`) or "synthetic" (made by espeak-ng, no download).
    data_dir: see `dataset`.
    keywords: the words to spot; every other word is "unknown". ("all",): each word is a class.
    pad_short: clips shorter than a second count as padded to one (the paper, appendix A.4);
      False: their lengths end with the recording.
    speaker_pattern: regular expression that finds the speaker in a file name, for "folder".
    on_bad_file: "error" or "skip".
    cache_dir: see `cache`; None for the user's cache folder.
    progress: show a bar while decoding.

  Raises:
    ValueError, FileNotFoundError: bad arguments or data; one line that says what to do.
  """
  keywords = _checked_keywords(keywords)
  if on_bad_file not in ("error", "skip"):
    raise ValueError(f"on_bad_file is {on_bad_file!r}; choose 'error' or 'skip'")
  cache_path = pathlib.Path(cache_dir).expanduser() if cache_dir else cache.default_cache_dir()
  source = _source(dataset, data_dir, speaker_pattern, cache_path, progress)
  class_names = _class_names(source.words, keywords)

  skip = on_bad_file == "skip"
  entry = cache.open_or_build(
    cache_path,
    source.fingerprint,
    lambda folder: build_entry(folder, source, skip_bad=skip, progress=progress),
  )
  if entry.skipped and not skip:
    raise bad_clip(entry.skipped[0])

  labels = {split: _labels(entry.clips[split].words, class_names) for split in SPLITS}
  notes = _notes(source, entry, class_names, labels)

  def audio(split: str, index: int) -> np.ndarray:
    return padded(source.read(split, entry.clips[split].indices[index]).samples)

  splits = Splits(*(_split(entry, split, labels, class_names, pad_short) for split in SPLITS))
  return Speech(splits, class_names, _statistics(entry), notes, audio)


def prepare(statistics: Statistics, batch: Batch) -> Batch:
  """Turns a batch of stored frames into steps: standardised, then with context.

  Args:
    statistics: of the training split.
    batch: inputs `[B, 101, 20]` log-mel frames.

  Returns:
    The batch with inputs `[B, 81, 420]` float32.
  """
  frames = features.standardise(batch.inputs, statistics.mean, statistics.std)
  return batch._replace(inputs=features.context(frames))


def prepare_whole(statistics: Statistics, batch: Batch) -> Batch:
  """Turns a batch of stored frames into one step each: the whole clip, standardised, an image.

  Args:
    statistics: of the training split.
    batch: inputs `[B, 101, 20]` log-mel frames.

  Returns:
    The batch with inputs `[B, 1, 101, 20, 1]` float32 and lengths 1.
  """
  frames = features.standardise(batch.inputs, statistics.mean, statistics.std)
  return batch._replace(inputs=frames[:, None, ..., None], lengths=jnp.ones_like(batch.lengths))


def _source(dataset, data_dir, speaker_pattern, cache_path, progress) -> Source:
  if dataset == "folder":
    return folder_source(data_dir, speaker_pattern)
  if dataset == "speech_commands":
    return official_source(data_dir, progress=progress)
  if dataset == "synthetic":
    if data_dir is not None:
      raise ValueError("dataset 'synthetic' reads no data_dir; leave it out, or choose 'folder'")
    return synthetic_source(cache_path, progress=progress)
  raise ValueError(f"dataset is {dataset!r}; choose one of {', '.join(DATASETS)}")


def _checked_keywords(keywords: Sequence[str]) -> tuple[str, ...]:
  words = tuple(keywords.split(",") if isinstance(keywords, str) else keywords)
  if not words or not all(words):
    raise ValueError("keywords is empty; name at least one word, or 'all'")
  twice = [word for word, count in collections.Counter(words).items() if count > 1]
  if twice:
    raise ValueError(f"keywords has {twice[0]!r} more than once; name each word once")
  if "all" in words and words != ALL:
    raise ValueError("keywords has 'all' and other words; give 'all' alone, or only words")
  return words


def _class_names(words: tuple[str, ...], keywords: tuple[str, ...]) -> tuple[str, ...]:
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


def _labels(words: list[str], class_names: tuple[str, ...]) -> np.ndarray:
  index = {name: label for label, name in enumerate(class_names)}
  other = len(class_names) - 1
  return np.array([index.get(word, other) for word in words], np.int32)


def _notes(source: Source, entry: cache.Entry, class_names, labels) -> Notes:
  clips = {}
  for split in SPLITS:
    counts = np.bincount(labels[split], minlength=len(class_names))
    clips[split] = {name: int(n) for name, n in zip(class_names, counts, strict=True)}
    for name, count in clips[split].items():
      if count == 0:
        hint = f" ({len(source.missing)} list entries have no file)" if source.missing else ""
        raise ValueError(
          f"class {name!r} has no clip in the {split} split{hint}; add recordings of it by more "
          "speakers, or leave the word out"
        )
  return Notes(entry.skipped, source.missing, source.shared_speakers, clips)


def _split(entry: cache.Entry, split: str, labels, class_names, pad_short: bool) -> Split:
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


def _statistics(entry: cache.Entry, rows: int = 4096) -> Statistics:
  """Mean and deviation a band of the training split, in two passes of float64."""
  frames = entry.frames["train"]
  real = features.num_frames(np.array(entry.clips["train"].num_samples))
  total, square = np.zeros(features.NUM_BANDS), np.zeros(features.NUM_BANDS)

  def blocks():
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

"""What a report of results on a data set of words must state of its recordings."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_pipelines.speech import cache
from data_pipelines.speech.source import SPLITS, Source, show_name


class Notes(NamedTuple):
  """Facts about the data that a report of results on it must state.

  Attributes:
    skipped: one line for each file that could not be used, which names it and says why.
    missing: entries of the split lists that have no file.
    shared_speakers: speakers whom the split lists put into more than one split.
    unnamed: names of recordings that tell no speaker, so that splits may share one.
    ignored: names of files and folders among the recordings that are not read.
    long: names of recordings longer than a second, of which a second was taken.
    silent: names of recordings whose samples are zero, but for one unit of 16 bits.
    clips: for each split, the number of clips of each class, by class name.
  """

  skipped: tuple[str, ...]
  missing: tuple[str, ...]
  shared_speakers: tuple[str, ...]
  unnamed: tuple[str, ...]
  ignored: tuple[str, ...]
  long: tuple[str, ...]
  silent: tuple[str, ...]
  clips: dict[str, dict[str, int]]

  def lines(self) -> list[str]:
    """Formats the notes as lines of text for a report; long lists are cut after three items."""
    result = []
    for split, counts in self.clips.items():
      each = ", ".join(f"{name} {count}" for name, count in counts.items())
      result.append(f"{split}: {sum(counts.values())} clips ({each})")
    for what, items in (
      ("bad files skipped", self.skipped),
      ("list entries without a file", self.missing),
      ("speakers in more than one split", self.shared_speakers),
      ("names without a speaker (--speaker_pattern), who may be in several splits", self.unnamed),
      ("files and folders that are no .wav, .flac or .ogg, not read", self.ignored),
      ("recordings longer than a second, of which one second is taken (--clip_at)", self.long),
      ("recordings that are silent", self.silent),
    ):
      if items:
        rest = ", ..." if len(items) > 3 else ""
        result.append(f"{what}: {len(items)} ({', '.join(map(show_name, items[:3]))}{rest})")
    return result


def take_notes(
  source: Source,
  entry: cache.Entry,
  class_names: Sequence[str],
  labels: Mapping[str, np.ndarray],
) -> Notes:
  """Takes the notes of a data set.

  Args:
    source: of the recordings.
    entry: of the cache.
    class_names: of the C classes.
    labels: `[N]` int of each split's records.

  Raises:
    ValueError: a split has no clip of a class.
  """
  clips = {}
  for split in SPLITS:
    counts = np.bincount(labels[split], minlength=len(class_names))
    clips[split] = {name: int(n) for name, n in zip(class_names, counts, strict=True)}
    for name, count in clips[split].items():
      if count == 0:
        hint = f" ({len(source.missing)} list entries have no file)" if source.missing else ""
        raise ValueError(
          f"class {name!r} has no clip in the {split} split{hint}; add recordings of it by more "
          "speakers, leave the word out, or, if all are of one voice, give --speaker_pattern=.+ so "
          "that each file stands for itself: the result then tells of that voice alone"
        )
  every = [entry.clips[split] for split in SPLITS]
  named = lambda field, is_so: tuple(
    name
    for clips in every
    for name, value in zip(clips.names, getattr(clips, field), strict=True)
    if is_so(value)
  )
  return Notes(
    entry.skipped,
    source.missing,
    source.shared_speakers,
    source.unnamed,
    source.ignored,
    named("seconds", lambda seconds: seconds > 1),
    named("silent", bool),
    clips,
  )

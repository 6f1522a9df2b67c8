"""Assigns clips to splits, by lists or by a stable hash of the speaker."""

import collections
import hashlib
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from data_pipelines.speech.source import SPLITS, show_name

# The speaker is everything before `_nohash_`: so the files of Speech Commands are named.
SPEAKER_PATTERN = r"^(.+?)_nohash_"
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}

_MAX_CLIPS_A_CLASS = 2**27 - 1  # a constant of the rule that is published with the data set
_VALIDATION_PERCENT = 10
_TESTING_PERCENT = 10


class Assignment(NamedTuple):
  """Clips by split.

  Attributes:
    names: for each of `SPLITS` its clips, `word/file`, sorted.
    missing: entries of the lists that have no file.
    shared_speakers: speakers who are in more than one split. With the hash rule there are none.
    unnamed: clips whose name tells no speaker, where the hash rule took each for one of its own.
  """

  names: dict[str, list[str]]
  missing: tuple[str, ...]
  shared_speakers: tuple[str, ...]
  unnamed: tuple[str, ...]


def hashed_split(speaker: str) -> str:
  """Chooses the split of a speaker by a hash (Warden 2018, section 7).

  About 80 % of speakers are in train, 10 % in validation and 10 % in test. A speaker stays in its
  split when others join.
  """
  hashed = int(hashlib.sha1(speaker.encode("utf-8", "surrogateescape")).hexdigest(), 16)
  percent = (hashed % (_MAX_CLIPS_A_CLASS + 1)) * (100.0 / _MAX_CLIPS_A_CLASS)
  if percent < _VALIDATION_PERCENT:
    return "validation"
  return "test" if percent < _VALIDATION_PERCENT + _TESTING_PERCENT else "train"


def speaker_finder(pattern: str) -> Callable[[str], str]:
  """Makes a function from a clip's name, `word/file`, to its speaker.

  Args:
    pattern: a regular expression that is searched in the file name. Its first group is the
      speaker, or the whole match if it has no group. A file whose name does not match is a speaker
      of its own, named by the file's stem, so that a recording stays in its split when it is
      stored in another format.

  Raises:
    ValueError: if pattern is not a regular expression.
  """
  try:
    compiled = re.compile(pattern)
  except (re.error, TypeError) as error:
    raise ValueError(
      f"speaker_pattern {pattern!r} is not a regular expression ({error}); give one whose first "
      "group is the speaker"
    ) from error

  def speaker(name: str) -> str:
    file_name = name.rsplit("/", 1)[-1]
    match = compiled.search(file_name)
    found = match[1 if compiled.groups else 0] if match else None
    return found or pathlib.PurePath(file_name).stem

  return speaker


def assign(
  names: Iterable[str], listed: Mapping[str, Sequence[str]] | None, speaker: Callable[[str], str]
) -> Assignment:
  """Assigns each clip to exactly one split.

  Args:
    names: the name, `word/file`, of each existing clip.
    listed: the entries of the validation and of the test list; clips on neither are in train. None
      applies the hash rule.
    speaker: returns the speaker of a clip's name.

  Raises:
    ValueError: if a clip is on both lists.
  """
  existing = set(names)
  split_of = _invert_lists(listed) if listed is not None else {}
  result: dict[str, list[str]] = {split: [] for split in SPLITS}
  homes: dict[str, set[str]] = collections.defaultdict(set)
  for name in sorted(existing):
    who = speaker(name)
    split = hashed_split(who) if listed is None else split_of.get(name, "train")
    result[split].append(name)
    homes[who].add(split)
  missing = tuple(sorted(set(split_of) - existing))
  shared = tuple(sorted(who for who, splits in homes.items() if len(splits) > 1))
  alone = (name for name in sorted(existing) if speaker(name) == pathlib.PurePath(name).stem)
  return Assignment(result, missing, shared, tuple(alone) if listed is None else ())


def parse_list(text: str) -> list[str]:
  """Parses a split list, which has one `word/file` on each line, into its entries."""
  entries = (line.strip().replace("\\", "/").removeprefix("./") for line in text.splitlines())
  return [entry for entry in entries if entry]


def _invert_lists(listed: Mapping[str, Sequence[str]]) -> dict[str, str]:
  """Maps each entry of the lists to its split; raises ValueError if one is on both lists."""
  both = sorted(set(listed["validation"]) & set(listed["test"]))
  if both:
    raise ValueError(
      f"{show_name(both[0])} is on {LISTS['validation']} and on {LISTS['test']} "
      f"({len(both)} such entries); take it off one of them"
    )
  return {name: split for split, entries in listed.items() for name in entries}

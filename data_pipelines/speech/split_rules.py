"""Which clip belongs to which split: by lists, or by a stable hash of the speaker."""

import collections
import hashlib
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from data_pipelines.speech.source import SPLITS

# All before `_nohash_`, as the files of Speech Commands are named.
SPEAKER_PATTERN = r"^(.+?)_nohash_"
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}

_MAX_CLIPS_A_CLASS = 2**27 - 1  # of the rule that came with the data set
_VALIDATION_PERCENT = 10
_TESTING_PERCENT = 10


class Assignment(NamedTuple):
  """Clips by split.

  Attributes:
    names: sorted `word/file` of each of `SPLITS`.
    missing: entries of the lists without a file.
    shared_speakers: speakers in more than one split; none where the hash rule split them.
  """

  names: dict[str, list[str]]
  missing: tuple[str, ...]
  shared_speakers: tuple[str, ...]


def hashed_split(speaker: str) -> str:
  """The split of a speaker: 80 % train, 10 % validation, 10 % test (Warden 2018, section 7).

  A speaker stays where it is however many others join.
  """
  digest = int(hashlib.sha1(speaker.encode("utf-8", "surrogateescape")).hexdigest(), 16)
  percent = (digest % (_MAX_CLIPS_A_CLASS + 1)) * (100.0 / _MAX_CLIPS_A_CLASS)
  if percent < _VALIDATION_PERCENT:
    return "validation"
  return "test" if percent < _VALIDATION_PERCENT + _TESTING_PERCENT else "train"


def speaker_finder(pattern: str) -> Callable[[str], str]:
  """A function from a clip's `word/file` to its speaker.

  Args:
    pattern: regular expression, searched in the file name; its first group (all of it where it
      has none) is the speaker. A name that it does not match is its own speaker, by its stem, so
      that a recording stays in its split when it is stored in another format.

  Raises:
    ValueError: not a regular expression.
  """
  try:
    compiled = re.compile(pattern)
  except (re.error, TypeError) as error:
    raise ValueError(
      f"speaker_pattern {pattern!r} is no regular expression ({error}); give one whose first "
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
  """Puts every clip into exactly one split.

  Args:
    names: `word/file` of every clip there is.
    listed: the entries of the validation and the test list; None for the hash rule.
    speaker: of a clip's name.

  Raises:
    ValueError: a clip is on both lists.
  """
  existing = set(names)
  by_list = _by_list(listed) if listed is not None else {}
  result: dict[str, list[str]] = {split: [] for split in SPLITS}
  homes: dict[str, set[str]] = collections.defaultdict(set)
  for name in sorted(existing):
    who = speaker(name)
    split = hashed_split(who) if listed is None else by_list.get(name, "train")
    result[split].append(name)
    homes[who].add(split)
  missing = tuple(sorted(set(by_list) - existing))
  shared = tuple(sorted(who for who, splits in homes.items() if len(splits) > 1))
  return Assignment(result, missing, shared)


def parse_list(text: str) -> list[str]:
  """The entries of a split list: one `word/file` a line."""
  entries = (line.strip().replace("\\", "/").removeprefix("./") for line in text.splitlines())
  return [entry for entry in entries if entry]


def _by_list(listed: Mapping[str, Sequence[str]]) -> dict[str, str]:
  both = sorted(set(listed["validation"]) & set(listed["test"]))
  if both:
    raise ValueError(
      f"{both[0]} is on {LISTS['validation']} and on {LISTS['test']} ({len(both)} such entries); "
      "take it off one of them"
    )
  return {name: split for split, entries in listed.items() for name in entries}

"""Labels of a recording: which word is said from when to when, in a file of a line each."""

import itertools
import pathlib
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple


class Word(NamedTuple):
  """A word of a recording.

  Attributes:
    start: seconds.
    end: seconds.
    word: its name.
  """

  start: float
  end: float
  word: str


def read_words(path: str, seconds: float) -> list[Word]:
  """Reads labels of a recording: a line a word, start, end and name, separated by tabs.

  Raises:
    ValueError: the file cannot be read, or a line is no label of this recording.
  """
  try:
    lines = pathlib.Path(path).read_text(encoding="utf-8-sig").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise ValueError(f"--labels={path} cannot be read: {error}") from error
  words = []
  for number, line in enumerate(lines, 1):
    if not line.strip() or line.startswith("#"):
      continue
    try:
      start, end, name = line.split("\t")[:3]
      words.append(Word(float(start), float(end), name.strip()))
    except ValueError as error:
      raise ValueError(
        f"line {number} of {path} is {line!r}; give start, end (in seconds) and word, with tabs"
      ) from error
  check_words(words, seconds, path)
  return words


def check_words(words: Sequence[Word], seconds: float, name: str) -> None:
  """Checks the labels of a recording.

  Args:
    words: in any order.
    seconds: length of the recording.
    name: of the file of labels, for messages.

  Raises:
    ValueError: a label that ends before it starts, lies outside the recording, or overlaps another.
  """
  for word in words:
    if not 0 <= word.start < word.end <= seconds + 0.01:
      raise ValueError(
        f"{name} has {word.word!r} from {word.start:g} to {word.end:g} s, but the recording goes "
        f"from 0 to {seconds:.2f} s; correct the line"
      )
  ordered = sorted(words)
  for one, other in itertools.pairwise(ordered):
    if other.start < one.end:
      raise ValueError(
        f"{name} has {one.word!r} until {one.end:g} s and {other.word!r} from {other.start:g} s "
        "on, which overlap; correct one of the lines"
      )


def check_spelling(words: Sequence[Word], class_names: Sequence[str], name: str) -> None:
  """Checks that labels which mean a class are written as the class is.

  A keyword under another name would not be found in the recording, and every event at it would be
  a false alarm.

  Args:
    words: of a recording.
    class_names: of a run.
    name: of the file of labels, for messages.

  Raises:
    ValueError: a label differs from a class in nothing but capitals or how accents are stored.
  """
  fold = lambda text: unicodedata.normalize("NFC", text).casefold()
  folded = {fold(known): known for known in class_names}
  for one in words:
    meant = folded.get(fold(one.word), one.word)
    if meant != one.word and one.word not in class_names:
      raise ValueError(
        f"{name} has the word {one.word!r}, the run the class {meant!r}; write it as the run does"
      )

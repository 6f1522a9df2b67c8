"""The interface of a source of recordings: clips that are read on demand by split and index."""

import hashlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

SPLITS = ("train", "validation", "test")


class UnreadableError(ValueError):
  """The system cannot read a record at the moment; the record itself may be sound."""


class Clip(NamedTuple):
  """One recording.

  Attributes:
    name: `word/file`, unique in its source.
    word: the spoken word.
    samples: `[n]` float32 at 16 kHz in [-1, 1], 1 <= n <= 16000.
    seconds: length of the whole recording, of which the samples are at most a second.
  """

  name: str
  word: str
  samples: np.ndarray
  seconds: float


class Source(NamedTuple):
  """Recordings on disk.

  Attributes:
    fingerprint: a text that changes whenever the records or their order change. It is formed
      without reading audio.
    words: all words of the source, sorted.
    sizes: the number of records in each of `SPLITS`.
    read: `(split, index) -> Clip`, which any thread may call. It raises ValueError where a record
      cannot be used; the message names the record and says what is wrong with it. It is
      `UnreadableError` where the system could not read it.
    missing: entries of the split lists that have no file.
    shared_speakers: speakers whom the split lists put into more than one split.
    unnamed: clips whose name tells no speaker, and so may share one across splits.
    ignored: names of what lies among the recordings and is not read.
  """

  fingerprint: str
  words: tuple[str, ...]
  sizes: dict[str, int]
  read: Callable[[str, int], Clip]
  missing: tuple[str, ...] = ()
  shared_speakers: tuple[str, ...] = ()
  unnamed: tuple[str, ...] = ()
  ignored: tuple[str, ...] = ()


def word_of(name: str) -> str:
  """Returns the word of a clip that is named `word/file`."""
  return name.split("/", 1)[0]


def show_name(name: str) -> str:
  """Returns a file's name as it can be printed in a line: what is no text in it is escaped."""
  shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
  return "".join(shown)


def hash_files(prefix: str, files: Iterable[tuple[str, str, int, int]]) -> str:
  """Hashes what identifies files without reading them; the result serves as a fingerprint.

  Args:
    prefix: a text that is hashed first.
    files: for each file its split, its name, its size in bytes and its modification time in ns.

  Returns:
    The SHA-256 of all of it, in hexadecimal.
  """
  digest = hashlib.sha256(prefix.encode())
  for split, name, size, modified in files:
    line = f"{split}\0{name}\0{size}\0{modified}\n"
    # A file name that is not valid UTF-8 reaches Python with surrogates in it.
    digest.update(line.encode("utf-8", "surrogateescape"))
  return digest.hexdigest()

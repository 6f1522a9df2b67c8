"""What a source of recordings is to the rest: records by split and number, read on demand."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SPLITS = ("train", "validation", "test")


class Clip(NamedTuple):
  """One recording.

  Attributes:
    name: `word/file`, unique in its source.
    word: what is said.
    samples: `[n]` float32 at 16 kHz in [-1, 1], 1 <= n <= 16000.
  """

  name: str
  word: str
  samples: np.ndarray


class Source(NamedTuple):
  """Recordings on disk.

  Attributes:
    fingerprint: text that changes when the records or their order do; cheap to form.
    words: the words there are, sorted.
    sizes: records a split, of `SPLITS`.
    read: `(split, index) -> Clip`; from any thread. Raises ValueError, naming the record and what
      is wrong with it, where it cannot be used.
    missing: entries of the split lists without a file.
    shared_speakers: speakers that the split lists put into more than one split.
  """

  fingerprint: str
  words: tuple[str, ...]
  sizes: dict[str, int]
  read: Callable[[str, int], Clip]
  missing: tuple[str, ...] = ()
  shared_speakers: tuple[str, ...] = ()


def word_of(name: str) -> str:
  """The word of a clip named `word/file`."""
  return name.split("/", 1)[0]

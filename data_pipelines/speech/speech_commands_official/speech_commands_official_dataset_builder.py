"""Speech Commands v0.02 with its official splits, for TFDS without TensorFlow.

TFDS's own `speech_commands` needs TensorFlow and takes its test split from another archive, which
has only ten words, silence and one class of other words (tensorflow/datasets#3061). This builder
gives every word, and the splits of the archive's own lists. The archive's size and SHA-256 in
`checksums.tsv` are those that TFDS has for the same address.
"""

import pathlib
import tarfile
from collections.abc import Iterator
from typing import IO

import numpy as np
import soundfile
import tensorflow_datasets as tfds

from data_pipelines.speech.features import SAMPLE_RATE
from data_pipelines.speech.source import word_of
from data_pipelines.speech.split_rules import (
  LISTS,
  SPEAKER_PATTERN,
  assign,
  parse_list,
  speaker_finder,
)

URL = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"

_CITATION = """\
@article{speechcommandsv2,
  author = {Warden, Pete},
  title = {Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition},
  journal = {arXiv:1804.03209},
  year = {2018},
}"""


class Builder(tfds.core.GeneratorBasedBuilder):
  """One-second recordings of 35 words by 2,618 speakers, 16 kHz, mono, 16 bit."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "v0.02, official splits."}  # noqa: RUF012  (TFDS reads it as it is)

  def _info(self) -> tfds.core.DatasetInfo:
    # The feature is a `Tensor`, since TFDS's `Audio` imports TensorFlow. It is stored as raw bytes,
    # two for each sample; TFDS's default encoding of integers takes up to ten.
    audio = tfds.features.Tensor(
      shape=(None,), dtype=np.int16, encoding=tfds.features.Encoding.BYTES
    )
    text = tfds.features.Text
    return tfds.core.DatasetInfo(
      builder=self,
      description=__doc__,
      homepage="https://arxiv.org/abs/1804.03209",
      license="CC BY 4.0",
      citation=_CITATION,
      features=tfds.features.FeaturesDict(
        {"audio": audio, "word": text(), "speaker": text(), "name": text()}
      ),
      metadata=tfds.core.MetadataDict(words=[], missing=[]),
      disable_shuffling=True,
    )

  def _split_generators(self, dl_manager: tfds.download.DownloadManager):
    path = pathlib.Path(dl_manager.download(URL))
    names, lists = _index(path)
    speaker = speaker_finder(SPEAKER_PATTERN)
    assigned = assign(names, lists, speaker)
    self.info.metadata["words"] = sorted({word_of(name) for name in names})
    self.info.metadata["missing"] = list(assigned.missing)
    return {
      split: self._generate_examples(path, frozenset(members), speaker)
      for split, members in assigned.names.items()
    }

  def _generate_examples(self, path, names, speaker):
    clips = ((name, file) for name, file in _members(path) if name in names)
    for key, (name, file) in enumerate(clips):
      samples, rate = soundfile.read(file, dtype="int16", always_2d=True)
      if rate != SAMPLE_RATE or samples.shape[1] != 1:
        raise ValueError(f"{name} in {URL} is not mono at {SAMPLE_RATE} Hz")
      yield (
        key,
        {"audio": samples[:, 0], "word": word_of(name), "speaker": speaker(name), "name": name},
      )


def _members(path: pathlib.Path) -> Iterator[tuple[str, IO[bytes]]]:
  """Yields the name and content of each file of the archive, in order.

  The archive is read once for the lists and once for each split, which takes a minute in all. TFDS
  could extract it instead, but needs TensorFlow for that and would store the clips twice.
  """
  with tarfile.open(path, "r:gz") as archive:
    for member in archive:
      file = archive.extractfile(member)
      if file is not None:
        yield member.name.removeprefix("./"), file


def _index(path: pathlib.Path) -> tuple[list[str], dict[str, list[str]]]:
  """Lists the archive's clips by name, and the entries of its split lists by split.

  Raises:
    ValueError: if the archive lacks a list.
  """
  names: list[str] = []
  lists: dict[str, list[str]] = {}
  splits = {file_name: split for split, file_name in LISTS.items()}
  for name, file in _members(path):
    if name in splits:
      lists[splits[name]] = parse_list(file.read().decode())
    elif name.endswith(".wav") and not name.startswith("_"):  # _background_noise_ is no word
      names.append(name)
  if len(lists) < len(LISTS):
    raise ValueError(f"the archive of {URL} lacks {' or '.join(splits)}")
  return names, lists

"""The `speech_commands` source: Speech Commands v0.02, downloaded and stored by TFDS."""

import pathlib

import numpy as np

from data_pipelines.downloads import explain_failure, require_network
from data_pipelines.speech.features import SAMPLE_RATE
from data_pipelines.speech.source import SPLITS, Clip, Source, hash_files
from data_pipelines.speech.waveforms import to_clip

_OTHERWISE = (
  "Without a network, give a folder of recordings with --dataset=folder --data_dir=..., or use "
  "--dataset=synthetic."
)


def official_source(data_dir, *, progress: bool) -> Source:
  """Makes the source of Speech Commands v0.02 (Warden 2018) with its official splits.

  They hold 84,843, 9,981 and 11,005 clips of 35 words. The first call downloads 2.3 GiB.

  Args:
    data_dir: the folder in which TFDS keeps its data sets; None means TFDS's default,
      ~/tensorflow_datasets.
    progress: whether to show progress bars while TFDS downloads and prepares the data.

  Raises:
    ValueError: if the data is neither on disk nor can be downloaded.
  """
  builder = _prepare_builder(data_dir, progress)
  records = {split: builder.as_data_source(split) for split in SPLITS}

  def read(split: str, index: int) -> Clip:
    record = records[split][index]
    name, word = record["name"].decode(), record["word"].decode()
    samples = np.asarray(record["audio"], np.float32) / 32768
    return Clip(name, word, to_clip(samples, SAMPLE_RATE, name), len(samples) / SAMPLE_RATE)

  return Source(
    fingerprint=_fingerprint(builder),
    words=tuple(builder.info.metadata["words"]),
    sizes={split: len(records[split]) for split in SPLITS},
    read=read,
    missing=tuple(builder.info.metadata["missing"]),
  )


def _prepare_builder(data_dir, progress: bool):
  """Returns the TFDS builder once its data is on disk; downloads and prepares it if need be."""
  import tensorflow_datasets as tfds  # takes seconds, which only this source waits

  from data_pipelines.speech.speech_commands_official import (
    speech_commands_official_dataset_builder as official,
  )

  root = None if data_dir is None else pathlib.Path(data_dir).expanduser()
  # Of the formats that TFDS writes, only array records can be read in any order and without
  # TensorFlow.
  builder = official.Builder(data_dir=root, file_format="array_record")
  if builder.info.splits:
    return builder
  require_network(official.URL, _OTHERWISE)
  if not progress:
    tfds.disable_progress_bar()
  with explain_failure(official.URL, _OTHERWISE):
    builder.download_and_prepare()
  return builder


def _fingerprint(builder) -> str:
  """Hashes name, size and modification time of the files that TFDS wrote."""
  files = []
  for split in SPLITS:
    for path in map(pathlib.Path, builder.info.splits[split].filepaths):
      stat = path.stat()
      files.append((split, path.name, stat.st_size, stat.st_mtime_ns))
  return hash_files(builder.info.full_name, files)

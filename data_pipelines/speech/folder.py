"""The `folder` source: anyone's tree of `word/*.wav`, `.flac` or `.ogg`."""

import hashlib
import os
import pathlib
from typing import NamedTuple

from data_pipelines.speech.source import SPLITS, Clip, Source, word_of
from data_pipelines.speech.split_rules import LISTS, assign, parse_list, speaker_finder
from data_pipelines.speech.waveforms import ENDINGS, read_waveform


class _File(NamedTuple):
  """What identifies the content of a file, without reading it."""

  size: int  # bytes
  mtime: int  # ns


def folder_source(data_dir, speaker_pattern: str) -> Source:
  """Recordings in one folder a word.

  Folders and files whose names start with `_` or `.` are not looked at. Where both
  `validation_list.txt` and `testing_list.txt` are there, they are the splits; else the hash rule
  of `split_rules` is.

  Args:
    data_dir: the folder that holds the word folders.
    speaker_pattern: see `split_rules.speaker_finder`.

  Raises:
    FileNotFoundError: data_dir is not there.
    ValueError: it is no folder, holds no word folders or no audio, has one list without the
      other, or a clip on both; or a bad speaker_pattern.
  """
  speaker = speaker_finder(speaker_pattern)
  root = _checked_root(data_dir)
  files = _scan(root)
  assigned = assign(files, _read_lists(root), speaker)
  names = assigned.names

  def read(split: str, index: int) -> Clip:
    name = names[split][index]
    return Clip(name, word_of(name), read_waveform(root / name, name))

  return Source(
    fingerprint=_fingerprint(names, files),
    words=tuple(sorted({word_of(name) for name in files})),
    sizes={split: len(names[split]) for split in SPLITS},
    read=read,
    missing=assigned.missing,
    shared_speakers=assigned.shared_speakers,
  )


def _checked_root(data_dir) -> pathlib.Path:
  if data_dir is None or str(data_dir) == "":
    raise ValueError("dataset 'folder' needs a data_dir: a folder that holds one folder a word")
  root = pathlib.Path(data_dir).expanduser()
  if not root.exists():
    raise FileNotFoundError(f"data_dir {root} does not exist; give a folder of word/*.wav")
  if not root.is_dir():
    raise ValueError(f"data_dir {root} is no folder; give a folder of word/*.wav")
  return root


def _scan(root: pathlib.Path) -> dict[str, _File]:
  """Every clip below a folder, by `word/file`.

  Raises:
    ValueError: there is no word folder, or no audio in them.
  """
  folders = sorted(entry.name for entry in os.scandir(root) if _is_word(entry))
  if not folders:
    raise ValueError(f"data_dir {root} has no word folders; give a folder of word/*.wav")
  files = {}
  for folder in folders:
    for entry in os.scandir(root / folder):
      if (
        entry.name.lower().endswith(ENDINGS) and not entry.name.startswith(".") and entry.is_file()
      ):
        stat = entry.stat()
        files[f"{folder}/{entry.name}"] = _File(stat.st_size, stat.st_mtime_ns)
  if not files:
    raise ValueError(
      f"the {len(folders)} folders in data_dir {root} hold no {', '.join(ENDINGS)} file; "
      "give a folder of word/*.wav"
    )
  return files


def _is_word(entry: os.DirEntry) -> bool:
  return entry.is_dir() and not entry.name.startswith(("_", "."))


def _read_lists(root: pathlib.Path) -> dict[str, list[str]] | None:
  """The entries of the two split lists in a folder; None where it has neither.

  Raises:
    ValueError: it has one of them.
  """
  paths = {split: root / file_name for split, file_name in LISTS.items()}
  there = [path.name for path in paths.values() if path.is_file()]
  if not there:
    return None
  absent = [path.name for path in paths.values() if path.name not in there]
  if absent:
    raise ValueError(
      f"data_dir {root} has {there[0]} but no {absent[0]}; add it, or take {there[0]} away to "
      "split by a hash of the speakers"
    )
  return {split: parse_list(path.read_text("utf-8")) for split, path in paths.items()}


def _fingerprint(names: dict[str, list[str]], files: dict[str, _File]) -> str:
  digest = hashlib.sha256()
  for split, members in names.items():
    for name in members:
      line = f"{split}\0{name}\0{files[name].size}\0{files[name].mtime}\n"
      digest.update(line.encode("utf-8", "surrogateescape"))
  return digest.hexdigest()

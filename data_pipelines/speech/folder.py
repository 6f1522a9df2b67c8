"""The `folder` source: your own recordings, as `word/*.wav`, `.flac` or `.ogg`."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from data_pipelines.speech.source import SPLITS, Clip, Source, hash_files, show_name, word_of
from data_pipelines.speech.split_rules import LISTS, assign, parse_list, speaker_finder
from data_pipelines.speech.waveforms import ENDINGS, read_waveform


class _File(NamedTuple):
  """What tells that a file has changed, without reading it."""

  size: int  # in bytes
  mtime: int  # time of the last modification, in ns


def folder_source(data_dir, speaker_pattern: str, clip_at: str = "start") -> Source:
  """Makes a source of recordings that lie in one folder for each word.

  Folders whose names start with `_` or `.`, and files whose names start with `.`, are ignored.
  Names of files need not be UTF-8, those of words must be.
  Where `data_dir` holds both `validation_list.txt` and `testing_list.txt`, these lists define the
  splits. Otherwise the hash rule of `split_rules` does.

  Args:
    data_dir: the folder that holds the word folders.
    speaker_pattern: a regular expression that finds the speaker in a file name; see
      `split_rules.speaker_finder`.
    clip_at: which second of a longer recording is taken; see `read_waveform`.

  Raises:
    ValueError: if data_dir is not a folder, holds no word folders or no audio, or has one of the
      lists without the other; if a clip is on both lists; or if speaker_pattern is not a regular
      expression.
  """
  speaker = speaker_finder(speaker_pattern)
  root = _check_root(data_dir)
  files, ignored = _list_clips(root)
  assigned = assign(files, _read_lists(root), speaker)
  names = assigned.names

  def read(split: str, index: int) -> Clip:
    name = names[split][index]
    samples, seconds = read_waveform(root / name, show_name(name), clip_at)
    return Clip(name, word_of(name), samples, seconds)

  return Source(
    fingerprint=hash_files(
      # An entry of the cache from before there was a choice stays what it is.
      "" if clip_at == "start" else clip_at,
      ((split, name, *files[name]) for split in names for name in names[split]),
    ),
    words=tuple(sorted({word_of(name) for name in files})),
    sizes={split: len(names[split]) for split in SPLITS},
    read=read,
    missing=assigned.missing,
    shared_speakers=assigned.shared_speakers,
    unnamed=assigned.unnamed,
    ignored=ignored,
  )


def _check_root(data_dir) -> pathlib.Path:
  """Returns the path of an existing data folder; raises one clear sentence for any other."""
  if data_dir is None or str(data_dir) == "":
    raise ValueError("dataset 'folder' needs a data_dir: a folder that holds one folder a word")
  root = pathlib.Path(data_dir).expanduser()
  if not root.exists():
    raise ValueError(f"data_dir {root} does not exist; give a folder of word/*.wav")
  if not root.is_dir():
    raise ValueError(f"data_dir {root} is not a folder; give a folder of word/*.wav")
  return root


def _list_clips(root: pathlib.Path) -> tuple[dict[str, _File], tuple[str, ...]]:
  """Lists the audio files in the word folders of `root`, by `word/file`, and what else is there.

  Raises:
    ValueError: if there are no word folders, or no audio in them, or a folder's name is no text.
  """
  folders = sorted(entry.name for entry in _scan(root) if _is_word_folder(entry))
  if not folders:
    raise ValueError(f"data_dir {root} has no word folders; give a folder of word/*.wav")
  if no_words := [name for name in folders if not name.isprintable()]:
    raise ValueError(
      f"the folder {show_name(no_words[0])} in data_dir {root} has a name that is not text in "
      "UTF-8, which a word must be; rename it"
    )
  files, ignored = {}, []
  for folder in folders:
    for entry in _scan(root / folder):
      name = f"{folder}/{entry.name}"
      if entry.name.startswith("."):
        continue
      if entry.name.lower().endswith(ENDINGS) and (found := _look_at(entry)):
        files[name] = found
      else:
        ignored.append(name)
  if not files:
    raise ValueError(
      f"the {len(folders)} folders in data_dir {root} hold no {', '.join(ENDINGS)} file; "
      "give a folder of word/*.wav"
    )
  return files, tuple(sorted(ignored))


def _scan(folder: pathlib.Path) -> Iterator[os.DirEntry]:
  """Lists a folder; one that is gone by now, or is a link to itself, holds nothing."""
  with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
    yield from entries


def _look_at(entry: os.DirEntry) -> _File | None:
  """What is known of a file without reading it; None if it is none, or is gone by now."""
  try:
    stat = entry.stat()
    return _File(stat.st_size, stat.st_mtime_ns) if entry.is_file() else None
  except OSError:  # a link that leads nowhere, or to itself
    return None


def _is_word_folder(entry: os.DirEntry) -> bool:
  """Whether an entry of the data folder is a folder of a word's clips."""
  try:
    return entry.is_dir() and not entry.name.startswith(("_", "."))
  except OSError:  # a link to itself
    return False


def _read_lists(root: pathlib.Path) -> dict[str, list[str]] | None:
  """Reads the validation and the test list of a folder; returns None where it has neither.

  Raises:
    ValueError: if the folder has only one of them.
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
  # As the system gives names that are not UTF-8; some editors put a mark before the first one.
  read = lambda path: path.read_text("utf-8-sig", "surrogateescape")
  return {split: parse_list(read(path)) for split, path in paths.items()}

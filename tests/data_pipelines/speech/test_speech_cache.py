import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from data_pipelines import speech
from data_pipelines.speech import cache, folder, store


@pytest.fixture
def cache_dir(tmp_path):
  return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
  """Names of the files that were decoded, in the order in which that began."""
  names = []
  read = folder.read_waveform

  def counting(path, name, clip_at):
    names.append(name)
    return read(path, name, clip_at)

  monkeypatch.setattr(folder, "read_waveform", counting)
  return names


def load(root, cache_dir, **options):
  return speech.load(
    "folder",
    data_dir=root,
    keywords=("yes", "no"),
    cache_dir=cache_dir,
    progress=False,
    **options,
  )


def entries(cache_dir):
  return [path for path in cache_dir.iterdir() if not path.name.startswith(".")]


def test_the_second_load_reads_no_audio(tree, cache_dir, decoded):
  root = tree()
  first = load(root, cache_dir)
  assert len(decoded) == 18
  second = load(root, cache_dir, pad_short=False)
  assert len(decoded) == 18
  for before, after in zip(first.splits, second.splits, strict=True):
    assert_array_equal(before.inputs, after.inputs)
    assert_array_equal(before.labels, after.labels)
  assert [path.name for path in cache_dir.iterdir()] == [entries(cache_dir)[0].name]


def test_other_keywords_and_a_moved_folder_read_no_audio(tree, cache_dir, decoded, tmp_path):
  root = tree()
  load(root, cache_dir)
  root.rename(tmp_path / "moved")
  loaded = speech.load(
    "folder",
    data_dir=tmp_path / "moved",
    keywords=("bed",),
    cache_dir=cache_dir,
    progress=False,
  )
  assert len(decoded) == 18
  assert loaded.class_names == ("bed", "unknown")


def test_a_changed_file_is_read_again(tree, cache_dir, decoded, write_clip, speakers):
  root = tree()
  before = load(root, cache_dir).splits.train.inputs
  changed = root / "bed" / f"{speakers('train', 1)[0]}_nohash_0.wav"
  mtime = changed.stat().st_mtime
  write_clip(changed, seed=999)
  os.utime(changed, (mtime + 1, mtime + 1))
  after = load(root, cache_dir).splits.train.inputs
  assert len(decoded) == 36
  assert np.any(before[0] != after[0])
  assert_array_equal(before[1:], after[1:])


@pytest.mark.parametrize("constant", ["HOP", "LOG_OFFSET"])
def test_the_key_knows_the_front_end(monkeypatch, constant):
  before = cache.entry_key("x")
  monkeypatch.setattr(cache.features, constant, 7)
  assert cache.entry_key("x") != before


def truncate(path):
  os.truncate(path, path.stat().st_size - 4)


def flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(bytes(data))


def empty(path):
  path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty, pathlib.Path.unlink])
@pytest.mark.parametrize("name", ["train.f32", "test.f32", "clips.json", "manifest.json"])
def test_a_damaged_entry_is_built_again(tree, cache_dir, decoded, damage, name):
  root = tree(each=1)
  expected = np.array(load(root, cache_dir).splits.train.inputs)
  damage(entries(cache_dir)[0] / name)
  assert_array_equal(load(root, cache_dir).splits.train.inputs, expected)
  assert len(decoded) == 18
  load(root, cache_dir)
  assert len(decoded) == 18
  assert len(list(cache_dir.iterdir())) == 1


def test_an_interrupted_build_leaves_nothing(tree, cache_dir, decoded, monkeypatch):
  root = tree()

  def interrupt(*_):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(store, "_write_manifest", interrupt)
    with pytest.raises(KeyboardInterrupt):
      load(root, cache_dir)
  assert list(cache_dir.iterdir()) == []
  assert len(load(root, cache_dir).splits.train) == 6


def test_what_a_killed_process_left_is_no_entry_and_goes_in_time(tree, cache_dir):
  root = tree()
  load(root, cache_dir)
  whole = entries(cache_dir)[0]
  half, old = cache_dir / ".unfinished-new", cache_dir / ".unfinished-old"
  ended = subprocess.Popen([sys.executable, "-c", ""])
  ended.wait()
  of_dead, of_living = (
    cache_dir / f".unfinished-{socket.gethostname()}-{process}-x"
    for process in (ended.pid, os.getpid())
  )
  for leftover in (half, old, of_dead, of_living):
    shutil.copytree(whole, leftover)
  shutil.rmtree(whole)
  long_ago = time.time() - 2 * 24 * 3600
  for path in (old, *old.iterdir()):
    os.utime(path, (long_ago, long_ago))
  os.utime(half, (long_ago, long_ago))  # its files are still written
  assert len(load(root, cache_dir).splits.train) == 6
  assert half.exists() and of_living.exists()
  assert not old.exists() and not of_dead.exists()


def test_an_entry_is_open_to_those_who_share_the_cache(tree, cache_dir):
  cache_dir.mkdir(mode=0o755)
  load(tree(each=1), cache_dir)
  assert entries(cache_dir)[0].stat().st_mode & 0o777 == 0o755


def test_who_has_no_home_is_told_what_to_give(monkeypatch):
  monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

  def has_none():
    raise RuntimeError("Could not determine home directory.")

  monkeypatch.setattr(pathlib.Path, "home", has_none)
  with pytest.raises(ValueError, match="no home; give --cache_dir or set XDG_CACHE_HOME"):
    cache.default_cache_dir()


def test_a_warm_cache_need_not_be_writable(tree, cache_dir, monkeypatch):
  root = tree()
  load(root, cache_dir)

  def refuse(*_):
    raise PermissionError

  monkeypatch.setattr(store, "_writable_folder", refuse)
  load(root, cache_dir)


def test_losing_a_race_takes_the_winners_entry(tree, cache_dir, monkeypatch):
  root = tree()
  seal = store._write_manifest
  winners = []

  def win_meanwhile(mine):
    monkeypatch.setattr(store, "_write_manifest", seal)
    load(root, cache_dir)  # another process would
    winners.append(entries(cache_dir)[0].stat().st_ino)
    seal(mine)

  monkeypatch.setattr(store, "_write_manifest", win_meanwhile)
  assert len(load(root, cache_dir).splits.train) == 6
  assert [path.stat().st_ino for path in cache_dir.iterdir()] == winners


def test_two_processes_build_at_once(tree, cache_dir):
  root = tree(each=4)
  code = (
    "import sys; from data_pipelines import speech; print('ready', flush=True); input();"
    "s = speech.load('folder', data_dir=sys.argv[1], keywords=('yes', 'no'),"
    "cache_dir=sys.argv[2], progress=False); print(s.splits.train.inputs.sum())"
  )
  other = subprocess.Popen(
    [sys.executable, "-c", code, root, cache_dir],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert other.stdout.readline() == "ready\n"
  other.stdin.write("\n")
  other.stdin.flush()
  mine = load(root, cache_dir)  # while the other does
  printed = other.communicate(timeout=120)[0]
  assert other.returncode == 0
  assert printed.strip() == str(mine.splits.train.inputs.sum())
  assert len(list(cache_dir.iterdir())) == 1


def test_default_cache_dir(monkeypatch, tmp_path):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert cache.default_cache_dir() == tmp_path / "rc_jax" / "speech"
  monkeypatch.delenv("XDG_CACHE_HOME")
  monkeypatch.setenv("HOME", str(tmp_path))
  assert cache.default_cache_dir() == tmp_path / ".cache" / "rc_jax" / "speech"


def test_progress_bar(tree, cache_dir, capsys):
  root = tree(each=1)
  speech.load("folder", data_dir=root, keywords=("yes", "no"), cache_dir=cache_dir)
  assert "reading audio: 100%" in capsys.readouterr().err

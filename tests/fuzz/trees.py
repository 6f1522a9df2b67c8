"""Mutated folders of words, their lists, and mutated entries of the cache."""

import os

import numpy as np
import soundfile

from data_pipelines import speech
from data_pipelines.speech.source import SPLITS
from data_pipelines.speech.split_rules import LISTS, hashed_split
from tests.fuzz.mutations import mutate
from tests.fuzz.outcomes import READ, REFUSED, check, refuse

WORDS = ("yes", "no", "bed")
_NAMES = [f"{number:08x}" for number in range(200)]
SPEAKERS = [[s for s in _NAMES if hashed_split(s) == split][k] for k in (0, 1) for split in SPLITS]
SAMPLES = 1_600
ODD_NAMES = (
  *(b"\xff\xfe.wav", b"caf\xe9_nohash_0.wav", b"a\nb.wav", b"-rf.wav", b"x" * 251 + b".wav"),
  *(b"..wav", b" .wav", "e\u0301.wav".encode(), "\U0001f3a4_nohash_1.wav".encode(), b"%s.wav"),
)


def try_tree(rng, folder, seeds):
  """Writes a tree, mutates it, loads it, and compares each record with its file.

  Arguments, results and errors are those of `try_sound`.
  """
  root, cache_dir = folder / "tree", folder / "cache"
  contents = _write_tree(root, rng)
  done = [change(rng, root, seeds) for change in rng.choices(CHANGES, k=rng.randrange(4))]
  load = lambda: speech.load(
    "folder", data_dir=root, keywords=rng.choice((WORDS[:2], ("all",))), cache_dir=cache_dir,
    on_bad_file=rng.choice(("skip", "error")), progress=False,
  )  # fmt: skip
  with refuse(*map(_show, _list_names(root)), "data_dir", "keywords", "class") as refused:
    loaded = load()
  if refused:
    check(bool(done), f"a whole tree was refused: {refused[0]}")
    return REFUSED, f"tree: {', '.join(done)}"
  _compare(loaded, root, contents)
  loaded.notes.lines()
  return READ, f"tree: {', '.join(done)}"


def try_cache(rng, folder, seeds):
  """Loads a whole tree, damages its entry in the cache, and loads it again; as `try_tree`."""
  root, cache_dir = folder / "tree", folder / "cache"
  _write_tree(root, rng)
  load = lambda: speech.load(
    "folder", data_dir=root, keywords=WORDS[:2], cache_dir=cache_dir, progress=False
  )
  before = load()
  frames = [np.array(split.inputs) for split in before.splits]
  (entry,) = cache_dir.iterdir()
  path = rng.choice(sorted(entry.iterdir()))
  content, done = mutate(rng, path.read_bytes(), [b"{}", b"[" * 100_000, b"\0" * 64])
  path.write_bytes(content)
  after = load()
  for split, old, expected in zip(after.splits, before.splits, frames, strict=True):
    check(np.array_equal(split.inputs, expected), f"other frames after {path.name}: {done}")
    check(np.array_equal(split.labels, old.labels), f"other labels after {path.name}: {done}")
  return READ, f"cache: {path.name}, {' + '.join(done)}"


def _write_tree(root, rng):
  """Writes words of tones, each file another one; returns the samples of each file's bytes."""
  contents = {}
  names = []
  for word in WORDS:
    (root / word).mkdir(parents=True)
    for speaker in SPEAKERS:
      path = root / word / f"{speaker}_nohash_0.wav"
      tone = np.sin(2 * np.pi * (200 + 97 * len(contents)) * np.arange(SAMPLES) / 16_000)
      soundfile.write(path, 0.5 * tone, 16_000)
      contents[path.read_bytes()] = soundfile.read(path, dtype="float32")[0]
      names.append(f"{word}/{path.name}")
  if rng.random() < 0.5:
    for number, name in enumerate(LISTS.values()):
      (root / name).write_text("\n".join(names[number::3]) + "\n")
  return contents


def _show(name):
  """A name as a sentence has it: what cannot be printed is escaped."""
  return (
    ascii(os.fsdecode(name))[1:-1] if not os.fsdecode(name).isprintable() else os.fsdecode(name)
  )


def _list_names(root):
  """Names of all that lies in a tree, at any depth, links not followed."""
  names = set()
  for _, folders, files in os.walk(os.fsencode(root)):
    names.update(folders, files)
  return names


def _compare(loaded, root, contents):
  """Checks that a record whose file is whole has the word of the folder in which that lies."""
  homes = {}
  for word in sorted(path for path in root.iterdir() if path.is_dir()):
    for path in word.iterdir():
      if path.is_file() and (samples := contents.get(path.read_bytes())) is not None:
        homes.setdefault(samples.tobytes(), set()).add(word.name)
  names = loaded.class_names
  for split_name, split in zip(SPLITS, loaded.splits, strict=True):
    for index, label in enumerate(split.labels):
      audio = loaded.audio(split_name, index)
      words = homes.get(audio[:SAMPLES].tobytes())
      if words is None or audio[SAMPLES:].any():
        continue  # of a mutated file
      classes = {word if word in names else speech.UNKNOWN for word in words}
      check(names[label] in classes, f"{names[label]} is the label of one of {classes}")
      check(
        _loudest_band(split.inputs[index]) == _loudest_band(speech.log_mel(audio)),
        "frames of another recording",
      )


def _loudest_band(frames):
  return int(np.asarray(frames)[:8].mean(axis=0).argmax())


def _pick(rng, root):
  """One of the tree's files."""
  return rng.choice(sorted(path for path in root.glob("*/*") if path.is_file()))


def mutate_a_sound(rng, root, seeds):
  path = _pick(rng, root)
  path.write_bytes(mutate(rng, path.read_bytes(), [seed.content for seed in seeds])[0])
  return "a mutated sound"


def mutate_a_list(rng, root, seeds):
  path = root / rng.choice(sorted(LISTS.values()))
  text = path.read_bytes() if path.exists() else b"yes/a.wav\n"
  path.write_bytes(mutate(rng, text, [b"../../x.wav\n", b"\xff\xfey\0e\0s\0", b"\xef\xbb\xbf"])[0])
  return "a mutated list"


def lose_a_list(rng, root, seeds):
  (root / rng.choice(sorted(LISTS.values()))).unlink(missing_ok=True)
  return "a lost list"


def rename(rng, root, seeds):
  path = _pick(rng, root)
  os.rename(path, os.path.join(os.fsencode(path.parent), rng.choice(ODD_NAMES)))
  return "an odd name"


def rename_a_word(rng, root, seeds):
  name = rng.choice((b"caf\xe9", b"a\nb", b"unknown", b"all", b"x" * 255, b" ", "\u540d".encode()))
  if not os.path.lexists(os.path.join(os.fsencode(root), name)):
    os.rename(os.fsencode(root / "bed"), os.path.join(os.fsencode(root), name)) if (
      root / "bed"
    ).exists() else None
  return "an odd word"


def link(rng, root, seeds):
  at = root / rng.choice(("loop", "yes/loop.wav", "no/loop"))
  if not os.path.lexists(at):
    at.symlink_to(rng.choice((".", "..", at.name, "nowhere", str(root), "../yes")))
  return "a link"


def replace(rng, root, seeds):
  path = _pick(rng, root)
  path.unlink()
  rng.choice((path.mkdir, lambda: os.mkfifo(path), path.touch))()
  return "something else for a file"


def move(rng, root, seeds):
  path = _pick(rng, root)
  os.replace(path, root / rng.choice(WORDS[:2]) / f"moved{rng.randrange(9)}_nohash_0.wav")
  return "a moved file"


CHANGES = (
  *(mutate_a_sound, mutate_a_list, lose_a_list, rename, rename_a_word, link, replace, move),
)

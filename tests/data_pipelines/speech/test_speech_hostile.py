"""Folders and recordings as broken disks and enemies make them; found by tests/fuzz, or like it."""

import builtins
import io
import os
import pathlib
import pickle
import re
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import soundfile

from data_pipelines import speech
from data_pipelines.speech import folder, store, waveforms
from deploy.recordings import read_pieces
from experiments.harness.examples import read_examples
from tests.fuzz.cases import PERIOD, list_seeds, run_case

ROOT = pathlib.Path(__file__).parents[3]


@pytest.fixture
def load(tmp_path):
  def call(root, **options):
    return speech.load(
      "folder", data_dir=root, keywords=("yes", "no"), cache_dir=tmp_path / "cache",
      progress=False, **options,
    )  # fmt: skip

  return call


def test_mutated_data_is_read_or_refused_in_one_sentence(tmp_path):
  """A few hundred cases of `make fuzz`, of every kind."""
  seeds = list_seeds()
  assert len({tuple(seed.name.split()[:2]) for seed in seeds}) > 100
  sounds = [number for number in range(260) if number % PERIOD < PERIOD - 4]
  counts = {"read": 0, "refused": 0}
  for number in [*sounds, *range(PERIOD - 4, PERIOD)]:
    counts[run_case("smoke", number, tmp_path / "case", seeds)[0]] += 1
  assert min(counts.values()) > 50


def wav(path, **fields):
  """Writes a second of noise, and then numbers into its header; 4 bytes each, by offset."""
  soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), 16_000)
  data = bytearray(path.read_bytes())
  for at, value in fields.items():
    data[int(at[2:]) : int(at[2:]) + 4] = value.to_bytes(4, "little")
  path.write_bytes(data)


@pytest.mark.parametrize("clip_at", ["start", "loudest"])
def test_a_length_that_a_header_promises_is_not_allocated(tmp_path, clip_at, monkeypatch):
  """A header of 4 GB before 8 kB of sound, at a rate that makes ten minutes of it 2 TB."""
  path = tmp_path / "a.wav"
  wav(path, at24=1_000_000, at40=0xFFFFFFF0)
  asked = []
  read = soundfile.SoundFile.read
  watch = lambda self, n, *given, **named: asked.append(n) or read(self, n, *given, **named)
  monkeypatch.setattr(soundfile.SoundFile, "read", watch)
  samples, _ = waveforms.read_waveform(path, "a.wav", clip_at)
  assert 0 < len(samples) <= 16_000
  assert sum(map(len, read_pieces(path))) > 0
  assert max(asked) <= 1 << 22


@pytest.mark.parametrize("rate", [1, 99, 1_000_001, 2**31 - 1])
def test_a_rate_that_no_recording_has_is_refused(tmp_path, rate):
  path = tmp_path / "a.wav"
  wav(path, at24=rate)
  for reader in (lambda: waveforms.read_waveform(path, "a.wav"), lambda: list(read_pieces(path))):
    with pytest.raises(ValueError, match=rf"a\.wav cannot be read as audio: .* is {rate} Hz"):
      reader()


def test_floats_that_overflow_the_resampler_are_refused(tmp_path):
  path = tmp_path / "a.wav"
  samples = np.zeros(8_000, np.float32)
  samples[::2] = 3e38
  soundfile.write(path, samples, 8_000, subtype="FLOAT")
  with pytest.raises(ValueError, match=r"a\.wav has samples up to 3e\+38; scale it to -1\.\.1"):
    list(read_pieces(path))
  with pytest.raises(ValueError, match=r"a\.wav is silent, or has samples .* far outside"):
    speech.open_background(str(tmp_path))


def test_channels_that_are_infinite_are_refused_without_a_warning(tmp_path):
  samples = np.full((100, 2), np.inf, np.float32)
  samples[:, 1] *= -1
  soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
  with pytest.raises(ValueError, match=r"a\.wav has NaN or infinite samples"):
    waveforms.read_waveform(tmp_path / "a.wav", "a.wav")


def test_a_coding_without_seeking_is_read_in_pieces(tmp_path):
  """GSM 6.10 can only be read from its beginning on."""
  soundfile.write(tmp_path / "a.wav", np.zeros(3_200), 8_000, "GSM610")
  assert abs(sum(map(len, read_pieces(tmp_path / "a.wav"))) - 6_400) <= 640


def latin1(folder, name="caf\xe9"):
  """A path that is not UTF-8."""
  return os.fsencode(folder) + f"/{name}".encode("latin-1")


def test_names_of_files_need_not_be_text(tree, load, tmp_path):
  root = tree(each=1)
  for number, name in enumerate(("caf\xe9", "a\nb")):
    soundfile.write(tmp_path / "sound.wav", np.full(1_600, 0.1 * (number + 1)), 16_000)
    os.rename(tmp_path / "sound.wav", latin1(root / "yes", f"{name}.wav"))
  os.close(os.open(latin1(root / "yes", "bad\xe9.wav"), os.O_CREAT))
  for _ in range(2):  # the second time from the cache
    loaded = load(root, on_bad_file="skip")
    assert sum(map(len, loaded.splits)) == 11
    (note,) = [line for line in loaded.notes.lines() if line.startswith("bad files")]
    assert "(yes/bad\\udce9.wav cannot be read as audio: " in note and note.isprintable()
  with pytest.raises(ValueError, match=r"yes/bad\\udce9\.wav cannot be read"):
    load(root)


def test_lists_may_name_such_files_begin_with_a_mark_and_hold_rubbish(tree, load):
  root = tree(each=1)
  names = {word: sorted(f"{word}/{p.name}" for p in (root / word).iterdir()) for word in
           ("yes", "no", "bed")}  # fmt: skip
  os.rename(root / names["yes"][1], latin1(root / "yes", "caf\xe9.wav"))
  first = [names["yes"][0], names["no"][0], names["bed"][0]]
  second = [b"yes/caf\xe9.wav", names["no"][1].encode(), names["bed"][1].encode()]
  (root / "validation_list.txt").write_bytes(b"\xef\xbb\xbf" + "\n".join(first).encode())
  (root / "testing_list.txt").write_bytes(b"\n".join([*second, b"\xff\xfe\0", b"../x.wav"]))
  loaded = load(root)
  assert [len(split) for split in loaded.splits] == [3, 3, 3]
  assert len(loaded.notes.missing) == 2
  assert all(line.isprintable() for line in loaded.notes.lines())


@pytest.mark.parametrize("name", ["caf\xe9", "a\nb"])
def test_a_word_must_be_text(tree, load, name):
  root = tree(each=1)
  os.rename(root / "bed", latin1(root, name))
  with pytest.raises(ValueError, match=r"the folder (caf\\udce9|a\\nb) in data_dir .* rename it"):
    load(root)


def test_links_that_lead_to_themselves_or_nowhere_are_passed_over(tree, load):
  root = tree(each=1)
  for at, to in (
    *(("self", "self"), ("above", "."), ("yes/up", ".."), ("yes/self.wav", "self.wav")),
    *(("yes/lost.wav", "nowhere.wav"), ("no/folder.wav", "../yes")),
  ):
    (root / at).symlink_to(to)
  os.mkfifo(root / "no" / "pipe.wav")
  loaded = load(root)
  assert sum(map(len, loaded.splits)) == 9
  assert {"yes/self.wav", "yes/lost.wav", "no/folder.wav", "no/pipe.wav", "yes/up"} < set(
    loaded.notes.ignored
  )


def test_a_file_that_vanishes_while_the_folder_is_listed_is_not_there(tree, load, monkeypatch):
  root = tree()
  look, gone = folder._look_at, min((root / "yes").iterdir())

  def look_late(entry):
    if entry.name == gone.name and gone.exists():
      gone.unlink()
    return look(entry)

  monkeypatch.setattr(folder, "_look_at", look_late)
  assert sum(map(len, load(root).splits)) == 17


def test_a_file_that_vanishes_before_it_is_read_is_named(tree, load, monkeypatch):
  root = tree()
  gone = min((root / "yes").iterdir())
  read = folder.read_waveform

  def read_late(path, *given):
    gone.unlink(missing_ok=True)
    return read(path, *given)

  monkeypatch.setattr(folder, "read_waveform", read_late)
  with pytest.raises(ValueError, match=rf"yes/{gone.name} cannot be read as audio: "):
    load(root)


def test_a_manifest_nested_too_deep_is_damaged(tmp_path):
  (tmp_path / "manifest.json").write_text("[" * 100_000)
  assert not store.is_sound(tmp_path)


def test_a_build_that_is_killed_leaves_no_entry(tree, load, tmp_path):
  """A real process, killed while it writes frames; the next one builds the entry."""
  root = tree(each=4)
  code = (
    "import sys, time; from data_pipelines import speech; from data_pipelines.speech import build\n"
    "build.cache.write_clips = lambda *given: time.sleep(600)\n"
    "speech.load('folder', data_dir=sys.argv[1], keywords=('yes', 'no'), cache_dir=sys.argv[2])"
  )
  cache = tmp_path / "cache"
  process = subprocess.Popen([sys.executable, "-c", code, root, cache], cwd=ROOT)
  try:
    while not any(path.stat().st_size for path in cache.glob(".unfinished-*/test.f32")):
      assert process.poll() is None
      time.sleep(0.05)
  finally:
    process.kill()
    process.wait()
  assert len(load(root).splits.train) == 12
  assert [path.name[:7] for path in cache.iterdir()] == ["frames-"]


class Trap:
  """Does something when it is unpickled."""

  def __reduce__(self):
    return builtins.exec, ("raise SystemExit('unpickled')",)


def test_nothing_is_unpickled(tmp_path):
  path = tmp_path / "examples.npz"
  np.savez(path, inputs=np.array([Trap()], object))
  for content in (path.read_bytes(), pickle.dumps(Trap()), b"", b"PK\3\4"):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"examples\.npz is damaged \(.*\); the command"):
      read_examples(path)


def test_an_array_that_does_not_fit_is_refused(tmp_path):
  head = io.BytesIO()
  shape = {"descr": "<f8", "fortran_order": False, "shape": (1 << 50,)}
  np.lib.format.write_array_header_1_0(head, shape)
  path = tmp_path / "examples.npz"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("inputs.npy", head.getvalue())
  with pytest.raises(ValueError, match=r"examples\.npz is damaged"):
    read_examples(path)


def test_no_source_unpickles_or_unpacks():
  """Arrays without objects, archives member by member: nothing is executed, no entry escapes."""
  rooms = ("rc_jax", "data_pipelines", "experiments", "deploy")
  paths = [p for room in rooms for p in (ROOT / room).rglob("*.py")]
  assert len(paths) > 100
  word = re.compile(r"\bpickle\b|allow_pickle=True|\bextractall\(|\.extract\(|unpack_archive")
  assert [str(p) for p in paths if word.search(p.read_text())] == []

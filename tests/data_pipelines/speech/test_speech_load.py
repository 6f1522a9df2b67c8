import fractions
import math

import jax
import numpy as np
import pytest
import soundfile
from numpy.testing import assert_allclose, assert_array_equal

from data_pipelines import speech
from data_pipelines.batches import Splits
from data_pipelines.speech import features, waveforms
from data_pipelines.speech.folder import folder_source


@pytest.fixture
def load(tmp_path):
  """load("folder") of a tree, with a cache of the test's own."""

  def call(root, keywords=("yes", "no"), **options):
    options.setdefault("cache_dir", tmp_path / "cache")
    return speech.load("folder", data_dir=root, keywords=keywords, progress=False, **options)

  return call


def by_name(root, names):
  waveforms = [soundfile.read(root / name, dtype="float32")[0] for name in names]
  return np.asarray(jax.jit(speech.log_mel)(np.stack(waveforms)))


def test_folder(tree, load):
  root = tree(each=3)
  loaded = load(root)
  assert isinstance(loaded.splits, Splits)
  assert loaded.class_names == ("yes", "no", "unknown")
  for split in loaded.splits:
    assert split.inputs.shape == (9, 101, 20)
    assert split.inputs.dtype == np.float32
    assert isinstance(split.inputs, np.memmap)
    assert split.labels.dtype == split.lengths.dtype == np.int32
    assert_array_equal(split.labels, [2] * 3 + [1] * 3 + [0] * 3)  # bed, no, yes
    assert_array_equal(split.lengths, 81)
  each = {"yes": 3, "no": 3, "unknown": 3}
  assert loaded.notes.clips == {"train": each, "validation": each, "test": each}
  assert loaded.notes.skipped == loaded.notes.missing == loaded.notes.shared_speakers == ()
  assert loaded.notes.lines()[0] == "train: 9 clips (yes 3, no 3, unknown 3)"


def test_records_are_the_frames_of_their_files(tree, load, speakers):
  root = tree(each=2)
  loaded = load(root)
  names = [f"{word}/{who}_nohash_0.wav" for word in ("bed", "no", "yes")
           for who in sorted(speakers("test", 2))]  # fmt: skip
  assert_allclose(loaded.splits.test.inputs, by_name(root, names), atol=1e-5)
  assert_array_equal(loaded.audio("test", 3), soundfile.read(root / names[3], dtype="float32")[0])


def test_order_of_keywords_is_the_order_of_classes(tree, load):
  root = tree(each=1)
  assert load(root, keywords=["no", "bed", "yes"]).class_names == ("no", "bed", "yes")
  assert_array_equal(load(root, keywords="no,bed,yes").splits.train.labels, [1, 0, 2])


def test_all_words(tree, load):
  loaded = load(tree(words=("yes", "bed", "no"), each=1), keywords=("all",))
  assert loaded.class_names == ("bed", "no", "yes")
  assert_array_equal(loaded.splits.validation.labels, [0, 1, 2])


def test_default_keywords_are_the_papers(tree, tmp_path):
  root = tree(words=(*speech.KEYWORDS, "bed"), each=1)
  loaded = speech.load("folder", data_dir=root, cache_dir=tmp_path / "c", progress=False)
  assert " ".join(loaded.class_names) == "yes no up down left right on off stop go unknown"


def test_folders_and_files_that_are_no_words(tree, load, write_clip):
  root = tree(each=1)
  write_clip(root / "_background_noise_" / "hum.wav", samples=50_000)
  write_clip(root / ".trash" / "a.wav")
  write_clip(root / "yes" / ".hidden.wav")
  (root / "yes" / "notes.txt").write_text("not audio")
  (root / "papers").mkdir()
  loaded = load(root, keywords=("all",))
  assert loaded.class_names == ("bed", "no", "yes")
  assert sum(len(split) for split in loaded.splits) == 9


@pytest.mark.parametrize("ending", [".flac", ".ogg", ".WAV"])
def test_endings(tree, load, ending):
  assert len(load(tree(each=1, ending=ending)).splits.train) == 3


def test_official_lists(tree, load, speakers):
  root = tree(each=2)
  who = speakers("train", 2)
  lists = {
    "validation_list.txt": [f"{word}/{who[0]}_nohash_0.wav" for word in ("yes", "no", "bed")],
    "testing_list.txt": [f"{word}/{who[1]}_nohash_0.wav" for word in ("yes", "no", "bed")],
  }
  lists["testing_list.txt"] += [f"yes/gone_nohash_{number}.wav" for number in range(5)]
  for name, entries in lists.items():
    (root / name).write_text("\n".join(entries) + "\n")
  loaded = load(root)
  assert [len(split) for split in loaded.splits] == [12, 3, 3]
  assert_allclose(
    loaded.splits.validation.inputs,
    by_name(root, sorted(lists["validation_list.txt"])),
    atol=1e-5,
  )
  assert len(loaded.notes.missing) == 5
  assert loaded.notes.lines()[-1] == (
    "list entries without a file: 5 "
    "(yes/gone_nohash_0.wav, yes/gone_nohash_1.wav, yes/gone_nohash_2.wav, ...)"
  )


def test_speaker_pattern_splits_by_what_it_finds(load, speakers, write_clip, tmp_path):
  root = tmp_path / "mine"
  for word in ("yes", "no"):
    for split in ("train", "validation", "test"):
      for take in range(3):
        write_clip(root / word / f"take{take}-{speakers(split, 1)[0]}.wav", seed=take)
  loaded = load(root, speaker_pattern=r"-(\w+)\.")
  assert [len(split) for split in loaded.splits] == [6, 6, 6]


def test_statistics_are_of_the_training_splits_real_frames(tree, load, write_clip, speakers):
  root = tree(each=2)
  for split, level in (("train", 0.001), ("validation", 0.9), ("test", 0.9)):
    who = speakers(split, 3)[-1]
    write_clip(root / "yes" / f"{who}_nohash_0.wav", samples=4_000, level=level)
  loaded = load(root)
  train = loaded.splits.train
  rows = [
    frame
    for index in range(len(train))
    for frame in train.inputs[index][
      : 26 if not loaded.audio("train", index)[5_000:].any() else 101
    ]
  ]
  assert len(rows) == 6 * 101 + 26
  assert_allclose(loaded.statistics.mean, np.mean(rows, axis=0), rtol=1e-5)
  assert_allclose(loaded.statistics.std, np.std(rows, axis=0), rtol=1e-4)
  assert loaded.statistics.mean.dtype == loaded.statistics.std.dtype == np.float32


def test_a_band_that_never_changes_is_not_divided_by_zero(load, tmp_path, speakers, write_clip):
  root = tmp_path / "silent"
  for word in ("yes", "no"):
    for split in ("train", "validation", "test"):
      write_clip(root / word / f"{speakers(split, 1)[0]}_nohash_0.wav", level=0)
  loaded = load(root)
  assert_array_equal(loaded.statistics.std, 1)
  assert np.isfinite(speech.prepare(loaded.statistics, loaded.splits.train[[0, 1]]).inputs).all()


@pytest.mark.parametrize(("pad_short", "length"), [(True, 81), (False, 23)])
def test_lengths_of_short_clips(tree, load, write_clip, speakers, pad_short, length):
  root = tree(each=1)
  short = write_clip(root / "yes" / f"{speakers('train', 2)[1]}_nohash_0.wav", samples=6_827)
  loaded = load(root, pad_short=pad_short)
  train = loaded.splits.train
  index = sorted(range(len(train)), key=lambda i: loaded.audio("train", i)[6_827:].any())[0]
  assert train.lengths[index] == length
  assert sorted(train.lengths) == sorted([length, 81, 81, 81])
  samples = soundfile.read(short, dtype="float32")[0]
  expected = np.pad(samples, (0, 16_000 - len(samples)))
  assert_array_equal(loaded.audio("train", index), expected)
  assert_allclose(train.inputs[index], speech.log_mel(expected), atol=1e-5)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_and_channels(tree, load, speakers, rate):
  root = tree(each=1)
  time = np.arange(int(1.3 * rate)) / rate
  tone = 0.5 * np.sin(2 * np.pi * 500 * time)
  path = root / "yes" / f"{speakers('validation', 1)[0]}_nohash_0.wav"
  soundfile.write(path, np.stack([tone, 0.5 * tone], axis=1), rate)
  audio = load(root).audio("validation", 2)
  assert audio.shape == (16_000,)
  expected = 0.375 * np.sin(2 * np.pi * 500 * np.arange(16_000) / 16_000)
  assert_allclose(audio[200:-1], expected[200:-1], atol=2e-3)


RATES = (100, 8_000, 12_345, 44_100, 96_000)


@pytest.mark.parametrize("rate", RATES)
def test_resampling_keeps_the_duration(rate):
  for count in (1, 2, 101, 4_410):
    resampled = waveforms.resample(np.ones(count, np.float32), rate)
    assert resampled.dtype == np.float32
    assert len(resampled) == math.ceil(fractions.Fraction(16_000 * count, rate))


@pytest.mark.slow  # librosa takes 20 s to be compiled where it is new
@pytest.mark.parametrize("rate", RATES)
def test_resampled_samples_are_librosas(rate):
  import librosa

  samples = np.random.default_rng(0).normal(size=4_410).astype(np.float32)
  expected = librosa.resample(samples, orig_sr=rate, target_sr=16_000)
  assert_array_equal(waveforms.resample(samples, rate), expected)


def test_batches_survive_the_jitted_step(tree, load):
  loaded = load(tree(each=2))
  prepared = jax.jit(speech.prepare)(loaded.statistics, loaded.splits.train[np.array([4, 0])])
  assert prepared.inputs.shape == (2, features.NUM_STEPS, features.STEP_SIZE)
  frames = (loaded.splits.train.inputs[4] - loaded.statistics.mean) / loaded.statistics.std
  assert_allclose(prepared.inputs[0, 3], frames[3:24].ravel(), atol=1e-5)


def test_counts_of_real_recordings(shared):
  source = folder_source(shared, speech.SPEAKER_PATTERN)
  assert source.sizes == {"train": 9150, "validation": 1865, "test": 1926}
  assert source.words == ("bed", "cat", "five", "four", "happy", "one", "three", "two", "zero")
  assert source.missing == source.shared_speakers == ()


@pytest.mark.slow
def test_real_recordings(shared, tmp_path):
  loaded = speech.load(
    "folder",
    data_dir=shared,
    keywords=("zero", "one", "two", "three", "four", "five"),
    cache_dir=tmp_path / "cache",
    progress=False,
    pad_short=False,
  )
  assert [len(split) for split in loaded.splits] == [9150, 1865, 1926]
  assert loaded.notes.clips["train"]["unknown"] == 1950
  assert loaded.notes.clips["test"]["two"] == 262
  assert loaded.notes.missing == loaded.notes.shared_speakers == loaded.notes.skipped == ()
  assert sum(int(np.sum(split.lengths < 81)) for split in loaded.splits) == 1266


def test_long_and_silent_recordings_are_told_and_the_second_is_chosen(tree, tmp_path):
  """A recording of three seconds whose word comes last, and one whose channels cancel out."""
  root = tree()
  first, other = sorted((root / "yes").glob("*.wav"))[:2]
  t = np.arange(3 * 16_000) / 16_000
  tone = (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32) * (t >= 2.0)
  hiss = np.random.default_rng(1).normal(scale=1e-4, size=len(tone))
  soundfile.write(first, tone + hiss, 16_000)
  noise = np.random.default_rng(0).normal(scale=0.1, size=16_000)
  soundfile.write(other, np.stack([noise, -noise], axis=1), 16_000)
  (root / "no" / "song.mp3").write_bytes(b"x")
  (root / "no" / "more").mkdir()
  options = {"data_dir": root, "keywords": ("yes", "no"), "progress": False}
  options["cache_dir"] = tmp_path / "cache"

  def heard(**more):
    loaded = speech.load("folder", **options, **more)
    assert loaded.notes.long == (f"yes/{first.name}",)
    assert loaded.notes.silent == (f"yes/{other.name}",)
    lines = "\n".join(loaded.notes.lines())
    assert "or .ogg, not read: 2 (no/more, no/song.mp3)" in lines
    assert f"one second is taken (--clip_at): 1 (yes/{first.name})" in lines
    assert f"recordings that are silent: 1 (yes/{other.name})" in lines
    clips = [
      loaded.audio(split, k)
      for split, part in loaded.splits._asdict().items()
      for k in range(len(part))
    ]
    return min(clips, key=lambda clip: np.abs(clip - tone[-16_000:]).sum())

  assert np.abs(heard(clip_at="loudest") - tone[-16_000:]).max() < 1e-3
  assert np.abs(heard() - tone[-16_000:]).max() > 0.4
  with pytest.raises(ValueError, match=rf"yes/{first.name} is 3.0 s long, a clip one second; cut"):
    speech.load("folder", **options, clip_at="error")
  with pytest.raises(ValueError, match="clip_at is 'middle'; choose one of start, loudest, error"):
    speech.load("folder", **options, clip_at="middle")

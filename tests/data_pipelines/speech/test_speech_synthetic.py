import functools
import re
import sys
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from data_pipelines import speech
from data_pipelines.speech import espeak, pipeline, synthetic
from data_pipelines.speech.source import SPLITS

pytest.importorskip("espeakng_loader", reason="espeak-ng is in the extra `demo`")

SMALL = synthetic.Recipe(
  words=("yes", "no", "bed"),
  voices={"train": ("f1", "m1", "whisper"), "validation": ("f2",), "test": ("Lee", "m4")},
  takes=2,
)


@pytest.fixture
def small(monkeypatch):
  source = functools.partial(synthetic.synthetic_source, recipe=SMALL)
  monkeypatch.setattr(pipeline, "synthetic_source", source)


def load(cache_dir, **options):
  options = {"keywords": ("yes", "no"), "progress": False, **options}
  return speech.load("synthetic", cache_dir=cache_dir, **options)


def audio(loaded):
  return [
    loaded.audio(name, index)
    for name, split in zip(SPLITS, loaded.splits, strict=True)
    for index in range(len(split))
  ]


def test_synthetic(small, tmp_path):
  loaded = load(tmp_path)
  assert loaded.class_names == ("yes", "no", "unknown")
  assert [len(split) for split in loaded.splits] == [18, 6, 12]
  assert loaded.notes.clips["test"] == {"yes": 4, "no": 4, "unknown": 4}
  assert_array_equal(loaded.splits.train.lengths, 81)
  for samples in audio(loaded):
    assert samples.shape == (16_000,)
    assert samples.dtype == np.float32
    assert 0.04 < np.abs(samples).max() <= 1


def test_every_clip_is_another_recording(small, tmp_path):
  clips = audio(load(tmp_path))
  assert len({samples.tobytes() for samples in clips}) == len(clips)


def test_the_same_bytes_on_every_run(small, tmp_path):
  first = load(tmp_path / "a")
  time.sleep(1.1)  # left alone, the engine's noise is a function of the second
  second = load(tmp_path / "b")
  for mine, theirs in zip(audio(first), audio(second), strict=True):
    assert_array_equal(mine, theirs)
  for mine, theirs in zip(first.splits, second.splits, strict=True):
    assert_array_equal(mine.inputs, theirs.inputs)


def test_made_once(small, tmp_path, monkeypatch):
  before = load(tmp_path)
  monkeypatch.delattr(espeak, "speak")
  after = load(tmp_path, keywords=("all",))
  assert_array_equal(before.splits.test.inputs, after.splits.test.inputs)
  assert after.class_names == ("bed", "no", "yes")


def test_damaged_audio_is_made_again(small, tmp_path):
  expected = audio(load(tmp_path))
  (folder,) = tmp_path.glob("synthetic-*")
  path = folder / "test.npy"
  path.write_bytes(path.read_bytes()[:-2])
  assert_array_equal(audio(load(tmp_path)), expected)


def test_words_start_at_many_places_and_levels_differ(small, tmp_path):
  loaded = load(tmp_path)
  clips = np.abs([loaded.audio("train", index) for index in range(18)])
  loudest = clips.argmax(axis=1)
  assert loudest.min() < 6_000 < 10_000 < loudest.max()
  assert clips.max(axis=1).max() > 3 * clips.max(axis=1).min()


def test_the_same_word_by_another_take_of_a_voice_has_another_accent():
  lines = synthetic._write_script(synthetic.Recipe(), "train")
  spoken = {(line.word, line.utterance.voice) for line in lines}
  assert len(spoken) == len(lines)


def test_default_recipe_is_of_a_useful_size():
  recipe = synthetic.Recipe()
  sizes = {split: len(synthetic._write_script(recipe, split)) for split in SPLITS}
  assert 3_000 <= sizes["train"] <= 4_000
  assert 600 <= sizes["validation"] <= 800
  assert 600 <= sizes["test"] <= 800
  assert set(speech.KEYWORDS) < set(recipe.words)
  assert len(set(recipe.words)) >= 15


def test_no_voice_is_in_two_splits_nor_a_relation_of_it():
  homes = {}
  for split, voices in synthetic.VOICES.items():
    assert len(set(voices)) == len(voices)
    for voice in voices:
      # f1..f5 and m1..m8 are numbered but other people.
      numbered = re.fullmatch(r"[fm]\d", voice)
      family = voice if numbered else re.sub(r"\d*$", "", voice).lower()
      assert homes.setdefault(family, split) == split
  for split in SPLITS:
    for line in synthetic._write_script(synthetic.Recipe(), split):
      assert line.utterance.voice.split("+")[1] in synthetic.VOICES[split]


def test_all_voices_speak_in_all_accents():
  engine = espeak.find_engine()
  voices = [name for split in SPLITS for name in synthetic.VOICES[split]]
  espeak.check_variants(engine, voices)
  utterances = [
    espeak.Utterance("go", f"{accent}+{voice}", 200, 50)
    for voice in voices[::4]
    for accent in synthetic.ACCENTS
  ]
  for rate, samples in espeak.speak(engine, utterances):
    assert rate == 22_050
    loud = np.abs(np.frombuffer(samples, np.int16).astype(np.int32)).max()
    assert loud > 1_000


def test_without_the_wheel(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "espeakng_loader", None)
  with pytest.raises(ValueError, match=r"needs espeak-ng; install .*`pip install rc-jax\[demo\]`"):
    load(tmp_path)


def test_a_voice_that_is_not_there():
  with pytest.raises(ValueError, match="this espeak-ng has no voice 'Nobody'"):
    espeak.check_variants(espeak.find_engine(), ("f1", "Nobody"))


def test_an_engine_that_fails():
  spoken = espeak.speak(espeak.find_engine(), [espeak.Utterance("go", "xx-nowhere", 150, 50)])
  with pytest.raises(ValueError, match="espeak-ng failed: espeak-ng cannot say 'go' with the"):
    next(spoken)


def test_an_engine_that_is_not_there(tmp_path):
  spoken = espeak.speak(espeak.Engine(str(tmp_path / "none.so"), ""), [])
  assert list(spoken) == []
  spoken = espeak.speak(
    espeak.Engine(str(tmp_path / "none.so"), ""), [espeak.Utterance("go", "en", 150, 50)]
  )
  with pytest.raises(ValueError, match=r"espeak-ng failed: .*none\.so"):
    next(spoken)


def test_data_dir_has_no_meaning(tmp_path):
  with pytest.raises(ValueError, match="dataset 'synthetic' reads no data_dir"):
    load(tmp_path, data_dir=tmp_path)

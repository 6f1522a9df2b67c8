"""Scenes against what they are put together from."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from data_pipelines import speech
from data_pipelines.speech import background, features, loudness, other_speech, scenes, texts

RATE = speech.SAMPLE_RATE
QUIET = speech.Scenes(0.0, 0.0, (0.0, 40.0), 0.0, 2, False)


def make_sounds(number=6, background_s=0.0, speech_s=0.0):
  """Clips of a tone each, that lasts from 0.3 to 0.6 s; labels 0, 1, 0, 1, ..."""
  t = np.arange(RATE) / RATE
  on = (t >= 0.3) & (t < 0.6)
  clips = [0.5 * on * np.sin(2 * np.pi * 30 * (k + 2) * t) for k in range(number)]
  noise = np.random.default_rng(0).normal(size=int(background_s * RATE)) * loudness.BACKGROUND_LEVEL
  spoken = 0.3 * np.sin(np.arange(int(speech_s * RATE)))
  tracks = (background.to_int16(np.asarray(a)) for a in (clips, noise, spoken))
  clips, noise, spoken = (jnp.asarray(a) for a in tracks)
  return speech.Sounds(clips, jnp.asarray(np.arange(number, dtype=np.int32) % 2), noise, spoken)


@functools.partial(jax.jit, static_argnames=("compose", "options"))
def compose_excerpts(key, sounds, excerpts, *, options, compose=scenes.compose_samples):
  """Cuts a batch and composes it, in one program."""
  return compose(key, speech.cut_excerpts(sounds, excerpts, scenes=options), scenes=options)


def compose_all(sounds, options, seed=0):
  """Scenes of all clips, as samples: (samples, labels, lengths)."""
  excerpts = speech.draw_excerpts(sounds, options, len(sounds.labels), seed)[0]
  made = compose_excerpts(jax.random.key(seed), sounds, excerpts, options=options)
  return excerpts.clip, *(np.asarray(a) for a in made)


def test_without_anything_added_a_scene_is_its_clip():
  sounds = make_sounds()
  excerpts = speech.draw_excerpts(sounds, QUIET, 6, 0)[0]
  made = compose_excerpts(
    jax.random.key(0), sounds, excerpts, options=QUIET, compose=speech.compose
  )
  clips = np.asarray(sounds.clips)[excerpts.clip].astype(np.float32) / 32768
  np.testing.assert_allclose(made.inputs, jax.jit(features.log_mel)(clips), atol=1e-4)
  np.testing.assert_array_equal(made.labels, np.asarray(sounds.labels)[excerpts.clip])
  assert set(np.asarray(made.lengths)) == {features.NUM_STEPS}


def test_a_clip_comes_last_and_the_tail_of_the_one_before_first():
  sounds = make_sounds(40)
  options = QUIET._replace(lead_in_s=1.5)
  index, samples, _, lengths = compose_all(sounds, options)
  clips = np.asarray(sounds.clips)[index].astype(np.float32) / 32768
  assert samples.shape == (40, int(2.5 * RATE))
  starts = (lengths + 2 * features.CONTEXT - 1) * features.HOP - RATE
  assert starts.min() == 0 and starts.max() > 1.2 * RATE
  tails = 0
  for row, start in enumerate(starts):
    # A start lies within a hop of the multiple that the length tells.
    spoken = np.flatnonzero(samples[row, start + 4000 :])[0] + start + 4000
    offset = spoken - np.flatnonzero(clips[row])[0]
    assert 0 <= offset - start < features.HOP
    np.testing.assert_array_equal(samples[row, offset : offset + RATE], clips[row])
    front = samples[row, : max(offset, 0)]
    if front.any():  # it ends with the word before, 0.1 s before the tail's end
      tails += 1
      end = np.flatnonzero(front)[-1] + 1
      word = clips[row - 1][: int(0.6 * RATE)]
      np.testing.assert_array_equal(front[:end], word[len(word) - end :][: len(front[:end])])
  assert 15 <= tails <= 35


def test_a_scene_goes_on_after_its_clip_for_up_to_the_lead_out():
  index, samples, _, lengths = compose_all(make_sounds(60), QUIET._replace(lead_out_s=0.5))
  clips = np.asarray(make_sounds(60).clips)[index].astype(np.float32) / 32768
  np.testing.assert_array_equal(samples, np.pad(clips, ((0, 0), (0, RATE // 2))))
  after = lengths - features.NUM_STEPS
  assert 0 <= after.min() < 10 and 40 < after.max() <= 50


def test_background_has_the_ratio_that_is_asked_for():
  sounds = make_sounds(100, background_s=20)
  options = QUIET._replace(snr_db=(10.0, 10.0))
  index, samples, _, _ = compose_all(sounds, options)
  clips = np.asarray(sounds.clips)[index].astype(np.float32) / 32768
  noise = samples - clips
  tone = 0.5 / np.sqrt(2)
  found = 20 * np.log10(tone / np.maximum(np.sqrt(np.mean(noise**2, axis=1)), 1e-9))
  silent = found > 100
  assert 0.05 < silent.mean() < 0.3
  np.testing.assert_allclose(found[~silent], 10, atol=0.5)


def test_scenes_without_a_keyword_belong_to_unknown():
  sounds = make_sounds(200, speech_s=5)
  options = QUIET._replace(negatives=0.5, other_speech=True)
  index, samples, labels, _ = compose_all(sounds, options)
  clips = np.asarray(sounds.clips)[index].astype(np.float32) / 32768
  same = (samples == clips).all(axis=1)
  np.testing.assert_array_equal(labels[same], np.asarray(sounds.labels)[index][same])
  assert set(labels[~same]) == {2} and 0.4 < np.mean(~same) < 0.6
  silent = ~samples.any(axis=1)
  reverse = (samples == clips[:, ::-1]).all(axis=1) & ~silent
  spoken = (samples != 0).mean(axis=1) > 0.9
  for kind, share in ((silent, 1 / 12), (reverse, 1 / 6), (spoken, 1 / 4)):
    assert 0.5 * share < kind.mean() < 1.6 * share
  assert not spoken[labels != 2].any()


def test_halves_of_two_words_hold_neither_whole():
  t = np.arange(RATE) / RATE
  word = lambda start, end: ((t >= start) & (t < end)) * np.sin(2 * np.pi * 50 * t)
  halves = (word(start, end).astype(np.float32) for start, end in ((0.0, 0.3), (0.5, 0.9)))
  spliced = np.asarray(jax.jit(scenes._splice)(*halves))
  np.testing.assert_allclose(spliced[:2400], word(0.0, 0.3)[:2400], atol=1e-6)
  np.testing.assert_allclose(spliced[2400:5600], word(0.5, 0.9)[11200:14400], atol=1e-6)
  assert not spliced[5600:].any()


def test_a_batch_depends_on_its_number_and_the_seed_alone():
  sounds = make_sounds(background_s=3)
  first, again = (speech.draw_excerpts(sounds, QUIET, 2, 7) for _ in range(2))
  jax.tree.map(np.testing.assert_array_equal, first[5], again[5])
  assert not np.array_equal(first[5].background, first[6].background)
  other = speech.draw_excerpts(sounds, QUIET, 2, 8)
  assert not np.array_equal(first[5].background, other[5].background)


def test_a_background_shorter_than_a_scene_is_refused():
  with pytest.raises(ValueError, match=r"background has 0.5 s, a scene 1.0 s; give more"):
    speech.draw_excerpts(make_sounds(background_s=0.5), QUIET, 2, 0)


def test_parts_of_a_background_are_as_loud(tmp_path):
  track = speech.open_background("synthetic").astype(np.float64) / 32767
  parts = track.reshape(-1, 40 * RATE)
  np.testing.assert_allclose(
    np.sqrt(np.mean(parts**2, axis=1)), loudness.BACKGROUND_LEVEL, rtol=0.02
  )
  for name, rate, level in (("a", 16_000, 0.5), ("b", 8_000, 0.01)):
    noise = level * np.random.default_rng(0).normal(size=(2 * rate, 2))
    soundfile.write(tmp_path / f"{name}.wav", np.clip(noise, -1, 1), rate)
  read = speech.open_background(str(tmp_path)).astype(np.float64) / 32767
  assert len(read) == 4 * RATE
  for part in np.split(read, 2):
    assert np.sqrt(np.mean(part**2)) == pytest.approx(loudness.BACKGROUND_LEVEL, rel=0.02)


def test_a_background_is_read_up_to_its_largest_length(tmp_path, monkeypatch):
  """Seconds that are added up leave a rest of 4e-16, for which no sample of a file is read."""
  monkeypatch.setattr(background, "_LARGEST_S", 4.2)
  (tmp_path / "._a.wav").write_bytes(b"hidden")
  for name in "abcd":
    noise = 0.1 * np.random.default_rng(0).normal(size=61_740)  # 1.4 s
    soundfile.write(tmp_path / f"{name}.wav", noise, 44_100)
  assert len(speech.open_background(str(tmp_path))) == 4.2 * RATE


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (None, "no folder"),
    ({}, "has no recording"),
    ({"x.wav": b"RIFF"}, "x.wav cannot be read"),
    ({"x.wav": np.zeros(100)}, "x.wav is silent"),
  ],
)
def test_a_bad_folder_of_background(tmp_path, content, message):
  folder = tmp_path / "sounds"
  if content is not None:
    folder.mkdir()
    for name, samples in content.items():
      if isinstance(samples, bytes):
        (folder / name).write_bytes(samples)
      else:
        soundfile.write(folder / name, samples, RATE)
  with pytest.raises(ValueError, match=message):
    speech.open_background(str(folder))


def test_other_speech_has_no_keyword_and_is_cached(tmp_path, monkeypatch):
  pytest.importorskip("espeakng_loader")
  said = []
  real = other_speech.espeak.speak
  monkeypatch.setattr(
    other_speech.espeak, "speak", lambda engine, lines: said.extend(lines) or real(engine, lines)
  )
  given = {"utterances": 12, "progress": False}
  first = speech.open_other_speech(tmp_path, "sentences", ("two", "sun"), **given)
  again = speech.open_other_speech(tmp_path, "sentences", ("two", "sun"), **given)
  np.testing.assert_array_equal(first, again)
  assert len(said) == 12 and 15 < len(first) / RATE < 60
  assert 0.02 < np.sqrt(np.mean((first / 32768.0) ** 2)) < 0.08


def test_what_sounds_like_a_keyword_is_not_said():
  rng = np.random.default_rng(0)
  assert texts.list_homophones("know") == texts.list_homophones("no") == {"no", "know"}
  lines = other_speech._write_lines("words", ("No", "river"), "train", 3000, rng)
  words = {word for line in lines for word in line.text.split()}
  assert not words & {"no", "know", "river"} and {"now", "mountain"} <= words
  assert {"know", "river"} <= set(texts.WORDS)
  sentences = {
    split: {
      line.text for line in other_speech._write_lines("sentences", ("zero", "sun"), split, 200, rng)
    }
    for split in ("validation", "test")
  }
  assert "The boy was there when the sun rose." in texts.SENTENCES
  assert not any("sun" in text for said in sentences.values() for text in said)
  assert not sentences["validation"] & sentences["test"] and len(sentences["test"]) > 25

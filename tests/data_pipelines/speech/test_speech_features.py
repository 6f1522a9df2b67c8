import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal
from numpy.testing import assert_allclose, assert_array_equal

from data_pipelines import speech
from data_pipelines.speech import features
from rc_jax.types import Batch

SECONDS = np.arange(16_000) / 16_000
LOG_MEL = jax.jit(speech.log_mel)


def by_definition(samples):
  """Frames `[n, 20]` from the transform of each window, in float64."""
  windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, 200), 400)[::160]
  spectrum = np.fft.rfft(windows * scipy.signal.get_window("hamming", 400))
  mel = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=20)
  return np.log(np.abs(spectrum) ** 2 @ mel.T + 1e-6)


def by_librosa(samples):
  """The same by librosa's own function, which takes 20 s to be compiled where it is new."""
  mel = librosa.feature.melspectrogram(
    y=samples, sr=16_000, n_fft=400, hop_length=160, window="hamming", n_mels=20,
    center=True, pad_mode="constant", power=2.0,
  )  # fmt: skip
  return np.log(mel + 1e-6).T


ORACLES = [by_definition, pytest.param(by_librosa, marks=pytest.mark.slow)]


def voice(rng):
  """A vowel-like sound: harmonics of a gliding pitch under a slow envelope, with some noise."""
  phase = 2 * np.pi * np.cumsum(120 + 40 * SECONDS) / 16_000
  harmonics = sum(np.sin(k * phase + k) / k for k in range(1, 30))
  envelope = np.exp(-((SECONDS - 0.5) ** 2) / 0.03)
  return 0.3 * harmonics * envelope + 0.001 * rng.normal(size=16_000)


def waveforms():
  rng = np.random.default_rng(0)
  sound = voice(rng)
  return {
    "silence": np.zeros(16_000),
    "voice": sound,
    "padded": np.r_[sound[:9_000], np.zeros(7_000)],
    "full-scale noise": rng.choice([-1.0, 1.0], 16_000),
    "full-scale tone": np.sin(2 * np.pi * 440 * SECONDS),
    "full-scale square": np.sign(np.sin(2 * np.pi * 313 * SECONDS)),
    "constant": np.ones(16_000),
    "one sample": np.eye(1, 16_000, 0)[0],
    "last sample": np.eye(1, 16_000, 15_999)[0],
    "nearly silent": rng.normal(0, 1e-4, 16_000),
  }


@pytest.mark.parametrize("oracle", ORACLES)
@pytest.mark.parametrize("name", waveforms())
def test_log_mel_is_librosas(name, oracle):
  samples = waveforms()[name].astype(np.float32)
  frames = LOG_MEL(samples)
  assert frames.shape == (101, 20)
  assert frames.dtype == jnp.float32
  assert_allclose(frames, oracle(samples), atol=1e-4, rtol=0)
  on_host = speech.features.log_mel_of_clips(samples)
  assert on_host.shape == (101, 20) and on_host.dtype == np.float32
  assert_allclose(on_host, oracle(samples), atol=1e-4, rtol=0)


@pytest.mark.parametrize("oracle", ORACLES)
def test_log_mel_is_librosas_on_real_words(shared, oracle):
  import soundfile

  for path in sorted((shared / "happy").glob("*.flac"))[:20]:
    samples = soundfile.read(path, dtype="float32")[0]
    assert_allclose(LOG_MEL(samples), oracle(samples), atol=1e-4, rtol=0)


def test_log_mel_maps_leading_axes_and_other_lengths():
  samples = np.random.default_rng(1).uniform(-1, 1, (2, 3, 5_000)).astype(np.float32)
  frames = LOG_MEL(samples)
  assert frames.shape == (2, 3, 1 + 5_000 // 160, 20)
  assert_allclose(frames[1, 2], by_definition(samples[1, 2]), atol=1e-4, rtol=0)


def test_log_mel_refuses_integer_samples():
  with pytest.raises(ValueError, match="audio is int16; give float32"):
    speech.log_mel(jnp.zeros(16_000, jnp.int16))


def test_context_is_a_plain_loop():
  frames = np.random.default_rng(2).normal(size=(2, 101, 20)).astype(np.float32)
  steps = np.asarray(jax.jit(speech.context)(frames))
  assert steps.shape == (2, speech.NUM_STEPS, speech.STEP_SIZE) == (2, 81, 420)
  for row in range(2):
    for step in range(81):
      centre = step + 10
      expected = []
      for frame in range(centre - 10, centre + 11):
        expected.extend(frames[row, frame])
      assert_array_equal(steps[row, step], np.array(expected))


def test_context_needs_21_frames():
  assert speech.context(jnp.zeros((21, 20))).shape == (1, 420)
  with pytest.raises(ValueError, match="20 frames make no step"):
    speech.context(jnp.zeros((20, 20)))


def test_standardise():
  frames = np.random.default_rng(3).normal(size=(4, 101, 20)).astype(np.float32)
  mean, std = np.arange(20, dtype=np.float32), np.arange(1, 21, dtype=np.float32)
  scaled = np.asarray(speech.standardise(jnp.asarray(frames), mean, std))
  assert_allclose(scaled[2, 7, 3], (frames[2, 7, 3] - 3) / 4, rtol=1e-6)
  assert_allclose(scaled * std[None, None] + mean[None, None], frames, atol=1e-5)


def test_a_whole_clip_is_one_step():
  rng = np.random.default_rng(0)
  frames = rng.normal(size=(3, 101, 20)).astype(np.float32)
  mean, std = rng.normal(size=20).astype(np.float32), rng.uniform(1, 2, 20).astype(np.float32)
  batch = Batch(jnp.asarray(frames), jnp.arange(3), jnp.asarray([81, 5, 1]))
  whole = speech.prepare_whole(speech.Statistics(mean, std), batch)
  assert whole.inputs.shape == (3, 1, 101, 20, 1)
  assert_allclose(whole.inputs[:, 0, :, :, 0], (frames - mean) / std, rtol=1e-5, atol=1e-6)
  assert_array_equal(whole.lengths, [1, 1, 1])
  assert_array_equal(whole.labels, batch.labels)


def test_prepare_is_standardise_then_context_and_compiles_once():
  rng = np.random.default_rng(4)
  statistics = speech.Statistics(
    rng.normal(size=20).astype(np.float32), rng.uniform(1, 2, 20).astype(np.float32)
  )
  traces = []

  @jax.jit
  def prepare(statistics, batch):
    traces.append(1)
    return speech.prepare(statistics, batch)

  for _ in range(2):
    frames = rng.normal(size=(5, 101, 20)).astype(np.float32)
    batch = Batch(frames, np.arange(5, dtype=np.int32), np.full(5, 81, np.int32))
    prepared = prepare(statistics, batch)
    assert prepared.inputs.shape == (5, 81, 420)
    assert_array_equal(prepared.labels, batch.labels)
    assert_array_equal(prepared.lengths, batch.lengths)
    expected = (frames[1, 80:101] - statistics.mean) / statistics.std
    assert_allclose(prepared.inputs[1, 80], expected.ravel(), rtol=1e-5, atol=1e-6)
  assert len(traces) == 1


@pytest.mark.parametrize(("step", "milliseconds"), [(0, 212.5), (1, 222.5), (80, 1012.5)])
def test_heard_ms_by_hand(step, milliseconds):
  assert speech.heard_ms(step) == milliseconds
  assert_allclose(speech.heard_ms(np.array([step, step])), milliseconds)


STEPS = jax.jit(lambda samples: speech.context(speech.log_mel(samples)))


@pytest.mark.parametrize("step", [0, 5, 60])
def test_heard_ms_is_where_a_step_ends(step):
  samples = np.random.default_rng(5).uniform(-0.5, 0.5, 16_000).astype(np.float32)
  end = round(speech.heard_ms(step) * 16)

  def steps(samples):
    return np.asarray(STEPS(samples))[step]

  later, last = samples.copy(), samples.copy()
  later[end:] = 0
  last[end - 1] = 1
  assert_array_equal(steps(later), steps(samples))
  assert np.abs(steps(last) - steps(samples)).max() > 1e-4


@pytest.mark.parametrize(
  ("num_samples", "steps"),
  [(1, 1), (3_199, 1), (3_359, 1), (3_360, 2), (6_827, 23), (15_999, 80), (16_000, 81)],
)
def test_num_steps_by_hand(num_samples, steps):
  assert features.num_steps(np.array([num_samples])) == steps


def test_steps_of_a_short_clip_hold_no_frame_of_padding_alone():
  samples = np.zeros(16_000, np.float32)
  samples[:6_827] = np.random.default_rng(6).uniform(-0.5, 0.5, 6_827)
  frames = np.asarray(LOG_MEL(samples))
  silent = np.isclose(frames, np.log(1e-6)).all(axis=-1)
  last_of_clip = features.num_steps(6_827) - 1 + 20
  assert not silent[last_of_clip]
  assert silent[last_of_clip + 2 :].all()

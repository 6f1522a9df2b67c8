"""The speech front end, as pure functions: samples -> log-mel frames -> steps (section 3.4).

One second at 16 kHz gives 101 frames of 20 bands, and these give 81 steps of 21 frames each.
Frames are what the cache holds; the 21-fold steps exist only inside a jitted program.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rc_jax.types import Array

SAMPLE_RATE = 16_000  # Hz
NUM_SAMPLES = 16_000  # a clip: one second
WINDOW = 400  # samples: 25 ms, also the length of the Fourier transform
HOP = 160  # samples: 10 ms
NUM_BANDS = 20
LOG_OFFSET = 1e-6  # added to the power, so that silence is finite
CONTEXT = 10  # frames on either side of a step's own
NUM_FRAMES = 1 + NUM_SAMPLES // HOP  # 101
NUM_STEPS = NUM_FRAMES - 2 * CONTEXT  # 81
STEP_SIZE = (2 * CONTEXT + 1) * NUM_BANDS  # 420


def log_mel(audio: Array) -> Array:
  """Log-mel frames, as librosa's `melspectrogram` with a constant padding has them.

  25 ms Hamming window, 10 ms hop, centred on zero-padded samples, power spectrum, librosa's
  default (Slaney) mel filters, natural logarithm.

  Args:
    audio: `[..., n]` float32 samples at 16 kHz, in [-1, 1]; n = 16000 for one second.

  Returns:
    `[..., 1 + n // 160, 20]` float32 `log(mel power + 1e-6)`.

  Raises:
    ValueError: audio is not float32.
  """
  if audio.dtype != jnp.float32:
    raise ValueError(f"audio is {audio.dtype}; give float32 samples in [-1, 1]")
  power = _power(_frames(audio) * _like(_window(), audio.ndim + 1))
  # A GPU would round this product to ten bits of mantissa by default.
  mel = jnp.matmul(power, _filters(), precision=jax.lax.Precision.HIGHEST)
  return jnp.log(mel + LOG_OFFSET)


def standardise(frames: Array, mean: Array | np.ndarray, std: Array | np.ndarray) -> Array:
  """Frames `[..., F, 20]` less the mean `[20]` of their band, in units of its deviation `[20]`."""
  return (frames - _like(mean, frames.ndim)) / _like(std, frames.ndim)


def context(frames: Array) -> Array:
  """Joins each frame with the 10 before and the 10 after it; the edges are not padded.

  Args:
    frames: `[..., F, 20]`, F > 20.

  Returns:
    `[..., F - 20, 420]`: step t holds the frames t..t+20, the oldest first.

  Raises:
    ValueError: there are too few frames for one step.
  """
  steps = frames.shape[-2] - 2 * CONTEXT
  if steps < 1:
    raise ValueError(f"{frames.shape[-2]} frames make no step; give more than {2 * CONTEXT}")
  shifted = [frames[..., k : k + steps, :] for k in range(2 * CONTEXT + 1)]
  return jnp.concatenate(shifted, axis=-1)


def heard_ms(step):
  """Milliseconds of audio behind a zero-based step: the end of its last frame's window.

  Step t ends with frame t + 20, whose window is centred at 10 ms * (t + 20) and reaches 12.5 ms
  further. The value may pass 1000: the last windows reach into the padding.
  """
  return (step + 2 * CONTEXT) * (1000 * HOP / SAMPLE_RATE) + 1000 * WINDOW / 2 / SAMPLE_RATE


def num_frames(num_samples):
  """Frames of a clip that hold some of its samples; `num_samples` counts at 16 kHz, <= 16000."""
  return 1 + num_samples // HOP


def num_steps(num_samples):
  """Steps (1..81) all of whose frames hold samples of a clip; one where the clip is too short."""
  return np.clip(num_frames(num_samples) - 2 * CONTEXT, 1, NUM_STEPS)


def _frames(audio: Array) -> Array:
  """`[..., n]` -> `[..., 1 + n // 160, 400]`: overlapping windows of centred, padded samples."""
  half = WINDOW // 2
  padded = jnp.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(half, half)])
  starts = HOP * jnp.arange(num_frames(audio.shape[-1]), dtype=jnp.int32)

  def windows(samples: Array) -> Array:
    # Slices are copied whole: on a CPU a quarter of the time of joining shifted hops.
    return jax.vmap(lambda start: jax.lax.dynamic_slice(samples, (start,), (WINDOW,)))(starts)

  frames = jax.vmap(windows)(padded.reshape(-1, padded.shape[-1]))
  return frames.reshape(*audio.shape[:-1], *frames.shape[1:])


def _power(frames: Array) -> Array:
  """Power spectrum `[..., 400]` -> `[..., 201]`."""
  spectrum = jnp.fft.rfft(frames)
  return spectrum.real**2 + spectrum.imag**2


def _like(vector: Array | np.ndarray, ndim: int) -> Array:
  """A vector with leading axes of one, so that no rank is promoted."""
  return jnp.reshape(vector, (1,) * (ndim - 1) + (-1,))


def _window() -> np.ndarray:
  """The periodic Hamming window `[400]`."""
  n = np.arange(WINDOW)
  return (0.54 - 0.46 * np.cos(2 * np.pi * n / WINDOW)).astype(np.float32)


@functools.cache
def _filters() -> np.ndarray:
  """Mel filters `[201, 20]`. librosa takes a second to import, so only who computes waits."""
  from librosa.filters import mel

  return mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=NUM_BANDS).T.astype(np.float32)

"""The speech front end in pure functions: samples become log-mel frames, then steps (section 3.4).

One second at 16 kHz gives 101 frames of 20 bands, and these give 81 steps of 21 frames each. The
cache holds frames. Steps, which repeat each frame up to 21 times, exist only inside a jitted
program.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from rc_jax.types import Array

SAMPLE_RATE = 16_000  # Hz
NUM_SAMPLES = 16_000  # of a clip: one second
WINDOW = 400  # samples: 25 ms; the Fourier transform has the same length
HOP = 160  # samples: 10 ms
NUM_BANDS = 20
LOG_OFFSET = 1e-6  # added to the power, so that the logarithm of silence is finite
CONTEXT = 10  # frames that a step holds on either side of its central frame
NUM_FRAMES = 1 + NUM_SAMPLES // HOP  # 101
NUM_STEPS = NUM_FRAMES - 2 * CONTEXT  # 81
STEP_SIZE = (2 * CONTEXT + 1) * NUM_BANDS  # 420


def log_mel(audio: Array) -> Array:
  """Computes log-mel frames, equal to those of librosa's `melspectrogram` with constant padding.

  Windows of 25 ms (Hamming) lie every 10 ms, each centred on its sample of the zero-padded audio.
  Their power spectrum passes librosa's default (Slaney) mel filters; the logarithm is natural.

  Args:
    audio: `[..., n]` float32 samples at 16 kHz in [-1, 1]; n = 16000 for one second.

  Returns:
    `[..., 1 + n // 160, 20]` float32, `log(mel power + 1e-6)` in nats.

  Raises:
    ValueError: if audio is not float32.
  """
  if audio.dtype != jnp.float32:
    raise ValueError(f"audio is {audio.dtype}; give float32 samples in [-1, 1]")
  power = _power_spectrum(_cut_windows(audio) * _on_last_axis(hamming_window(), audio.ndim + 1))
  # By default a GPU would round the factors of this product to ten bits of mantissa, which the
  # logarithm of a quiet band would show.
  mel = jnp.matmul(power, mel_filters(), precision=jax.lax.Precision.HIGHEST)
  return jnp.log(mel + LOG_OFFSET)


def log_mel_of_clips(audio: np.ndarray) -> np.ndarray:
  """Computes what `log_mel` does, on the host: of recordings, when they are read.

  Args:
    audio: `[..., n]` float32, as for `log_mel`.

  Returns:
    `[..., 1 + n // 160, 20]` float32, to rounding those of `log_mel`, and within 1e-6 those of
    live sound.
  """
  half = WINDOW // 2
  padded = np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(half, half)])
  windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=-1)
  return log_mel_of_windows(windows[..., ::HOP, :])


def log_mel_of_windows(windows: np.ndarray) -> np.ndarray:
  """Computes log-mel frames `[..., 20]` float32 of windows `[..., 400]` float32, on the host."""
  spectrum = scipy.fft.rfft(windows * hamming_window())
  power = spectrum.real**2 + spectrum.imag**2
  return np.log(power @ mel_filters() + np.float32(LOG_OFFSET))


def standardise(frames: Array, mean: Array | np.ndarray, std: Array | np.ndarray) -> Array:
  """Standardises each band: subtracts its mean and divides by its standard deviation.

  Args:
    frames: `[..., F, 20]` float32 log-mel frames.
    mean: `[20]` float32, the mean of each band.
    std: `[20]` float32, the standard deviation of each band, > 0.

  Returns:
    `[..., F, 20]` float32, without a unit.
  """
  return (frames - _on_last_axis(mean, frames.ndim)) / _on_last_axis(std, frames.ndim)


def context(frames: Array) -> Array:
  """Joins each frame with the 10 frames before and the 10 after it (section 3.4).

  The edges are not padded, so that the first and the last 10 frames get no step of their own.

  Args:
    frames: `[..., F, 20]`, F > 20.

  Returns:
    `[..., F - 20, 420]`: step t holds the frames t to t + 20, the oldest first.

  Raises:
    ValueError: if there are too few frames for one step.
  """
  steps = frames.shape[-2] - 2 * CONTEXT
  if steps < 1:
    raise ValueError(f"{frames.shape[-2]} frames make no step; give more than {2 * CONTEXT}")
  shifted = [frames[..., k : k + steps, :] for k in range(2 * CONTEXT + 1)]
  return jnp.concatenate(shifted, axis=-1)


def heard_ms(step):
  """Converts a zero-based step to the milliseconds of audio that it needs.

  Step t ends with frame t + 20. The window of that frame is centred at 10 ms * (t + 20) and ends
  12.5 ms later. The result may exceed 1000, since the last windows reach into the padding.

  Args:
    step: `[...]` zero-based steps, or a number.

  Returns:
    `[...]` milliseconds from the start of the clip.
  """
  return (step + 2 * CONTEXT) * (1000 * HOP / SAMPLE_RATE) + 1000 * WINDOW / 2 / SAMPLE_RATE


def num_frames(num_samples):
  """Counts the frames whose windows hold samples of a clip of `num_samples` <= 16000 at 16 kHz."""
  return 1 + num_samples // HOP


def num_steps(num_samples):
  """Counts the steps, 1 to 81, whose frames all hold samples of a clip of `num_samples`.

  A clip too short for one such step counts as one step, since a sequence needs one.
  """
  return np.clip(num_frames(num_samples) - 2 * CONTEXT, 1, NUM_STEPS)


def _cut_windows(audio: Array) -> Array:
  """Cuts zero-padded samples `[..., n]` into centred windows `[..., 1 + n // 160, 400]`."""
  half = WINDOW // 2
  padded = jnp.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(half, half)])
  starts = HOP * jnp.arange(num_frames(audio.shape[-1]), dtype=jnp.int32)

  def windows(samples: Array) -> Array:
    # Each window is copied by one slice. On a CPU this takes a quarter of the time of joining
    # hops of 160 samples that are shifted against each other.
    return jax.vmap(lambda start: jax.lax.dynamic_slice(samples, (start,), (WINDOW,)))(starts)

  frames = jax.vmap(windows)(padded.reshape(-1, padded.shape[-1]))
  return frames.reshape(*audio.shape[:-1], *frames.shape[1:])


def _power_spectrum(frames: Array) -> Array:
  """Computes the power spectrum `[..., 201]` of windows `[..., 400]`."""
  spectrum = jnp.fft.rfft(frames)
  return spectrum.real**2 + spectrum.imag**2


def _on_last_axis(vector: Array | np.ndarray, ndim: int) -> Array:
  """Gives a vector leading axes of size one, since JAX may be set to raise where ranks differ."""
  return jnp.reshape(vector, (1,) * (ndim - 1) + (-1,))


@functools.cache
def hamming_window() -> np.ndarray:
  """Computes the periodic Hamming window, `[400]` float32."""
  n = np.arange(WINDOW)
  return (0.54 - 0.46 * np.cos(2 * np.pi * n / WINDOW)).astype(np.float32)


@functools.cache
def mel_filters() -> np.ndarray:
  """Computes librosa's mel filters, `[201, 20]` float32."""
  from librosa.filters import mel  # takes a second, which only those who compute frames wait

  return mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=NUM_BANDS).T.astype(np.float32)

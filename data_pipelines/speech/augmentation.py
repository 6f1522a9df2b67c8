"""What training may do to recordings that a listener would not mind, on log-mel frames."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.speech.features import NUM_BANDS, NUM_FRAMES
from rc_jax.types import Array, Batch, Key


class Augmentation(NamedTuple):
  """How much of each; 0 is none.

  Attributes:
    shift: most frames (of 10 ms) by which a clip moves, earlier or later.
    stretch: largest relative change of speed: 0.1 is 0.9 to 1.1 times as fast.
    gain: most nats that are added to or taken from all bands (loudness).
    noise: most nats of Gaussian noise on every value; each clip draws its own level.
    mask_frames: widest gap in time, in frames.
    mask_bands: widest gap in frequency, in bands.
  """

  shift: int = 0
  stretch: float = 0.0
  gain: float = 0.0
  noise: float = 0.0
  mask_frames: int = 0
  mask_bands: int = 0


def augment(key: Key, batch: Batch, amount: Augmentation, fill: np.ndarray) -> Batch:
  """Changes each clip by itself, at random.

  Args:
    key: consumed.
    batch: inputs `[B, 101, 20]` log-mel frames, not yet standardised.
    amount: of each change; Python numbers, so that what is 0 costs nothing.
    fill: `[20]` what gaps are filled with: the mean of each band.

  Returns:
    The batch with other inputs; labels and lengths stay.
  """
  keys = jax.random.split(key, batch.inputs.shape[0])
  one = lambda k, frames: _augment_clip(k, frames, amount, jnp.asarray(fill))
  return batch._replace(inputs=jax.vmap(one)(keys, batch.inputs))


def _augment_clip(key: Key, frames: Array, amount: Augmentation, fill: Array) -> Array:
  """One clip `[101, 20]`."""
  move, loud, level, noise, *gaps = jax.random.split(key, 6)
  if amount.shift or amount.stretch:
    frames = _move(move, frames, amount)
  if amount.gain:
    frames = frames + amount.gain * jax.random.uniform(loud, minval=-1.0)
  if amount.noise:
    scale = amount.noise * jax.random.uniform(level)
    frames = frames + scale * jax.random.normal(noise, frames.shape)
  in_gap = jnp.zeros(frames.shape, bool)
  if amount.mask_frames:
    in_gap |= _gap(gaps[0], NUM_FRAMES, amount.mask_frames)[:, None]
  if amount.mask_bands:
    in_gap |= _gap(gaps[1], NUM_BANDS, amount.mask_bands)[None, :]
  return jnp.where(in_gap, fill[None, :], frames)


def _move(key: Key, frames: Array, amount: Augmentation) -> Array:
  """Plays a clip faster or slower about its middle, and earlier or later; edges repeat."""
  speed_key, shift_key = jax.random.split(key)
  speed = 1 + amount.stretch * jax.random.uniform(speed_key, minval=-1.0)
  shift = jax.random.randint(shift_key, (), -amount.shift, amount.shift + 1)
  middle = (NUM_FRAMES - 1) / 2
  times = middle + (jnp.arange(NUM_FRAMES, dtype=jnp.float32) - middle) * speed
  times = times - shift.astype(jnp.float32)
  times = jnp.clip(times, 0, NUM_FRAMES - 1)
  before = jnp.floor(times).astype(jnp.int32)
  after = jnp.minimum(before + 1, NUM_FRAMES - 1)
  part = (times - before.astype(jnp.float32))[:, None]
  return (1 - part) * frames[before] + part * frames[after]


def _gap(key: Key, size: int, widest: int) -> Array:
  """Where `[size]` a gap of 0..widest entries lies."""
  width_key, start_key = jax.random.split(key)
  width = jax.random.randint(width_key, (), 0, widest + 1)
  start = jax.random.randint(start_key, (), 0, size - width + 1)
  index = jnp.arange(size, dtype=jnp.int32)
  return (index >= start) & (index < start + width)

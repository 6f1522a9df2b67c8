"""Random changes of log-mel frames that leave the spoken word as it is, for training."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.speech.features import NUM_BANDS
from rc_jax.types import Array, Batch, Key


class Augmentation(NamedTuple):
  """The largest amount of each change; 0 switches it off.

  Attributes:
    shift: frames (of 10 ms) by which a clip moves earlier or later.
    stretch: relative change of speed; 0.1 plays a clip 0.9 to 1.1 times as fast.
    gain: nats that are added to, or taken from, all bands; it changes the loudness.
    noise: standard deviation in nats of Gaussian noise on every value. Each clip draws its own
      level up to this one.
    mask_frames: width of the gap in time, in frames.
    mask_bands: width of the gap in frequency, in bands.
  """

  shift: int = 0
  stretch: float = 0.0
  gain: float = 0.0
  noise: float = 0.0
  mask_frames: int = 0
  mask_bands: int = 0


def augment(key: Key, batch: Batch, amount: Augmentation, fill: np.ndarray) -> Batch:
  """Changes the clips of a batch at random, each one independently of the others.

  Args:
    key: consumed.
    batch: inputs `[B, F, 20]` float32 log-mel frames that are not yet standardised.
    amount: the largest amount of each change, in Python numbers: a change whose amount is 0 is
      not traced and costs nothing.
    fill: `[20]` float32, the values that fill a gap; the means of the bands are meant.

  Returns:
    The batch with changed inputs of the same shape. Labels and lengths stay.
  """
  keys = jax.random.split(key, batch.inputs.shape[0])
  one = lambda k, frames: _augment_clip(k, frames, amount, jnp.asarray(fill))
  return batch._replace(inputs=jax.vmap(one)(keys, batch.inputs))


def _augment_clip(key: Key, frames: Array, amount: Augmentation, fill: Array) -> Array:
  """Changes the frames `[F, 20]` of one clip.

  The key is split in the same way whatever the amounts are, so that switching one change off
  leaves the random numbers of the others as they were.
  """
  move, loud, level, noise, *gaps = jax.random.split(key, 6)
  if amount.shift or amount.stretch:
    frames = _shift_and_stretch(move, frames, amount)
  if amount.gain:
    frames = frames + amount.gain * jax.random.uniform(loud, minval=-1.0)
  if amount.noise:
    scale = amount.noise * jax.random.uniform(level)
    frames = frames + scale * jax.random.normal(noise, frames.shape)
  in_gap = jnp.zeros(frames.shape, bool)
  if amount.mask_frames:
    in_gap |= _draw_gap(gaps[0], len(frames), amount.mask_frames)[:, None]
  if amount.mask_bands:
    in_gap |= _draw_gap(gaps[1], NUM_BANDS, amount.mask_bands)[None, :]
  return jnp.where(in_gap, fill[None, :], frames)


def _shift_and_stretch(key: Key, frames: Array, amount: Augmentation) -> Array:
  """Plays frames `[F, 20]` at another speed about their middle, and moves them in time.

  Values between two frames are interpolated linearly. Times before the first frame or after the
  last one take that frame.
  """
  speed_key, shift_key = jax.random.split(key)
  speed = 1 + amount.stretch * jax.random.uniform(speed_key, minval=-1.0)
  shift = jax.random.randint(shift_key, (), -amount.shift, amount.shift + 1)
  last = len(frames) - 1
  middle = last / 2
  times = middle + (jnp.arange(last + 1, dtype=jnp.float32) - middle) * speed
  times = times - shift.astype(jnp.float32)
  times = jnp.clip(times, 0, last)
  before = jnp.floor(times).astype(jnp.int32)
  after = jnp.minimum(before + 1, last)
  part = (times - before.astype(jnp.float32))[:, None]
  return (1 - part) * frames[before] + part * frames[after]


def _draw_gap(key: Key, size: int, widest: int) -> Array:
  """Draws a gap of 0 to `widest` neighbouring entries; returns a mask `[size]`, True inside it."""
  width_key, start_key = jax.random.split(key)
  width = jax.random.randint(width_key, (), 0, widest + 1)
  start = jax.random.randint(start_key, (), 0, size - width + 1)
  index = jnp.arange(size, dtype=jnp.int32)
  return (index >= start) & (index < start + width)

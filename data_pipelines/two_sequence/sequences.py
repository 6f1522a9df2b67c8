"""The 2-sequence problem (section 3.2): is the mean of the noise above or below zero?"""

import jax
import jax.numpy as jnp

from rc_jax.types import Batch, Key

NUM_STEPS = 40
MEAN = 0.05
SIGMA_RANGE = (0.05, 0.25)
CLASS_NAMES = ("below", "above")


def sample(key: Key, batch_size: int) -> Batch:
  """Draws sequences of Gaussian steps around +0.05 or -0.05, one sigma a sequence.

  Args:
    key: consumed.
    batch_size: B.

  Returns:
    Batch of inputs `[B, 40, 1]`, labels `[B]` (1: the mean is +0.05), equally likely.
  """
  label_key, sigma_key, noise_key = jax.random.split(key, 3)
  labels = jax.random.bernoulli(label_key, 0.5, (batch_size,)).astype(jnp.int32)
  low, high = SIGMA_RANGE
  sigma = jax.random.uniform(sigma_key, (batch_size, 1, 1), minval=low, maxval=high)
  noise = jax.random.normal(noise_key, (batch_size, NUM_STEPS, 1))
  mean = jnp.where(labels == 1, MEAN, -MEAN)[:, None, None]
  return Batch(mean + sigma * noise, labels, jnp.full(batch_size, NUM_STEPS, jnp.int32))

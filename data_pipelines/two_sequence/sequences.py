"""Sequences of the 2-sequence problem (section 3.2): is the mean of the noise above zero?"""

import jax
import jax.numpy as jnp

from rc_jax.types import Batch, Key

NUM_STEPS = 40
MEAN = 0.05
SIGMA_RANGE = (0.05, 0.25)
CLASS_NAMES = ("below", "above")


def sample(key: Key, batch_size: int) -> Batch:
  """Draws sequences of Gaussian steps whose mean is +0.05 or -0.05 (section 3.2).

  Both means are equally likely. The standard deviation is drawn once for each sequence, uniformly
  from 0.05 to 0.25.

  Args:
    key: consumed.
    batch_size: B.

  Returns:
    Batch of inputs `[B, 40, 1]` float32 and labels `[B]` int32, 1 where the mean is +0.05. All
    lengths are 40.
  """
  label_key, sigma_key, noise_key = jax.random.split(key, 3)
  labels = jax.random.bernoulli(label_key, 0.5, (batch_size,)).astype(jnp.int32)
  low, high = SIGMA_RANGE
  sigma = jax.random.uniform(sigma_key, (batch_size, 1, 1), minval=low, maxval=high)
  noise = jax.random.normal(noise_key, (batch_size, NUM_STEPS, 1))
  mean = jnp.where(labels == 1, MEAN, -MEAN)[:, None, None]
  return Batch(mean + sigma * noise, labels, jnp.full(batch_size, NUM_STEPS, jnp.int32))

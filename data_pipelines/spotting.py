"""Continuous sequence spotting (section 3.1): is there a run of five equal steps?"""

import jax
import jax.numpy as jnp

from rc_jax.types import Array, Batch, Key

NUM_STEPS = 25
RUN = 5
CLASS_NAMES = ("negative", "positive")


def sample(key: Key, batch_size: int) -> Batch:
  """Draws spike trains of rate 0.5; about 55 % of them are positive.

  Args:
    key: consumed.
    batch_size: B.

  Returns:
    Batch of inputs `[B, 25, 1]` in {0, 1}, labels `[B]` (1: a run of five or more equal steps).
  """
  inputs = jax.random.bernoulli(key, 0.5, (batch_size, NUM_STEPS, 1)).astype(jnp.float32)
  labels = jnp.any(run_complete(inputs), axis=-1).astype(jnp.int32)
  return Batch(inputs, labels, jnp.full(batch_size, NUM_STEPS, jnp.int32))


def run_complete(inputs: Array) -> Array:
  """Where the last five steps are equal: `[..., T, 1]` -> `[..., T]` bool."""
  x = inputs[..., 0]
  same = jnp.concatenate([jnp.zeros_like(x[..., :1], bool), x[..., 1:] == x[..., :-1]], axis=-1)
  count = jnp.cumsum(same, axis=-1)
  before = jnp.concatenate(
    [jnp.zeros_like(count[..., : RUN - 1]), count[..., : -(RUN - 1)]], axis=-1
  )
  return count - before == RUN - 1


def earliest_step(inputs: Array) -> Array:
  """The first step at which the label "positive" is certain.

  Args:
    inputs: `[..., T, 1]`.

  Returns:
    `[...]` int32, zero-based step that completes the first run of five; `T - 1` without one.
  """
  complete = run_complete(inputs)
  first = jnp.argmax(complete, axis=-1).astype(jnp.int32)
  return jnp.where(jnp.any(complete, axis=-1), first, inputs.shape[-2] - 1)

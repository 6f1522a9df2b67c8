"""Continuous sequence spotting (section 3.1): is there a run of five equal steps?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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


class Earliest(NamedTuple):
  """When the label becomes certain, over all sequences; times are numbers of steps seen.

  Attributes:
    positive_fraction: share of positive sequences.
    positive_mean_spike_step: mean over positives: a run of five is complete.
    negative_mean_spike_step: mean over negatives: none can be completed any more.
    mean_spike_step: mean over all.
  """

  positive_fraction: float
  positive_mean_spike_step: float
  negative_mean_spike_step: float
  mean_spike_step: float


def positive_probability(num_steps: int = NUM_STEPS) -> np.ndarray:
  """What an ideal observer believes, by backward induction over the length of the last run.

  Args:
    num_steps: T.

  Returns:
    `[T + 1, 6]` float64, exact: entry `[t, r]` is the probability of "positive" after t steps, the
    last r of them equal (as yet, for r < 5, without a run of five; r = 5 is a complete one).
  """
  belief = np.zeros((num_steps + 1, RUN + 1))
  belief[:, RUN] = 1
  for t in reversed(range(num_steps)):
    belief[t, :RUN] = (belief[t + 1, 1:] + belief[t + 1, 1]) / 2  # the run goes on, or a new one
  return belief


def earliest(num_steps: int = NUM_STEPS) -> Earliest:
  """How soon the label can be certain: nobody who is always right is faster.

  At T = 25 no belief lies between 15/16 and 1, so to reach theta = .95 is to be certain.

  Args:
    num_steps: T >= 5.

  Returns:
    Earliest, exact.
  """
  belief = positive_probability(num_steps)
  undecided = np.eye(RUN + 1)[0]  # probability of each length of the last run, and of no certainty
  share, time = np.zeros(2), np.zeros(2)  # by label
  for t in range(1, num_steps + 1):
    reached = np.append(undecided.sum(), undecided[:-1]) / 2
    reached[:2] = 0, reached[:2].sum()  # a new run has length 1
    for label in (0, 1):
      certain = reached[belief[t] == label].sum()
      share[label] += certain
      time[label] += t * certain
    undecided = np.where((belief[t] > 0) & (belief[t] < 1), reached, 0)
  negative, positive = time / share
  return Earliest(float(share[1]), float(positive), float(negative), float(time.sum()))

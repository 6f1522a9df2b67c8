"""Continuous sequence spotting (section 3.1): does a sequence hold a run of five equal steps?

Beside the sequences, this module computes when their labels become certain, which bounds the spike
step of a classifier that is always right.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rc_jax.types import Array, Batch, Key

NUM_STEPS = 25
RUN = 5
CLASS_NAMES = ("negative", "positive")


def sample(key: Key, batch_size: int) -> Batch:
  """Draws spike trains whose steps are 0 or 1 with equal probability (section 3.1).

  About 55 % of them are positive.

  Args:
    key: consumed.
    batch_size: B.

  Returns:
    Batch of inputs `[B, 25, 1]` float32 in {0, 1} and labels `[B]` int32, 1 where five or more
    equal steps follow each other. All lengths are 25.
  """
  inputs = jax.random.bernoulli(key, 0.5, (batch_size, NUM_STEPS, 1)).astype(jnp.float32)
  labels = jnp.any(run_complete(inputs), axis=-1).astype(jnp.int32)
  return Batch(inputs, labels, jnp.full(batch_size, NUM_STEPS, jnp.int32))


def run_complete(inputs: Array) -> Array:
  """Marks the steps that complete a run of five: that step and the four before it are equal.

  Args:
    inputs: `[..., T, 1]`.

  Returns:
    `[..., T]` bool. A longer run is marked at its fifth and at each later step.
  """
  x = inputs[..., 0]
  # A run of five is four steps in succession that equal their predecessor; a difference of two
  # cumulative sums counts those among the last four.
  same = jnp.concatenate([jnp.zeros_like(x[..., :1], bool), x[..., 1:] == x[..., :-1]], axis=-1)
  count = jnp.cumsum(same, axis=-1)
  before = jnp.concatenate(
    [jnp.zeros_like(count[..., : RUN - 1]), count[..., : -(RUN - 1)]], axis=-1
  )
  return count - before == RUN - 1


def earliest_step(inputs: Array) -> Array:
  """Finds the first step at which the label "positive" is certain.

  Args:
    inputs: `[..., T, 1]`.

  Returns:
    `[...]` int32, the zero-based step that completes the first run of five, or `T - 1` in a
    sequence that has no such run.
  """
  complete = run_complete(inputs)
  first = jnp.argmax(complete, axis=-1).astype(jnp.int32)
  return jnp.where(jnp.any(complete, axis=-1), first, inputs.shape[-2] - 1)


class Earliest(NamedTuple):
  """When the label becomes certain, on average over all sequences, in numbers of steps seen.

  A positive label is certain once a run of five is complete. A negative label is certain once the
  remaining steps are too few to complete one.

  Attributes:
    positive_fraction: the fraction of positive sequences.
    positive_mean_spike_step: the mean over positive sequences.
    negative_mean_spike_step: the mean over negative sequences.
    mean_spike_step: the mean over all sequences.
  """

  positive_fraction: float
  positive_mean_spike_step: float
  negative_mean_spike_step: float
  mean_spike_step: float


def positive_probability(num_steps: int = NUM_STEPS) -> np.ndarray:
  """Computes the probability of "positive" in each state of the sequence, by backward induction.

  Only two numbers bear on the label: the steps seen, and the length of the run they end with.

  Args:
    num_steps: T.

  Returns:
    `[T + 1, 6]` float64, exact. Entry `[t, r]` with r < 5 is the probability after t steps that
    hold no run of five and whose last r are equal. Entry `[t, 5]` is 1: there has been a run.
  """
  belief = np.zeros((num_steps + 1, RUN + 1))
  belief[:, RUN] = 1
  for t in reversed(range(num_steps)):
    # The next step continues the run, or starts a new one, with equal probability.
    belief[t, :RUN] = (belief[t + 1, 1:] + belief[t + 1, 1]) / 2
  return belief


def earliest(num_steps: int = NUM_STEPS) -> Earliest:
  """Computes when the label becomes certain; no classifier that is always right is faster.

  At T = 25 no probability lies between 15/16 and 1, so that an ideal observer which reaches
  theta = .95 is certain.

  Args:
    num_steps: T >= 5.

  Returns:
    The fraction of positive sequences and the mean times, exact.
  """
  belief = positive_probability(num_steps)
  # `undecided[r]` is the probability that the label is still open and that the last run has length
  # r. Both arrays below are indexed by label.
  undecided = np.eye(RUN + 1)[0]
  share, time = np.zeros(2), np.zeros(2)
  for t in range(1, num_steps + 1):
    reached = np.append(undecided.sum(), undecided[:-1]) / 2
    reached[:2] = 0, reached[:2].sum()  # a new run has length 1; so has the first step
    for label in (0, 1):
      certain = reached[belief[t] == label].sum()
      share[label] += certain
      time[label] += t * certain
    undecided = np.where((belief[t] > 0) & (belief[t] < 1), reached, 0)
  negative, positive = time / share
  return Earliest(float(share[1]), float(positive), float(negative), float(time.sum()))

"""Losses at every step of a row: their mean, and means that weigh late or early steps more."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from rc_jax.objectives.objective import (
  Objective,
  count_steps,
  cross_entropies,
  mean_over_steps,
  sum_over_steps,
)
from rc_jax.types import Array, Key

Weighting = Literal["equal", "late", "early"]


def every_step(weighting: Weighting = "equal") -> Objective:
  """The mean of the cross-entropies of all steps of a row.

  For a row of n steps and z_t the outputs at step t = 1..n:

      loss = sum_t w_t CE(z_t, y) / sum_t w_t

  with w_t = 1 ("equal"), t ("late") or n + 1 - t ("early"). Weights that grow in time are common
  in the early recognition of actions, since the first steps cannot know the class; Ma et al. 2016
  compare training with and without what they call progression (`progression`).

  Args:
    weighting: "equal", "late" or "early".

  Raises:
    ValueError: another weighting.
  """
  if weighting not in get_args(Weighting):
    raise ValueError(f"weighting is {weighting!r}; choose one of {get_args(Weighting)}")

  def loss(key: Key | None, logits: Array, label: Array, length: Array) -> Array:
    del key
    time = count_steps(logits)
    left = length.astype(jnp.float32) + 1 - time
    weights = {"equal": jnp.ones_like(time), "late": time, "early": left}[weighting]
    weighted = sum_over_steps(weights * cross_entropies(logits, label), length)
    return weighted / sum_over_steps(weights, length)

  return Objective(loss)


def early_prediction() -> Objective:
  """The early prediction loss of EMI-RNN (Dennis et al. 2018, section 3.2).

      loss = sum_{t=1..n} CE(z_t, y)

  It differs from `every_step` by the row's length as a factor. The multi-instance part is left out:
  it cuts each row into overlapping windows, runs the network on each from its initial carry, and
  labels the windows anew between rounds of training, which is another data set, not another loss.
  """

  def loss(key: Key | None, logits: Array, label: Array, length: Array) -> Array:
    del key
    return sum_over_steps(cross_entropies(logits, label), length)

  return Objective(loss)


def progression(weight: float = 1.0) -> Objective:
  """Every step, and a penalty where the class loses probability (Ma et al. 2016, eq. 4 and 5).

      loss = (1/n) sum_t [ CE(z_t, y) + weight max(0, max_{s < t} p_s(y) - p_t(y)) ]

  with p = softmax(z). This is the paper's ranking loss on the detection score; its second one, on
  the margin to the other classes, is left out. The larger earlier probability is held fixed, so
  that the penalty raises p_t and does not lower p_s.

  Args:
    weight: of the penalty, >= 0.

  Raises:
    ValueError: the weight is negative.
  """
  if not weight >= 0:
    raise ValueError(f"weight is {weight}; the weight of the ranking loss must be 0 or more")

  def loss(key: Key | None, logits: Array, label: Array, length: Array) -> Array:
    del key
    cross_entropy = cross_entropies(logits, label)
    probability = jnp.exp(-cross_entropy)
    best = jax.lax.cummax(jax.lax.stop_gradient(probability))
    lost = jnp.maximum(0, jnp.concatenate([probability[:1], best[:-1]]) - probability)
    # At the first step the two are the same value: nothing is lost, and no gradient flows.
    lost = lost.at[0].set(0)
    return mean_over_steps(cross_entropy + weight * lost, length)

  return Objective(loss)

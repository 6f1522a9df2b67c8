"""The best that any rule of stopping reaches in the 2-sequence problem."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.two_sequence.ideal import MEANS, SIGMA, log_joint
from data_pipelines.two_sequence.sequences import MEAN, NUM_STEPS
from rc_jax.types import Array

# A state lies on a grid of the log odds, to first order in the sum of the steps, and of their
# log rms. Twice as fine a grid lowers accuracy by less than 3e-4, and moves the step by .03.
LOG_ODDS = np.linspace(0, 8, 81, dtype=np.float32)
LOG_RMS = np.linspace(np.log(0.03), np.log(0.6), 49, dtype=np.float32)
NEXT = np.linspace(-1.2, 1.2, 100, dtype=np.float32)  # [X], what the next step may be
_density = np.exp(-0.5 * ((NEXT - MEANS[..., None]) / SIGMA[..., None]) ** 2)  # [2, K, X]
NEXT_GIVEN = (_density / _density.sum(-1, keepdims=True)).reshape(-1, NEXT.size)  # [2 * K, X]


class Optimum(NamedTuple):
  """What the best rule of stopping reaches, for each cost of a step.

  Attributes:
    accuracy: `[...]` float32.
    mean_spike_step: `[...]` float32, mean number of steps seen.
  """

  accuracy: Array
  mean_spike_step: Array


@functools.partial(jax.jit, static_argnames="num_steps")
def optimum(cost: Array, *, num_steps: int = NUM_STEPS) -> Optimum:
  """The rule of stopping with the largest accuracy - cost * mean number of steps.

  Backward induction over all that bears on the label (number, sum and sum of squares of the steps):
  stop where the posterior is worth no less than what waiting brings on average. So no network can
  do better, nor any theta, constant or not. Nothing is sampled; the grid's error is upward.

  Args:
    cost: `[...]` > 0, of one step, in units of accuracy; the first step is always taken.
    num_steps: T.

  Returns:
    Optimum for each cost: points of the best frontier.
  """

  def best(cost: Array) -> Optimum:
    def earlier(later: Optimum, steps: Array) -> tuple[Optimum, None]:
      confidence, waiting = _over_grid(later, steps)
      stop = confidence >= waiting.accuracy - cost * (waiting.mean_spike_step - steps)
      stop |= steps == num_steps
      here = Optimum(confidence, jnp.full_like(confidence, steps))
      return jax.tree.map(functools.partial(jnp.where, stop), here, waiting), None

    unused = jnp.zeros((LOG_ODDS.size, LOG_RMS.size))
    steps = jnp.arange(num_steps, 0, -1, dtype=jnp.float32)
    after_first, _ = jax.lax.scan(earlier, Optimum(unused, unused), steps)
    return _look_ahead(after_first, *[jnp.zeros(())] * 3)[1]

  cost = jnp.asarray(cost, jnp.float32)
  points = jax.lax.map(best, cost.reshape(-1))
  return jax.tree.map(lambda a: a.reshape(cost.shape), points)


def _over_grid(later: Optimum, steps: Array) -> tuple[Array, Optimum]:
  """`_look_ahead` of every state of the grid, after `steps` > 0 steps."""
  squares = steps * jnp.exp(2 * LOG_RMS)
  slopes = jax.vmap(_slope, (None, 0))(steps, squares)
  total = jnp.divide(LOG_ODDS[:, None], slopes[None])
  rows = jax.vmap(_look_ahead, (None, None, 0, 0))
  return jax.vmap(rows, (None, None, 0, None))(later, steps, total, squares)


def _look_ahead(
  later: Optimum, steps: Array, total: Array, squares: Array
) -> tuple[Array, Optimum]:
  """The confidence in one state, and the mean of `later`, on the grid, after one more step."""
  joint = jax.nn.softmax(log_joint(steps, total, squares), axis=(0, 1))
  predictive = jnp.dot(joint.reshape(-1), NEXT_GIVEN, precision="highest")
  squares = squares + NEXT**2
  log_odds = jnp.abs(total + NEXT) * jax.vmap(_slope, (None, 0))(steps + 1, squares)
  log_rms = jnp.log(jnp.maximum(squares / (steps + 1), 1e-6)) / 2
  coordinates = [
    (value - grid[0]) / (grid[1] - grid[0])
    for value, grid in ((log_odds, LOG_ODDS), (log_rms, LOG_RMS))
  ]

  def mean(after: Array) -> Array:
    after = jax.scipy.ndimage.map_coordinates(after, coordinates, order=1, mode="nearest")
    return jnp.dot(predictive, after, precision="highest")

  return joint.sum(axis=1).max(), jax.tree.map(mean, later)


def _slope(steps: Array, squares: Array) -> Array:
  """How fast the log odds grow with the sum of the steps, where it is 0."""
  given = jax.nn.softmax(log_joint(steps, jnp.zeros(()), squares)[1])
  return jnp.sum(given * 2 * MEAN / SIGMA[0] ** 2)

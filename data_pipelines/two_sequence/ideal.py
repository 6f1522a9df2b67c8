"""The ideal observer of the 2-sequence problem: Bayes' posterior of the label.

Of the steps seen, only their number, sum and sum of squares bear on the label. The unknown sigma is
integrated out by Gauss-Legendre quadrature over its uniform prior.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from data_pipelines.two_sequence.sequences import MEAN, SIGMA_RANGE
from rc_jax.types import Array, Carry, Classifier, Key, Params

_nodes, _weights = np.polynomial.legendre.leggauss(48)
_sigma = np.mean(SIGMA_RANGE) + np.ptp(SIGMA_RANGE) / 2 * _nodes
SIGMA = np.asarray([_sigma], np.float32)  # [1, K]
LOG_PRIOR = np.asarray([np.log(_weights / 2)], np.float32)  # [1, K]
MEANS = np.asarray([[-MEAN], [MEAN]], np.float32)  # [2, 1], by label


def log_joint(steps: Array, total: Array, squares: Array) -> Array:
  """`[2, K]` log probability of label, sigma and the steps seen, but for a common constant.

  Args:
    steps: scalar float, how many steps were seen.
    total: scalar, their sum.
    squares: scalar, the sum of their squares.
  """
  distance = squares - 2 * MEANS * total + steps * MEANS**2  # sum of (x - mean) ** 2
  return -steps * jnp.log(SIGMA) - 0.5 * distance / SIGMA**2 + LOG_PRIOR


def posterior(inputs: Array) -> Array:
  """The probability of each label given every prefix.

  Args:
    inputs: `[..., T, 1]`.

  Returns:
    `[..., T, 2]` float32; entry t is given the first t + 1 steps.
  """
  x = inputs[..., 0].astype(jnp.float32)
  steps = jnp.broadcast_to(jnp.cumsum(jnp.ones(x.shape[-1:])), x.shape)
  logits = jnp.vectorize(_logits, signature="(),(),()->(c)")
  return jax.nn.softmax(logits(steps, jnp.cumsum(x, -1), jnp.cumsum(x**2, -1)))


def accuracy_after(steps: int) -> float:
  """How often the ideal observer is right once so many steps are seen; exact but for quadrature.

  Its answer is the sign of their sum, whatever sigma is: right with probability
  `Phi(MEAN sqrt(steps) / sigma)`.
  """
  right = scipy.stats.norm.cdf(MEAN * np.sqrt(steps) / _sigma)
  return float(right @ _weights / 2)


def ideal_observer() -> Classifier:
  """The posterior as a `Classifier` without parameters, read like any network.

  Returns:
    Classifier of inputs `[1]`; its logits are `[0, log odds]`, its params are empty.
  """
  return Classifier(_init, _initial_carry, _step)


def _logits(steps: Array, total: Array, squares: Array) -> Array:
  below, above = jax.nn.logsumexp(log_joint(steps, total, squares), axis=-1)
  return jnp.stack([jnp.zeros_like(above), above - below])


def _init(key: Key, x: Array) -> Params:
  del key, x
  return ()


def _initial_carry(params: Params) -> Carry:
  del params
  return (jnp.zeros(()),) * 3


def _step(params: Params, carry: Carry, x: Array) -> tuple[Carry, Array]:
  del params
  steps, total, squares = carry
  carry = steps + 1, total + x[0], squares + x[0] ** 2
  return carry, _logits(*carry)

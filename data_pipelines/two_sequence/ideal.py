"""The ideal observer of the 2-sequence problem: the posterior of the label by Bayes' rule.

The number, the sum and the sum of squares of the steps seen are a sufficient statistic for the
label. The unknown sigma has a uniform prior and is integrated out by Gauss-Legendre quadrature with
K = 48 nodes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from data_pipelines.two_sequence.sequences import MEAN, SIGMA_RANGE
from rc_jax.types import Array, Carry, Classifier, Key, Params

_nodes, _weights = np.polynomial.legendre.leggauss(48)
_sigma = np.mean(SIGMA_RANGE) + np.ptp(SIGMA_RANGE) / 2 * _nodes
SIGMA = np.asarray([_sigma], np.float32)  # [1, K], the nodes
LOG_PRIOR = np.asarray([np.log(_weights / 2)], np.float32)  # [1, K], of the nodes
MEANS = np.asarray([[-MEAN], [MEAN]], np.float32)  # [2, 1], by label


def log_joint(steps: Array, total: Array, squares: Array) -> Array:
  """Computes the log joint density of label, sigma and the steps seen, up to a constant.

  Args:
    steps: scalar float, the number of steps seen.
    total: scalar float, their sum.
    squares: scalar float, the sum of their squares.

  Returns:
    `[2, K]` float32 in nats, by label and by node of sigma. The constant is common to all entries.
  """
  distance = squares - 2 * MEANS * total + steps * MEANS**2  # sum of (x - mean) ** 2
  return -steps * jnp.log(SIGMA) - 0.5 * distance / SIGMA**2 + LOG_PRIOR


def posterior(inputs: Array) -> Array:
  """Computes the probability of each label, given each prefix of a sequence.

  Args:
    inputs: `[..., T, 1]`.

  Returns:
    `[..., T, 2]` float32. Entry t is the posterior given the first t + 1 steps.
  """
  x = inputs[..., 0].astype(jnp.float32)
  steps = jnp.broadcast_to(jnp.cumsum(jnp.ones(x.shape[-1:])), x.shape)
  logits = jnp.vectorize(_compute_logits, signature="(),(),()->(c)")
  return jax.nn.softmax(logits(steps, jnp.cumsum(x, -1), jnp.cumsum(x**2, -1)))


def accuracy_after(steps: int) -> float:
  """Computes the accuracy of the ideal observer after a fixed number of steps.

  Its answer is the sign of the steps' sum, whatever sigma is, and is right with probability
  `Phi(MEAN * sqrt(steps) / sigma)`.

  Args:
    steps: the number of steps seen, > 0.

  Returns:
    The fraction of right answers, exact except for the quadrature over sigma.
  """
  right = scipy.special.ndtr(MEAN * np.sqrt(steps) / _sigma)
  return float(right @ _weights / 2)


def ideal_observer() -> Classifier:
  """Makes a `Classifier` whose softmax is the posterior, so that it is evaluated as a network is.

  Returns:
    A classifier of inputs `[1]` that has no parameters. Its logits are `[0, log odds of label 1]`.
  """
  return Classifier(_init, _initial_carry, _step)


def _compute_logits(steps: Array, total: Array, squares: Array) -> Array:
  """Computes the logits `[2]`, `[0, log odds of label 1]`, from the sufficient statistic."""
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
  return carry, _compute_logits(*carry)

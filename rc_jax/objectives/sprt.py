"""Log-likelihood ratios and the sequential probability ratio test (SPRT-TANDEM)."""

import jax
import jax.numpy as jnp

from rc_jax.objectives.objective import (
  Act,
  Objective,
  cross_entropies,
  logits_of,
  mean_over_steps,
)
from rc_jax.types import Array, Key


def sprt() -> Objective:
  """The LSEL loss of log-likelihood ratios (Miyagawa and Ebihara 2021, for SPRT-TANDEM 2021).

  The outputs z_t are what step t adds to the log-likelihood of each class, given the steps before:

      S_t = sum_{s <= t} z_s,   l_t(k, j) = S_t(k) - S_t(j)
      loss = (1/n) sum_t log(1 + sum_{j != y} exp(-l_t(y, j)))

  The test stops where the class ahead leads every other one by a threshold: a decision reads the
  sigmoid of its smallest ratio, min_j l_t(k, j), as its probability. That is never below 1/2: with
  a theta of 1/2 or less the test stops at the first step.

  Ebihara et al. 2021 get the ratios from a network that is run anew on every window of a few steps
  (the TANDEM formula, with the Markov order as its length), and add a cross-entropy of the windows;
  a recurrent network that has seen all steps gives the increments by the chain rule alone, without
  windows. Classes count as equally likely; the weights of unequal ones are left out.
  """

  def loss(key: Key | None, logits: Array, label: Array, length: Array) -> Array:
    del key
    # log(1 + sum_j exp(S(j) - S(y))) is the cross-entropy of the softmax of S.
    return mean_over_steps(cross_entropies(jnp.cumsum(logits, axis=0), label), length)

  return Objective(loss, Act(lambda num_outputs: jnp.zeros(num_outputs, jnp.float32), _step))


def _step(total: Array, logits: Array) -> tuple[Array, Array]:
  total = total + logits
  best, second = jax.lax.top_k(total, 2)[0]
  return total, logits_of(jnp.argmax(total), jax.nn.sigmoid(best - second), len(logits))

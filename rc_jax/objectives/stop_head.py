"""A learned probability to stop (ELECTS)."""

import jax
import jax.numpy as jnp

from rc_jax.objectives.objective import (
  Act,
  Objective,
  count_steps,
  cross_entropies,
  logits_of,
  sum_over_steps,
)
from rc_jax.types import Array, Key


def stop_head(alpha: float = 0.5, epsilon: float = 10.0) -> Objective:
  """The early reward loss of ELECTS (Russwurm et al. 2023): one more output says when to stop.

  With d_t = sigmoid(last output at step t), d_n = 1, and p = softmax of the C others:

      P_t  = d_t prod_{s < t} (1 - d_s)                        stop at t            (eq. 3)
      P'_t = P_t + epsilon / n                                 additive smoothing   (eq. 7)
      loss = sum_t P'_t [ alpha CE(z_t, y) - (1 - alpha) p_t(y) (1 - (t - 1)/n) ]   (eq. 6)

  t counts from 1 here and the reward is full at the first step, as in the authors' code. The paper
  draws whether to stop; here a decision is one threshold: it reads `1/C + (1 - 1/C) d_t` as the
  probability of the most probable class, since a confidence lies above 1/C.

  Args:
    alpha: weight of the classification, in [0, 1]; the rest is that of earliness.
    epsilon: smoothing, >= 0; the paper's 10 gives each step ten times the mean weight of P.

  Raises:
    ValueError: alpha or epsilon out of range.
  """
  if not 0 <= alpha <= 1:
    raise ValueError(f"alpha is {alpha}; the weight of the classification lies in 0..1")
  if not epsilon >= 0:
    raise ValueError(f"epsilon is {epsilon}; the smoothing must be 0 or more")

  def loss(key: Key | None, outputs: Array, label: Array, length: Array) -> Array:
    del key
    steps = length.astype(jnp.float32)
    before = count_steps(outputs) - 1
    stop, stay = outputs[:, -1], -jax.nn.softplus(outputs[:, -1])  # stay: log(1 - d)
    alive = jnp.exp(jnp.concatenate([jnp.zeros(1), jnp.cumsum(stay)[:-1]]))
    probability = alive * jnp.where(before < steps - 1, jax.nn.sigmoid(stop), 1)
    cross_entropy = cross_entropies(outputs[:, :-1], label)
    reward = jnp.exp(-cross_entropy) * (1 - before / steps)
    terms = (probability + epsilon / steps) * (alpha * cross_entropy - (1 - alpha) * reward)
    return sum_over_steps(terms, length)

  return Objective(loss, Act(lambda num_outputs: (), _step), extra_outputs=1)


def _step(state: tuple[()], outputs: Array) -> tuple[tuple[()], Array]:
  classes = len(outputs) - 1
  share = jax.nn.sigmoid(outputs[-1])
  label = jnp.argmax(outputs[:-1])
  return state, logits_of(label, 1 / classes + (1 - 1 / classes) * share, classes)

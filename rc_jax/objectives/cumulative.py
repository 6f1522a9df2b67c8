"""The cumulative loss: each step answers with the mean of the outputs so far."""

import jax
import jax.numpy as jnp

from rc_jax.objectives.objective import Act, Objective, count_steps, mean_over_steps
from rc_jax.types import Array, Key

_TINY = 1e-30  # below float32's smallest probability that matters; log(0) has no gradient


def cumulative() -> Objective:
  """The cumulative temporal loss of ED-sKWS (Song et al. 2024, arXiv 2406.12726).

      O_t = (1/t) sum_{s <= t} softmax(z_s),   loss = -(1/n) sum_t log O_t(y)

  A decision reads O_t. The paper sums where this takes the mean, so that O_t is a probability and
  one threshold has one meaning at all steps; its network spikes, ours need not.
  """

  def loss(key: Key | None, logits: Array, label: Array, length: Array) -> Array:
    del key
    means = jnp.cumsum(jax.nn.softmax(logits)[:, label]) / count_steps(logits)
    return -mean_over_steps(jnp.log(means + _TINY), length)

  return Objective(loss, Act(_initial, _step))


def _initial(num_outputs: int) -> tuple[Array, Array]:
  return jnp.zeros((), jnp.float32), jnp.zeros(num_outputs, jnp.float32)


def _step(state: tuple[Array, Array], logits: Array) -> tuple[tuple[Array, Array], Array]:
  count, total = state[0] + 1, state[1] + jax.nn.softmax(logits)
  return (count, total), jnp.log(total / count + _TINY)

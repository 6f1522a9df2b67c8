"""The loss at the spike (section 2, eq. 7)."""

import jax
import jax.numpy as jnp
import optax

from rc_jax.checks import check_beta
from rc_jax.types import Array


def entropy(logits: Array) -> Array:
  """Entropy of the softmax in nats: `[..., C]` logits -> `[...]` float32."""
  log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
  return -jnp.sum(jnp.exp(log_p) * log_p, axis=-1)


def rc_loss(logits: Array, labels: Array, beta: Array | float = 0.0) -> Array:
  """Cross-entropy minus beta times the output entropy, at the spike (eq. 7).

  Args:
    logits: `[..., C]` output at `t_sp`, before the softmax.
    labels: `[...]` int, in `0..C-1`; not checked here (see `check_batch`).
    beta: weight of the entropy reward, >= 0. Larger is slower and more accurate. The loss of a row
      is least where its class has probability theta if beta is
      `1 / (theta * (log(theta / (1 - theta)) + log(C - 1)))`, 0.205 for ten classes and theta .95;
      beyond, rows do best to stay below theta, that is silent to their end.

  Returns:
    `[...]` float32 loss in nats.

  Raises:
    ValueError: a negative beta, where it is a Python number.
  """
  check_beta(beta)
  logits = logits.astype(jnp.float32)
  cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
  return cross_entropy - beta * entropy(logits)

"""Training at the last step, read with patience."""

import jax
import jax.numpy as jnp

from rc_jax.checks import check_whole
from rc_jax.objectives.objective import Act, Objective, cross_entropies, logits_of
from rc_jax.types import Array, Key


def patience(steps: int) -> Objective:
  """The loss at the last step; a decision waits until the same class was sure several times.

      loss = CE(z_n, y)

  A class is answered at the first step at which it is the most probable one, with a probability of
  theta or more, for the `steps`-th time in a row: `consecutive_predictions` of aeon's probability
  threshold classifier. What a decision reads is thus the smallest probability of the class over
  the last `steps` steps; 1/C where another one was ahead, or where fewer steps have been seen.

  Args:
    steps: number of steps in a row, 1 or more; 1 is `objective="eos"`.

  Raises:
    ValueError: no whole number of 1 or more.
  """
  check_whole("steps of patience", steps, 1)

  def loss(key: Key | None, logits: Array, label: Array, length: Array) -> Array:
    del key
    return cross_entropies(logits, label)[length - 1]

  def initial(num_outputs: int) -> Array:
    return jnp.zeros((steps - 1, num_outputs), jnp.float32)

  def step(sure: Array, logits: Array) -> tuple[Array, Array]:
    # A row of `sure` is one step: the probability of its most probable class, zero elsewhere.
    probabilities = jax.nn.softmax(logits)
    label = jnp.argmax(probabilities)
    now = jnp.where(jnp.arange(len(logits)) == label, probabilities, 0)
    window = jnp.concatenate([sure, now[None]])
    return window[1:], logits_of(label, jnp.min(window, axis=0)[label], len(logits))

  return Objective(loss, Act(initial, step))

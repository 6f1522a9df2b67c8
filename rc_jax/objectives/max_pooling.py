"""The loss at one step of each row: the keyword's most confident one."""

import jax
import jax.numpy as jnp

from rc_jax.checks import check_whole
from rc_jax.objectives.objective import Objective, cross_entropies
from rc_jax.types import Array, Key


def max_pooling(background: int | None = None) -> Objective:
  """The loss at the step at which the keyword is most probable (Sun et al. 2016, eq. 3).

      loss = CE(z_s, y),  s = argmax_t p_t(y)      a keyword
      loss = CE(z_r, y),  r uniform in 1..n        the background

  with p = softmax(z) and the first of equal steps. The paper takes the cross-entropy of all frames
  outside of keywords; here a background row gives one step, drawn anew in each update, so that each
  row weighs the same.

  Args:
    background: the class that is no keyword, in 0..C-1; None where all are keywords.

  Returns:
    Objective with the network's own logits to decide by.

  Raises:
    ValueError: background is no whole number, or negative; in training, no class of the network, or
      no key.
  """
  if background is not None:
    check_whole("background, the class that is no keyword,", background, 0)

  def loss(key: Key | None, logits: Array, label: Array, length: Array) -> Array:
    cross_entropy = cross_entropies(logits, label)
    heard = jnp.arange(len(logits)) < length
    step = jnp.argmin(jnp.where(heard, cross_entropy, jnp.inf))
    if background is not None:
      if background >= logits.shape[-1]:
        raise ValueError(
          f"background is {background}, but the classes are 0..{logits.shape[-1] - 1}; give one"
        )
      if key is None:
        raise ValueError("max_pooling draws a step of background rows; give Train.loss a key")
      drawn = jax.random.randint(key, (), 0, length)
      step = jnp.where(label == background, drawn, step)
    return cross_entropy[step]

  return Objective(loss)

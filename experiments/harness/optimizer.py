"""The optimizer that the flags ask for: Adam as in the paper, and what may be added to it."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from rc_jax.types import Array, Params


def make_optimizer(
  learning_rate: float,
  *,
  updates: int,
  clip: float = 0.0,
  schedule: str = "constant",
  weight_decay: float = 0.0,
  average: float = 0.0,
) -> optax.GradientTransformation:
  """Makes Adam, with clipping before it and the average behind it, each where it is on.

  Args:
    learning_rate: of Adam, at its highest.
    updates: of the whole training, over which a schedule falls.
    clip: largest L2 norm of the gradient, 0 for none.
    schedule: "constant", or "cosine": falling to zero over the training.
    weight_decay: of AdamW, 0 for Adam.
    average: decay of a moving average of the parameters, 0 for none; `read_average` reads it.
  """
  rate: Any = learning_rate
  if schedule == "cosine":
    rate = optax.cosine_decay_schedule(learning_rate, updates)
  parts = [optax.clip_by_global_norm(clip)] if clip else []
  parts += [optax.adamw(rate, weight_decay=weight_decay) if weight_decay else optax.adam(rate)]
  parts += [average_params(average)] if average else []
  return optax.chain(*parts) if len(parts) > 1 else parts[0]


class ParamsAverage(NamedTuple):
  """A moving average of parameters.

  Attributes:
    step: int32, updates so far.
    total: the average times `1 - decay**step`.
    decay: float32 scalar.
  """

  step: Array
  total: Params
  decay: Array


def average_params(decay: float) -> optax.GradientTransformation:
  """Keeps an exponential moving average of the parameters after each update; changes no update."""

  def init(params: Params) -> ParamsAverage:
    return ParamsAverage(jnp.int32(0), optax.tree.zeros_like(params), jnp.float32(decay))

  def update(updates: Params, state: ParamsAverage, params: Params = None):
    after = optax.apply_updates(params, updates)
    total = optax.tree.update_moment(after, state.total, state.decay, 1)
    return updates, ParamsAverage(state.step + 1, total, state.decay)

  return optax.GradientTransformation(init, update)


def read_average(opt_state: optax.OptState, params: Params) -> Params:
  """Returns the average in an optimizer's state, or `params` where it keeps none yet.

  Args:
    opt_state: of `make_optimizer`.
    params: as they are after the last update.
  """
  states = [s for s in opt_state if isinstance(s, ParamsAverage)]
  if not states or not int(states[0].step):
    return params
  return optax.tree.bias_correction(states[0].total, states[0].decay, states[0].step)

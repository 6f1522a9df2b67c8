"""Dense layers from a recurrent network's output to logits."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers

from rc_jax.checks import check_sizes
from rc_jax.types import Array, Key, Params

_kernel_init = initializers.lecun_normal()


def make_head(
  num_classes: int, hidden: Sequence[int], single_output: bool
) -> tuple[Callable[[Key, int], Params], Callable[[Params, Array], Array]]:
  """Makes dense relu layers and a last dense layer.

  Args:
    num_classes: C.
    hidden: widths of the relu layers.
    single_output: whether the last layer has one output z, for two classes of logits `[0, z]`.

  Returns:
    init: `(key, features) -> params`, a list of `{"kernel", "bias"}`. Consumes the key.
    apply: `(params, x [features]) -> logits [C]`.

  Raises:
    ValueError: sizes below 1, less than two classes, or a single output for other than two.
  """
  if np.ndim(hidden) == 0:
    raise ValueError(f"hidden is {hidden}; give the widths of all layers, as (32,), or () for none")
  check_sizes(num_classes=num_classes, **{f"hidden[{i}]": n for i, n in enumerate(hidden)})
  if num_classes < 2 or (single_output and num_classes != 2):
    raise ValueError(
      f"num_classes is {num_classes}; a head has 2 or more, one sigmoid output has 2"
    )
  widths = (*hidden, 1 if single_output else num_classes)

  def init(key: Key, features: int) -> Params:
    keys = jax.random.split(key, len(widths))
    rows = (features, *widths[:-1])
    return [
      {"kernel": _kernel_init(keys[i], (rows[i], width)), "bias": jnp.zeros(width)}
      for i, width in enumerate(widths)
    ]

  def apply(params: Params, x: Array) -> Array:
    for layer in params[:-1]:
      x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
    logits = x @ params[-1]["kernel"] + params[-1]["bias"]
    return jnp.concatenate([jnp.zeros_like(logits), logits]) if single_output else logits

  return init, apply

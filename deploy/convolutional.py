"""Convolutional networks of one step's input: alone as a ceiling, or before a recurrent network."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from rc_jax import Classifier, convolve
from rc_jax.types import Array


class Network(nn.Module):
  """For each width a 3 x 3 convolution, relu and 2 x 2 maxima; then a dense relu layer and a last.

  Attributes:
    widths: feature maps of the convolutions.
    hidden: units of the dense layer.
    num_classes: C.
  """

  widths: Sequence[int]
  hidden: int
  num_classes: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """`[Y, X, F]` -> logits `[C]`."""
    x = nn.relu(nn.Dense(self.hidden)(_apply_layers(x, self.widths).reshape(-1)))
    return nn.Dense(self.num_classes)(x)


class Front(nn.Module):
  """For each width a 3 x 3 convolution, relu and 2 x 2 maxima, for `rc_jax.with_encoder`.

  Attributes:
    widths: feature maps of the convolutions.
  """

  widths: Sequence[int]

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """`[Y, X, F]` -> features, flat."""
    return _apply_layers(x, self.widths, _convolve_in_a_loop).reshape(-1)


def memoryless(network: nn.Module) -> Classifier:
  """Makes a classifier whose logits are `network(x)`: it sees one step and remembers none.

  Args:
    network: a linen module from one step's input to logits `[C]`, without state or randomness.

  Returns:
    Classifier with an empty carry. All of it is `encode`, which runs over all steps at once:
    XLA's CPU backend compiles a convolution inside a loop naively.
  """
  return Classifier(
    init=network.init,
    initial_carry=lambda params: (),
    step=lambda params, carry, logits: (carry, logits),
    encode=network.apply,
  )


def _apply_layers(x: Array, widths: Sequence[int], convolution: Callable | None = None) -> Array:
  """Runs the convolutions; to be called inside a module, whose parameters they get.

  Raises:
    ValueError: the image is too small to be halved so often.
  """
  if min(x.shape[:2]) < 2 ** len(widths):
    size = " x ".join(map(str, x.shape[:2]))
    raise ValueError(f"images of {size} cannot be halved {len(widths)} times; give fewer widths")
  for width in widths:
    x = halve(nn.relu(nn.Conv(width, (3, 3), conv_general_dilated=convolution)(x)))
  return x


def _convolve_in_a_loop(images: Array, kernel: Array, *settings: Any, **more: Any) -> Array:
  """Does what `nn.Conv` asks of XLA in the form that is fast within the engine's loops."""
  del settings, more  # strides of 1, the image's size kept
  return jax.vmap(lambda image: convolve(image, kernel))(images)


def halve(x: Array) -> Array:
  """Takes maxima of 2 x 2 pixels: `[Y, X, F]` -> `[Y // 2, X // 2, F]`, without an odd last row.

  `flax.linen.max_pool` has a slow gradient on a CPU: 123 against 44 ms an update of 128 images,
  widths 32 and 64, one core.
  """
  height, width = (size // 2 * 2 for size in x.shape[:2])
  x = jnp.maximum(x[0:height:2], x[1:height:2])
  return jnp.maximum(x[:, 0:width:2], x[:, 1:width:2])

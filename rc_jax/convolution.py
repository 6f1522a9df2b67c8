"""A convolution that is fast inside a loop on every backend."""

import jax
import jax.numpy as jnp

from rc_jax.types import Array


def convolve(image: Array, kernel: Array) -> Array:
  """Convolves an image with a kernel of odd width; the image keeps its size.

  XLA's CPU backend compiles a convolution inside a loop naively: 10 units, T = 10, B = 128 took
  8.6 s a gradient step, with shifted slices and one product 0.8 s. On other backends XLA's own
  convolution runs.

  Args:
    image: `[Y, X, F]` float.
    kernel: `[K, K, F, G]`, K odd, of the image's dtype.

  Returns:
    `[Y, X, G]`, of the kernel's middle over each pixel of the image with zeros around it.

  Raises:
    ValueError: the kernel is not square, its width is even, or it takes other features.
  """
  shape = jnp.shape(kernel)
  if len(shape) != 4 or shape[0] != shape[1] or shape[0] % 2 == 0 or shape[2] != image.shape[-1]:
    raise ValueError(
      f"kernel has shape {list(shape)}; give [K, K, F, G], K odd, F = {image.shape[-1]}, the "
      "features of the image"
    )
  return jax.lax.platform_dependent(
    image, kernel, cpu=_convolve_by_slices, default=_convolve_by_library
  )


def _convolve_by_library(image: Array, kernel: Array) -> Array:
  layout = ("NHWC", "HWIO", "NHWC")
  return jax.lax.conv_general_dilated(
    image[None], kernel, (1, 1), "SAME", dimension_numbers=layout
  )[0]


def _convolve_by_slices(image: Array, kernel: Array) -> Array:
  """The image's K * K shifted copies side by side, times the kernel as one matrix."""
  width, _, features, out = kernel.shape
  height, length, _ = image.shape
  margin = width // 2
  padded = jnp.pad(image, ((margin, margin), (margin, margin), (0, 0)))
  shifted = [
    jax.lax.dynamic_slice(padded, (y, x, 0), image.shape)
    for y in range(width)
    for x in range(width)
  ]
  patches = jnp.concatenate(shifted, axis=-1).reshape(height * length, width * width * features)
  return (patches @ kernel.reshape(-1, out)).reshape(height, length, out)

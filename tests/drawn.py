"""Parameters and arrays of networks whose values do not matter, by NumPy.

JAX compiles a program or more for every shape that it draws.
"""

import jax
import numpy as np


def draw(shapes, seed=0, scale=0.5):
  """Normal numbers for a tree of arrays, or of their shapes and types."""
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda a: (scale * rng.normal(size=a.shape)).astype(a.dtype), shapes)


def draw_params(classifier, x, seed=0, scale=0.5):
  """A classifier's parameters for a step like `x`, every leaf random, biases too."""
  return draw(jax.eval_shape(classifier.init, jax.random.key(0), x), seed, scale)

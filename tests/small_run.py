"""A small network that hears, whose parameters are drawn, and something for it to hear."""

import functools

import jax
import numpy as np

from deploy.models import Model, build

MEAN, STD = np.linspace(-9, -4, 20, dtype=np.float32), np.full(20, 2.5, np.float32)
NAMES = ("yes", "no", "unknown")
MODEL = Model("lstm", {"units": 8, "num_classes": 3, "hidden": [4]})


def sound(seconds, seed=0):
  """Tones that come and go, in noise."""
  random = np.random.default_rng(seed)
  t = np.arange(int(seconds * 16_000)) / 16_000
  tones = np.sin(2 * np.pi * (200 + 300 * np.floor(3 * t) % 1700) * t) * (np.sin(9 * t) > 0)
  return (0.2 * tones + 0.02 * random.normal(size=len(t))).astype(np.float32)


def init_params(model, seed):
  """Draws the parameters of a model, as NumPy arrays, by one program."""
  step = np.zeros(420, np.float32)
  return jax.tree.map(np.asarray, jax.jit(build(model).init)(jax.random.key(seed), step))


@functools.cache
def drawn_params():
  """Parameters whose head is enlarged, so that the network is sure now and then."""
  params = init_params(MODEL, 1)
  return params | {"head": jax.tree.map(lambda a: np.float32(2.5) * a, params["head"])}

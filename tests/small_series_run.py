"""A run of time series whose parameters are drawn, and series for it to decide about."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.series import join_samples
from data_pipelines.series.missing import hold
from deploy.models import Model, build
from deploy.run_files import save_model
from rc_jax import Batch

NAMES = ["open", 'a "1 door"', "grün"]
CHANNELS = ["level", "pressure, Pa"]
# A float holds 1e8 to within 4, which would be four standard deviations of the second channel.
MEAN, STD = np.array([-0.5, 1e8 + 1 / 3]), np.array([2.1, 1.0])
UNITS, LONGEST = 9, 31
THETA = 0.9


@functools.cache
def model(samples, constructor, layers):
  """A network of steps of so many samples, and parameters with a head that is large enough."""
  said = Model(constructor, {"units": UNITS, "num_classes": len(NAMES), "layers": layers})
  classifier, rng = build(said), np.random.default_rng(3)
  step = jax.ShapeDtypeStruct((samples * len(CHANNELS),), jnp.float32)
  shapes = jax.eval_shape(classifier.init, jax.random.key(0), step)

  def draw(path, leaf):
    scale = 0.1 if len(leaf.shape) == 1 else 2.0 if "head" in jax.tree_util.keystr(path) else 0.7
    return (scale * rng.standard_normal(leaf.shape)).astype(np.float32)

  return said, classifier, jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def some_series():
  """Series of each length up to LONGEST, a fifth of whose values are missing."""
  rng = np.random.default_rng(4)
  found = []
  for length in range(1, LONGEST + 1):
    rows = MEAN + STD * rng.standard_normal((length, len(CHANNELS)))
    rows[rng.random(rows.shape) < 0.2] = np.nan
    found.append(rows)
  return found


def read_batch(samples) -> Batch:
  """The series as `data_pipelines.series` and `experiments.series` give them to a network."""
  lengths = np.array([len(rows) for rows in some_series()], np.int32)
  inputs = np.zeros((len(lengths), LONGEST, len(CHANNELS)), np.float32)
  for row, values in zip(inputs, some_series(), strict=True):
    row[: len(values)] = (hold(values, MEAN) - MEAN) / STD
  batch = Batch(jnp.asarray(inputs), jnp.zeros(len(lengths), jnp.int32), jnp.asarray(lengths))
  return join_samples(batch, samples)


def save_run(folder, **changes):
  """Writes the files of a run whose steps have three samples."""
  said, _, params = model(3, "lstm", 1)
  given = dict(experiment="series", model=said, params=params, input_shape=(6,), theta=THETA)
  given |= dict(class_names=tuple(NAMES), statistics={"mean": list(MEAN), "std": list(STD)})
  given |= dict(reading={"channels": CHANNELS, "missing": "hold", "samples_per_step": 3})
  folder.mkdir()
  save_model(folder, **(given | changes))

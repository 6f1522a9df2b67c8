"""Temporal MNIST: the binning, the encoding, and its sources."""

import functools
import gzip
import itertools
import math
import pathlib
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines import downloads, temporal_mnist
from rc_jax import Batch

SHARED = pathlib.Path(__file__).parents[3] / "shared" / "data" / "mnist"
needs_shared = pytest.mark.skipif(
  not SHARED.is_dir(), reason="no MNIST archives beside the checkout"
)


def batch_of(images):
  """A batch of images whose labels number them."""
  rows = len(images)
  return Batch(images, np.arange(rows, dtype=np.int32), np.full(rows, 10, np.int32))


def test_binning_of_every_value():
  values = np.arange(256, dtype=np.uint8)
  step = np.asarray(temporal_mnist.spike_step(jnp.asarray(values)))
  expected = [10 - max(math.ceil(Fraction(10 * int(v), 255)), 1) for v in values]
  assert step.tolist() == expected
  assert step[0] == 9 and step[255] == 0 and step[230] == 0 and step[229] == 1


@pytest.mark.parametrize("first", [1, 2, 64, 128, 179, 230, 255])
def test_the_first_step_takes_values_from_one_on_and_nine_share_the_rest(first):
  width = Fraction(2 * first - 1, 18)
  step = np.asarray(temporal_mnist.spike_step(jnp.arange(256, dtype=jnp.uint8), first))
  assert step.tolist() == [10 - min(max(math.ceil(v / width), 1), 10) for v in range(256)]
  assert np.array_equal(step == 0, np.arange(256) >= first) and step[0] == 9
  assert set(step) == set(range(10)) or first < 10


def test_each_pixel_spikes_exactly_once():
  images = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.uint8)
  steps = np.asarray(jax.jit(temporal_mnist.encode)(images))
  assert steps.shape == (3, 10, 28, 28)
  assert np.array_equal(steps.sum(axis=1), np.ones((3, 28, 28)))
  assert np.array_equal(steps[:, 0], images >= 230)


def test_flat_and_image_steps_hold_the_same():
  batch = temporal_mnist.load("digits").train[np.arange(4)]
  prepare = jax.jit(temporal_mnist.prepare, static_argnames="flat")
  flat, image = (np.asarray(prepare(batch, flat=flat).inputs) for flat in (True, False))
  assert flat.shape == (4, 10, 784)
  assert np.array_equal(flat, image.reshape(4, 10, 784))


def test_accumulated_frames_hold_what_has_spiked_and_how_early():
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (3, 28, 28)).astype(np.uint8)
  images[0, :2, :2] = [[0, 229], [230, 255]]
  frames = np.asarray(jax.jit(temporal_mnist.accumulate)(images))
  assert frames.shape == (3, 10, 28, 28) and frames.dtype == np.float32
  expected = np.zeros((3, 10, 28, 28))
  for (row, y, x), value in np.ndenumerate(images):
    spike = 10 - max(-(-10 * int(value) // 255), 1)
    for step in range(spike, 10):
      expected[row, step, y, x] = (10 - spike) / 10
  np.testing.assert_allclose(frames, expected, rtol=1e-6)
  assert np.array_equal(frames[:, 0], images >= 230)
  tenths = np.maximum(np.ceil(images / 25.5), 1)  # the whole image, quantised
  np.testing.assert_allclose(frames[:, 9], tenths / 10, rtol=1e-6)
  prepared = jax.jit(temporal_mnist.prepare_accumulated)(batch_of(images))
  assert np.array_equal(np.asarray(prepared.inputs)[..., 0], frames)
  assert np.array_equal(prepared.lengths, [10, 10, 10])


def test_a_random_step_is_any_of_a_rows_own():
  """Step t of row b holds 100 b + t; rows have 1 to 4 steps of 5."""
  rows = 400
  inputs = (100 * np.arange(rows)[:, None] + np.arange(5)).astype(np.int32)[..., None]
  lengths = (1 + np.arange(rows) % 4).astype(np.int32)
  batch = Batch(inputs, np.arange(rows, dtype=np.int32), lengths)
  random_step = jax.jit(temporal_mnist.random_step)
  chosen = jax.tree.map(np.asarray, random_step(jax.random.key(0), batch))
  assert chosen.inputs.shape == (rows, 1, 1)
  assert chosen.lengths.dtype == jnp.int32 and np.all(chosen.lengths == 1)
  assert np.array_equal(chosen.labels, batch.labels)
  row, step = np.divmod(chosen.inputs[:, 0, 0], 100)
  assert np.array_equal(row, np.arange(rows))
  for length in range(1, 5):
    counts = np.bincount(step[lengths == length], minlength=5)
    assert np.all(counts[length:] == 0)
    assert np.all(np.abs(counts[:length] - 100 / length) < 25)
  other = random_step(jax.random.key(1), batch)
  assert not np.array_equal(chosen.inputs, other.inputs)


@pytest.mark.parametrize("pixels", [0, 1, 3])
def test_shifted_images_are_windows_of_the_padded_ones(pixels):
  rows = 60
  images = np.random.default_rng(0).integers(1, 256, (rows, 28, 28)).astype(np.uint8)
  batch = batch_of(images)
  shifted = jax.jit(temporal_mnist.shift, static_argnums=2)(jax.random.key(0), batch, pixels)
  padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels)))
  corners = list(itertools.product(range(2 * pixels + 1), repeat=2))
  found = []
  for image, wide in zip(np.asarray(shifted.inputs), padded, strict=True):
    found += [(y, x) for y, x in corners if np.array_equal(image, wide[y : y + 28, x : x + 28])]
  assert len(found) == rows  # each is one window, exactly
  for axis in range(2):  # every offset occurs in each direction
    assert {corner[axis] for corner in found} == set(range(2 * pixels + 1))
  assert np.array_equal(shifted.labels, batch.labels)


@pytest.mark.parametrize("degrees, zoom", [(10, 0.0), (0, 0.1), (15, 0.2)])
def test_warped_images_are_turned_and_stretched_about_their_centre(degrees, zoom):
  """Images whose values are coordinates tell where a pixel came from: an affine map is fitted."""
  rows, shape = 200, temporal_mnist.IMAGE_SHAPE
  here = np.indices(shape)

  warp = jax.jit(functools.partial(temporal_mnist.warp, degrees=degrees, zoom=zoom))

  def warped(values):
    images = np.broadcast_to(values, (rows, *shape)).astype(np.uint8)
    return warp(jax.random.key(0), batch_of(images))

  came_from = np.stack([warped(1 + axis).inputs for axis in here]).astype(int) - 1
  angles, factors = [], []
  for source in came_from.swapaxes(0, 1):  # [2, 28, 28]
    inside = np.all(source >= 0, axis=0)
    places = (here[:, inside] - 13.5).T
    linear, *_ = np.linalg.lstsq(places, (source[:, inside] - 13.5).T)
    assert (
      np.max(np.abs(places @ linear - (source[:, inside] - 13.5).T)) < 1
    )  # 0.5, and what the fit misses
    factors.append(1 / np.linalg.norm(linear, axis=0))
    angles.append(np.degrees(np.arctan2(-linear[1, 0], linear[0, 0])))
  for found, limit, middle in ((angles, degrees, 0), (factors, zoom, 1)):
    assert np.max(np.abs(np.array(found) - middle)) == pytest.approx(limit, rel=0.1, abs=0.01)
    assert np.mean(found) == pytest.approx(middle, abs=0.2 * limit + 0.01)
  if zoom:  # each axis by a factor of its own
    assert abs(np.corrcoef(np.transpose(factors))[0, 1]) < 0.3


def test_warping_by_nothing_changes_nothing():
  batch = Batch(jnp.ones((2, 28, 28), jnp.uint8), jnp.arange(2), jnp.full(2, 10))
  assert temporal_mnist.warp(jax.random.key(0), batch, degrees=0, zoom=0) is batch


def test_digits_need_no_download():
  splits = temporal_mnist.load("digits")
  assert [len(s) for s in splits] == [1237, 200, 360]
  assert splits.train.inputs.dtype == np.uint8 and splits.train.inputs.max() == 255


@needs_shared
def test_archives():
  splits = temporal_mnist.load("mnist", data_dir=str(SHARED))
  assert [len(s) for s in splits] == [55_000, 5_000, 10_000]
  assert splits.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
  assert splits.test.labels[:5].tolist() == [7, 2, 1, 0, 4]


@needs_shared
def test_without_holdout_training_has_all_images():
  splits = temporal_mnist.load("mnist", data_dir=str(SHARED), holdout=0)
  assert [len(s) for s in splits] == [60_000, 5_000, 10_000]
  assert np.array_equal(splits.validation.labels, splits.train.labels[-5_000:])


def test_a_damaged_archive_is_named(tmp_path):
  for name in temporal_mnist.MD5:
    (tmp_path / name).write_bytes(gzip.compress(bytes(100)))
  with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz has MD5 .* get it again"):
    temporal_mnist.load("mnist", data_dir=str(tmp_path))


def test_a_missing_archive_is_named(tmp_path):
  with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz is missing; --data_dir"):
    temporal_mnist.load("mnist", data_dir=str(tmp_path))


@pytest.mark.parametrize("holdout", [-1, 1437])
def test_a_holdout_that_leaves_nothing(holdout):
  with pytest.raises(ValueError, match=f"holdout is {holdout}"):
    temporal_mnist.load("digits", holdout=holdout)


def test_unknown_dataset():
  with pytest.raises(ValueError, match="choose one of mnist, digits"):
    temporal_mnist.load("fashion")


def test_no_network_names_the_offline_choices(monkeypatch):
  def refuse(*args, **kwargs):
    raise OSError("Name or service not known")

  monkeypatch.setattr(downloads.socket, "create_connection", refuse)
  with pytest.raises(ValueError, match=r"cannot be reached.*--data_dir.*--dataset=digits"):
    temporal_mnist.load("mnist")

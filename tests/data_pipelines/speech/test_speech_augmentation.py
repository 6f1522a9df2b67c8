"""What training does to recordings: each change by itself, clip by clip."""

import chex
import jax
import numpy as np
import pytest

from data_pipelines import speech
from rc_jax import Batch

ROWS = 64
FILL = np.linspace(-3, -1, speech.NUM_BANDS).astype(np.float32)


def clips(seed=0):
  rng = np.random.default_rng(seed)
  frames = rng.normal(size=(ROWS, speech.NUM_FRAMES, speech.NUM_BANDS)).astype(np.float32)
  labels = rng.integers(0, 5, ROWS).astype(np.int32)
  return Batch(frames, labels, rng.integers(1, 82, ROWS).astype(np.int32))


def changed(seed=0, **amount):
  change = jax.jit(lambda k, b: speech.augment(k, b, speech.Augmentation(**amount), FILL))
  return change(jax.random.key(seed), clips())


def test_nothing_by_default():
  chex.assert_trees_all_equal(changed(), clips())


def test_only_inputs_change_and_each_clip_by_itself():
  after = changed(shift=10, stretch=0.1, gain=1.0, noise=0.3, mask_frames=10, mask_bands=3)
  before = clips()
  np.testing.assert_array_equal(after.labels, before.labels)
  np.testing.assert_array_equal(after.lengths, before.lengths)
  assert (np.abs(after.inputs - before.inputs).max((1, 2)) > 0).all()
  other = changed(1, shift=10)
  assert np.abs(other.inputs - changed(2, shift=10).inputs).max() > 0


def test_a_shift_moves_whole_frames_and_repeats_the_edge():
  """Frame t of a clip moved by s holds frame t - s, or the nearest there is."""
  seen = set()
  for before, after in zip(clips().inputs, np.asarray(changed(shift=3).inputs), strict=True):
    t = np.arange(speech.NUM_FRAMES)
    moved = [s for s in range(-3, 4) if np.array_equal(after, before[np.clip(t - s, 0, 100)])]
    assert len(moved) == 1
    seen.add(moved[0])
  assert seen == set(range(-3, 4))


def test_a_stretch_keeps_the_middle_and_stays_between_neighbours():
  before = clips()
  ramp = np.broadcast_to(np.arange(101, dtype=np.float32)[:, None], before.inputs.shape)
  change = lambda k: speech.augment(
    k, before._replace(inputs=ramp), speech.Augmentation(stretch=0.2), FILL
  )
  after = np.asarray(jax.jit(change)(jax.random.key(0)).inputs)
  np.testing.assert_allclose(after[:, 50], 50, atol=1e-4)
  speed = after[:, 60, 0] - after[:, 59, 0]
  assert speed.min() == pytest.approx(0.8, abs=0.05)
  assert speed.max() == pytest.approx(1.2, abs=0.05)
  np.testing.assert_allclose(after[:, 59, 0], 50 + 9 * speed, atol=1e-3)
  assert after.min() >= 0 and after.max() <= 100


def test_gain_is_one_number_a_clip():
  difference = np.asarray(changed(gain=0.5).inputs) - clips().inputs
  assert np.ptp(difference, axis=(1, 2)).max() < 1e-5
  assert -0.5 <= difference.min() < -0.4 and 0.4 < difference.max() <= 0.5


def test_noise_has_a_level_a_clip():
  difference = np.asarray(changed(noise=0.5).inputs) - clips().inputs
  level = difference.std((1, 2))
  assert level.min() < 0.05 and 0.45 < level.max() < 0.52
  assert np.abs(difference.mean()) < 0.01


@pytest.mark.parametrize(("name", "axis", "widest"), [("mask_frames", 0, 12), ("mask_bands", 1, 4)])
def test_a_gap_is_whole_and_as_wide_as_allowed(name, axis, widest):
  widths = set()
  for before, after in zip(
    clips().inputs, np.asarray(changed(**{name: widest}).inputs), strict=True
  ):
    masked = (after != before).all(1 - axis)
    inside = np.flatnonzero(masked)
    assert inside.size == 0 or np.array_equal(inside, np.arange(inside[0], inside[-1] + 1))
    filled = np.broadcast_to(FILL, after.shape).compress(masked, axis)
    np.testing.assert_array_equal(after.compress(masked, axis), filled)
    np.testing.assert_array_equal(after.compress(~masked, axis), before.compress(~masked, axis))
    widths.add(inside.size)
  assert min(widths) == 0 and max(widths) == widest

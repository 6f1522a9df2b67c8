"""Thresholds learnt from recorded outputs, by hand and against every constant one."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import oracle
import pytest

import rc_jax
from rc_jax import thresholds

READER = rc_jax.Classifier(lambda key, x: (), lambda params: (), lambda params, c, z: (c, z))


def recorded(confidence, right):
  """Two-class rows of label 1, from the confidence `[N, T]` and whether it is for label 1."""
  confidence = np.asarray(confidence, np.float64)
  z = np.log(confidence / (1 - confidence)) * np.where(right, 1, -1)
  inputs = np.stack([np.zeros_like(z), z], axis=-1).astype(np.float32)
  rows, steps = confidence.shape
  return rc_jax.Batch(inputs, np.ones(rows, np.int32), np.full(rows, steps, np.int32))


def test_learnt_thresholds_by_hand():
  """Half of the rows are sure at once; the others guess there, and are sure at the second step."""
  sure, guess = [[0.95, 0.95]] * 20, [[0.55, 0.95]] * 20
  right = [[True, True]] * 30 + [[False, True]] * 10
  batch = recorded(sure + guess, right)
  for cost, second in ((0.1, 1), (3.0, 0)):
    theta = rc_jax.learn_thresholds(batch, cost)
    assert theta.shape == (2,) and theta.dtype == np.float32
    stops = rc_jax.evaluate(READER, (), batch, theta).step
    assert stops.tolist() == [0] * 20 + [second] * 20


@hypothesis.given(st.integers(0, 10_000), st.sampled_from([0.0, 0.01, 0.3]), st.booleans())
@hypothesis.settings(max_examples=6)
def test_learnt_thresholds_of_any_rows_can_be_used(seed, cost, all_right):
  """Rows of several lengths, some of one step; sure ones; labels that tell nothing."""
  rng = np.random.default_rng(seed)
  confidence = np.clip(0.5 + 0.6 * rng.beta(2, 2, size=(30, 5)), 0, 1 - 1e-12)
  right = np.full(confidence.shape, True) if all_right else rng.uniform(size=(30, 5)) < 0.5
  batch = recorded(confidence, right)
  batch = batch._replace(lengths=rng.integers(1, 6, 30).astype(np.int32))
  theta = rc_jax.learn_thresholds(batch, cost)
  assert np.all((theta > 0.5) & (theta < 1))
  assert rc_jax.evaluate(READER, (), batch, theta).step.shape == (30,)


@hypothesis.given(st.integers(0, 10_000), st.sampled_from([0.0, 0.01, 0.05, 0.3]))
@hypothesis.settings(max_examples=6)
def test_no_constant_is_better_on_the_rows_that_thresholds_are_learnt_from(seed, cost):
  """Where rows count as right or wrong, as they do of a network whose probabilities mislead."""
  rng = np.random.default_rng(seed)
  confidence = 0.5 + 0.5 * rng.beta(2, 2, size=(12, 4))
  batch = recorded(confidence, rng.uniform(size=confidence.shape) < confidence)
  batch = batch._replace(lengths=rng.integers(1, 5, 12).astype(np.int32))
  labels, read = np.ones(12, int), batch.inputs.astype(np.float64)

  def value(theta):
    step, _, label = oracle.first_spikes(read, theta, batch.lengths)
    return np.mean(label == labels) - cost * np.mean(step + 1)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(thresholds, "_is_calibrated", lambda rows, calibrated: False)
    best = value(rc_jax.learn_thresholds(batch, cost).astype(np.float64))
  constants = [*np.unique(confidence), 1 - 1e-7]
  assert all(value(np.full(4, constant)) <= best + 0.02 for constant in constants[::6])


def test_learnt_thresholds_do_not_read_padding():
  rng = np.random.default_rng(0)
  batch = recorded(0.5 + 0.49 * rng.beta(2, 2, size=(30, 8)), rng.uniform(size=(30, 8)) < 0.7)
  batch = batch._replace(lengths=np.full(30, 5, np.int32))
  padded = batch.inputs.copy()
  padded[:, 5:] = np.nan
  expected = rc_jax.learn_thresholds(batch, 0.01)
  np.testing.assert_array_equal(
    rc_jax.learn_thresholds(batch._replace(inputs=padded), 0.01), expected
  )


def test_bad_costs_and_records():
  with pytest.raises(ValueError, match="cost is -1; a step costs 0 or more"):
    rc_jax.learn_thresholds(recorded([[0.9]], [[True]]), -1)
  with pytest.raises(ValueError, match="nothing to learn thresholds from"):
    rc_jax.learn_thresholds([], 0.1)
  with pytest.raises(ValueError, match=r"the batches have T of \[1, 2\]; pad them to one T"):
    rc_jax.learn_thresholds([recorded([[0.9] * n], [[True] * n]) for n in (1, 2)], 0.1)
  network = rc_jax.Batch(np.zeros((2, 3)), np.zeros(2, np.int32), np.ones(2, np.int32))
  listed = network._replace(inputs=[[[0.0, 1.0]]] * 2)
  for given in (network, listed, ("reader", [recorded([[0.9]], [[True]])])):
    with pytest.raises(ValueError, match=r"no Batch of logits \[B, T, C\]; give the second of the"):
      rc_jax.learn_thresholds(given, 0.1)
  with pytest.raises(ValueError, match="logits have 1 class; give"):
    rc_jax.learn_thresholds(network._replace(inputs=np.zeros((2, 3, 1))), 0.1)
  broken = recorded([[0.9] * 2] * 3, [[True] * 2] * 3)
  broken.inputs[1, 1, 0] = np.nan
  with pytest.raises(ValueError, match="row 1 of batches has outputs that are not finite"):
    rc_jax.learn_thresholds(broken, 0.1)

"""When and what, against plain loops and by hand."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import rc_jax

T, C = 6, 3
SURE, UNSURE = [5.0, 0.0, 0.0], [0.2, 0.0, 0.1]  # confidences .987 and .367

first_crossing = jax.jit(rc_jax.first_crossing)
rank_code = jax.jit(rc_jax.rank_code)
confidence = jax.jit(rc_jax.confidence)


def sequence(*sure_steps, steps=T):
  return np.array([SURE if t in sure_steps else UNSURE for t in range(steps)], np.float32)


# Eighths: different logits differ by enough that float32 and float64 agree on which is larger.
logits_of = lambda *shape: hnp.arrays(np.int32, shape, elements=st.integers(-64, 64)).map(
  lambda eighths: eighths.astype(np.float32) / 8
)
thetas = st.floats(11 / 32, 1023 / 1024, width=32)


@pytest.mark.parametrize(
  "sure_steps, length, step, spiked",
  [
    ([0], T, 0, True),
    ([3], T, 3, True),
    ([2, 3, 5], T, 2, True),
    ([5], T, 5, True),
    ([], T, 5, False),
    ([4], 4, 3, False),
    ([4], 5, 4, True),
    ([0, 1], 1, 0, True),
    ([1], 1, 0, False),
  ],
)
def test_by_hand(sure_steps, length, step, spiked):
  logits = sequence(*sure_steps)
  got = rc_jax.first_crossing(logits, 0.9, np.int32(length))
  assert (int(got[0]), bool(got[1])) == (step, spiked)
  assert got[0].dtype == jnp.int32 and got[1].dtype == bool
  code = rc_jax.rank_code(logits, 0.9, np.int32(length))
  assert (int(code.step), bool(code.spiked), int(code.label)) == (step, spiked, 0)
  assert np.array_equal(code.logits, logits[step])
  if length == T:
    assert int(rc_jax.first_crossing(logits, 0.9)[0]) == step


def test_exactly_theta_is_a_spike():
  equal = [0.0, 0.0, -200.0]  # exp(-200) is 0 in float32
  tie = np.array([[UNSURE, equal, equal]], np.float32)
  assert confidence(tie)[0, 1] == 0.5
  assert first_crossing(tie, np.float32(0.5))[0].tolist() == [1]
  step, spiked = first_crossing(tie, np.nextafter(np.float32(0.5), np.float32(1)))
  assert step.tolist() == [2] and spiked.tolist() == [False]


def test_two_classes_at_once_the_larger_wins_and_of_equal_ones_the_first():
  larger = np.log([[0.35, 0.4, 0.25]]).astype(np.float32)
  equal = np.array([[-200.0, 1.0, 1.0]], np.float32)
  assert int(rank_code(larger, 0.34).label) == 1
  assert int(rank_code(equal, 0.5).label) == 1


def test_without_a_spike_the_last_step_before_length_names_the_label():
  logits = np.array([[0.0, 0.1, 0.0], [0.0, 0.0, 0.2], [9.0, 0.0, 0.0]], np.float32)
  code = rank_code(logits, 0.9, np.int32(2))
  assert (int(code.step), bool(code.spiked), int(code.label)) == (1, False, 2)


@hypothesis.given(logits_of(4, T, C), thetas, hnp.arrays(np.int32, 4, elements=st.integers(1, T)))
def test_equals_algorithm_1(logits, theta, lengths):
  hypothesis.assume(not oracle.knife_edge(logits, theta))
  step, spiked, label = oracle.first_spikes(logits, theta, lengths)
  code = rank_code(logits, jnp.float32(theta), lengths)
  assert np.array_equal(code.step, step)
  assert np.array_equal(code.spiked, spiked)
  assert np.array_equal(code.label, label)
  assert np.array_equal(code.logits, logits[np.arange(4), step])
  crossing = first_crossing(logits, jnp.float32(theta), lengths)
  assert np.array_equal(crossing[0], step) and np.array_equal(crossing[1], spiked)


@hypothesis.given(logits_of(4, T, C), hnp.arrays(np.float32, T, elements=thetas))
def test_equals_algorithm_1_with_a_threshold_a_step(logits, theta):
  hypothesis.assume(not oracle.knife_edge(logits, theta))
  step, spiked, label = oracle.first_spikes(logits, theta)
  code = rank_code(logits, theta)
  assert np.array_equal(code.step, step)
  assert np.array_equal(code.spiked, spiked)
  assert np.array_equal(code.label, label)


@hypothesis.given(logits_of(4, T, C), thetas, thetas)
def test_a_higher_theta_is_never_earlier(logits, one, other):
  low, spiked_low = first_crossing(logits, jnp.float32(min(one, other)))
  high, spiked_high = first_crossing(logits, jnp.float32(max(one, other)))
  assert np.all(low <= high)
  assert np.all(spiked_low >= spiked_high)


@hypothesis.given(logits_of(T, C))
def test_confidence_is_the_largest_probability(logits):
  expected = [oracle.confidence(z) for z in logits]
  np.testing.assert_allclose(confidence(logits), expected, rtol=1e-6)


def test_leading_axes_are_any():
  logits = np.stack([sequence(0), sequence(2), sequence(), sequence(4)])
  flat = rank_code(logits, 0.9, np.array([6, 6, 6, 4]))
  nested = rank_code(logits.reshape(2, 2, T, C), 0.9, np.array([[6, 6], [6, 4]]))
  assert flat.step.tolist() == [0, 2, 5, 3]
  assert nested.step.tolist() == [[0, 2], [5, 3]]
  assert nested.logits.shape == (2, 2, C)
  mapped = jax.jit(jax.vmap(lambda z: rc_jax.rank_code(z, 0.9).step))
  assert mapped(logits).tolist() == [0, 2, 5, 4]


def test_large_logits_do_not_overflow():
  logits = np.array([[1e4, 1e4, -1e4], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4]], np.float32)
  assert confidence(logits).tolist() == [0.5, 1.0, pytest.approx(1 / 3)]
  assert int(first_crossing(logits, 0.9)[0]) == 1


def test_half_precision_is_compared_in_float32():
  logits = jnp.array([[3.0, 0.0]], jnp.bfloat16)
  got = confidence(logits)
  assert got.dtype == jnp.float32
  assert float(got[0]) == pytest.approx(oracle.confidence([3.0, 0.0]), rel=1e-6)


def test_nan_after_the_length_is_not_looked_at():
  logits = sequence(1)
  logits[4:] = np.nan
  code = rank_code(logits, 0.999, np.int32(4))
  assert int(code.step) == 3 and np.isfinite(code.logits).all()


@pytest.mark.parametrize("theta", [0.0, 1.0, -0.5, 1.5, float("nan"), np.array([0.9, 1.2, 0.9])])
def test_theta_out_of_range(theta):
  with pytest.raises(ValueError, match=r"theta is .*lies between 0 and 1"):
    rc_jax.first_crossing(sequence(steps=3), theta)


@pytest.mark.parametrize("theta", [0.3, 1 / 3, np.array([0.9, 0.2, 0.9])])
def test_theta_that_is_always_reached(theta):
  with pytest.raises(ValueError, match=r"theta is .*always reaches; choose one above 1/3"):
    rc_jax.rank_code(sequence(steps=3), theta)


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("theta", [np.full(5, 0.9), np.full((3, 3), 0.9)])
def test_theta_of_another_shape(theta, as_array):
  with pytest.raises(ValueError, match=r"theta has shape .*one threshold a step: \[3\]"):
    rc_jax.first_crossing(sequence(steps=3), as_array(theta))


def test_one_class_is_no_choice():
  with pytest.raises(ValueError, match="logits have 1 class"):
    rc_jax.first_crossing(jnp.zeros((3, 1)), 0.9)


@pytest.mark.parametrize("shape", [(3,), (2, 0, 3)])
def test_logits_without_steps(shape):
  with pytest.raises(ValueError, match=r"logits have shape \[.*; give \[\.\.\., T, C\]"):
    rc_jax.first_crossing(jnp.zeros(shape), 0.6)


def test_traced_lengths_are_clipped():
  """They cannot be checked, and step -1 would be read from the row's end."""
  logits = np.zeros((2, 4, 3), np.float32)
  assert rank_code(logits, 0.6, np.array([0, 9])).step.tolist() == [0, 3]


@pytest.mark.parametrize(
  "lengths, message",
  [
    (np.array([1, 5]), r"lengths go from 1 to 5; each must lie in 1\.\.4"),
    (np.array([0, 4]), r"lengths go from 0 to 4; each must lie in 1\.\.4"),
    (np.array([1.5, 2.0]), "lengths are float64; give whole numbers"),
    (np.array([1, 2, 3]), r"lengths has shape \[3\]; logits \[2, 4, 3\] need \[2\]"),
  ],
)
def test_bad_lengths(lengths, message):
  with pytest.raises(ValueError, match=message):
    rc_jax.rank_code(np.zeros((2, 4, 3), np.float32), 0.6, lengths)


def test_a_theta_that_is_a_concrete_array_is_checked():
  with pytest.raises(ValueError, match="lies between 0 and 1"):
    rc_jax.rank_code(jnp.zeros((2, 4, 3)), jnp.float32(1.5))

"""The loss of eq. 7 against plain loops and closed forms."""

import functools

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import rc_jax

C = 4
rc_loss = jax.jit(rc_jax.rc_loss)
entropy = jax.jit(rc_jax.entropy)
value_and_gradient = jax.jit(jax.value_and_grad(rc_jax.rc_loss))
outputs = hnp.arrays(np.float32, (3, C), elements=st.floats(-20, 20, width=32))


@hypothesis.given(
  outputs, hnp.arrays(np.int32, 3, elements=st.integers(0, C - 1)), st.floats(0, 4, width=32)
)
def test_equals_equation_7(logits, labels, beta):
  expected = [oracle.rc_loss(z, y, beta) for z, y in zip(logits, labels, strict=True)]
  got = rc_loss(logits, labels, jnp.float32(beta))
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@hypothesis.given(outputs)
def test_entropy_equals_its_sum(logits):
  expected = [oracle.entropy(z) for z in logits]
  np.testing.assert_allclose(entropy(logits), expected, rtol=1e-5, atol=1e-5)


def test_two_neurons_by_hand():
  logits = jnp.log(jnp.array([3.0, 1.0]))  # probabilities 3/4 and 1/4
  entropy = 0.75 * np.log(4 / 3) + 0.25 * np.log(4)
  assert float(rc_jax.entropy(logits)) == pytest.approx(entropy, rel=1e-6)
  assert float(rc_jax.rc_loss(logits, jnp.int32(1), 0.5)) == pytest.approx(
    np.log(4) - 0.5 * entropy, rel=1e-6
  )


@pytest.mark.parametrize(("classes", "theta"), [(2, 0.95), (10, 0.95), (7, 0.8)])
def test_the_beta_whose_loss_is_least_at_theta(classes, theta):
  beta = rc_jax.beta_limit(theta, classes)
  rest = np.full(classes - 1, (1 - theta) / (classes - 1))
  logits, beta = np.log([theta, *rest]).astype(np.float32), np.float32(beta)
  least, gradient = value_and_gradient(logits, np.int32(0), beta)
  np.testing.assert_allclose(gradient, 0, atol=1e-6)
  noise = np.random.default_rng(0).normal(size=(1000, classes)).astype(np.float32)
  assert np.all(rc_loss(logits + noise, np.zeros(1000, np.int32), beta) >= least)


@pytest.mark.parametrize(
  "theta, classes", [(0.5, 2), (1.0, 3), (0.05, 10), (0.9, 1), (np.array([0.9, 0.9]), 3)]
)
def test_there_is_no_limit_of_beta_for_what_is_no_threshold(theta, classes):
  with pytest.raises(ValueError, match=r"theta"):
    rc_jax.beta_limit(theta, classes)


def test_a_masked_class_adds_nothing():
  """A logit of -inf: value and gradient are those without the class."""
  loss = lambda *logits: value_and_gradient(np.float32(logits), np.int32(0), np.float32(0.3))
  value, gradient = loss(2.0, 0.5, -np.inf)
  expected, of_two = loss(2.0, 0.5)
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  np.testing.assert_allclose(gradient, [*of_two, 0], rtol=1e-6)


def test_large_logits_do_not_overflow():
  logits, labels = np.array([[1e4, -1e4], [1e4, 1e4]], np.float32), np.array([1, 0])
  np.testing.assert_allclose(entropy(logits), [0, np.log(2)], atol=1e-6)
  np.testing.assert_allclose(rc_loss(logits, labels, 1.0), [2e4, 0], atol=1e-3)
  gradient = jax.jit(jax.grad(lambda z: rc_jax.rc_loss(z, labels, 1.0).sum()))(logits)
  assert np.isfinite(gradient).all()


def test_gradient_is_the_closed_form():
  logits, label, beta = np.array([0.3, -1.2, 0.7, 0.1], np.float32), 2, 0.4
  p = oracle.softmax(logits)
  of_entropy = -p * (np.log(p) + oracle.entropy(logits))
  expected = p - np.eye(C)[label] - beta * of_entropy
  got = value_and_gradient(logits, np.int32(label), np.float32(beta))[1]
  np.testing.assert_allclose(got, expected, atol=1e-6)


def test_half_precision_gives_a_float32_loss():
  loss = rc_jax.rc_loss(jnp.array([2.0, -1.0], jnp.bfloat16), jnp.int32(1), 0.1)
  assert loss.dtype == jnp.float32
  assert float(loss) == pytest.approx(oracle.rc_loss([2.0, -1.0], 1, 0.1), rel=1e-6)


@pytest.mark.parametrize("beta", [-0.1, float("nan"), float("inf"), np.float32(-1)])
def test_beta_out_of_range(beta):
  with pytest.raises(ValueError, match=r"beta is .*must be 0 or more"):
    rc_jax.rc_loss(jnp.zeros(2), jnp.int32(0), beta)


@functools.partial(jax.jit, static_argnums=0)
def values_and_gradients(loss, logits, labels):
  """Of each row by itself, and the values of all rows together."""
  return jax.vmap(jax.value_and_grad(loss))(logits, labels), loss(logits, labels)


@pytest.mark.parametrize("label", [-1, -C, C, 2**31 - 1])
@pytest.mark.parametrize("loss", [rc_jax.cross_entropy, rc_jax.rc_loss])
def test_a_label_out_of_range_makes_its_row_nan(loss, label):
  logits = np.random.default_rng(0).normal(size=(3, C)).astype(np.float32)
  labels = np.array([0, label, C - 1])
  (value, gradient), together = values_and_gradients(loss, logits, labels)
  for got in (value, together, *np.asarray(gradient).T):
    assert np.isnan(got).tolist() == [False, True, False]


def test_cross_entropy_equals_its_sum():
  logits = np.random.default_rng(1).normal(size=(5, C)).astype(np.float32)
  labels = np.array([0, 1, 2, 3, 1], np.uint8)
  expected = [oracle.cross_entropy(z, y) for z, y in zip(logits, labels, strict=True)]
  np.testing.assert_allclose(rc_jax.cross_entropy(jnp.asarray(logits), labels), expected, rtol=1e-5)


def test_good_data_are_fine_where_jax_looks_for_nan():
  with jax.debug_nans(True):
    assert np.isfinite(rc_jax.rc_loss(jnp.zeros((2, C)), jnp.zeros(2, jnp.int32), 0.1)).all()


def test_a_label_beyond_32_bits_is_out_of_range():
  with jax.enable_x64(True):
    assert np.isnan(rc_jax.cross_entropy(jnp.zeros((1, C)), jnp.array([2**32]))).all()


@pytest.mark.parametrize("loss", [rc_jax.cross_entropy, rc_jax.rc_loss])
@pytest.mark.parametrize("shape", [(4, 1), (), (3,)])
def test_labels_that_are_not_one_a_row(loss, shape):
  with pytest.raises(ValueError, match=r"labels have shape .*, logits \[4, 3\]; give one label"):
    loss(jnp.zeros((4, 3)), jnp.zeros(shape, jnp.int32))


def test_lists_are_arrays():
  loss = rc_jax.rc_loss([[0.0, 0.0]], [1], 0.5)
  assert loss == pytest.approx(0.5 * np.log(2))


def test_labels_that_are_no_whole_numbers():
  with pytest.raises(ValueError, match="labels are float32; give whole numbers"):
    rc_jax.rc_loss(jnp.zeros((2, C)), jnp.zeros(2))

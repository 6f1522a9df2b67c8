"""Which `encode` is computed within each step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rc_jax
from rc_jax.engine import place_encode


@pytest.mark.parametrize(
  ("classifier", "shape", "apart"),
  [
    (rc_jax.lstm(4, 3), (1,), False),
    (rc_jax.lstm(4, 3), (30,), False),  # and a bias: 31 weights to a gate
    (rc_jax.lstm(4, 3), (31,), True),
    (rc_jax.gru(4, 3, layers=2), (420,), True),  # the upper layer's weights are not of `encode`
    (rc_jax.conv_lstm(2, 3, (4, 4)), (4, 4, 1), False),
  ],
)
def test_few_weights_to_a_number_are_read_within_the_step(classifier, shape, apart):
  x = jnp.linspace(-1, 1, np.prod(shape)).reshape(shape)
  params = classifier.init(jax.random.key(0), x)
  carry = classifier.initial_carry(params)
  step, encode = place_encode(classifier.step, classifier.encode, params, x)
  assert (encode is not None) == apart
  expected = classifier.step(params, carry, classifier.encode(params, x))
  found = step(params, carry, encode(params, x) if apart else x)
  jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_without_encode_the_step_stays():
  step = lambda params, carry, x: (carry, x)
  assert place_encode(step, None, (), jnp.zeros(3)) == (step, None)

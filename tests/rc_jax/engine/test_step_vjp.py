"""Both halves of a step's derivative together are `jax.vjp`; what lies between is as said."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import draw, draw_params

from rc_jax import gru, keep, lstm
from rc_jax.engine.float_leaves import vjp_of_floats
from rc_jax.engine.rows import initial_carries
from rc_jax.engine.step_vjp import split_vjp


def whole_and_halves(step, params, carry, inputs, *, inputs_at_hand=False):
  """Results and gradients of `jax.vjp` and of the halves, and what these store."""
  results = jax.tree.leaves(jax.eval_shape(step, params, carry, inputs))
  cotangents = draw([a for a in results if jnp.issubdtype(a.dtype, jnp.floating)], seed=7, scale=1)
  # Examples with another number of rows, and other values.
  other = lambda a: jnp.asarray(np.full((7, *a.shape[1:]), 99, a.dtype))
  example = jax.tree.map(other, (carry, inputs))
  first, second = split_vjp(step, params, *example, inputs_at_hand=inputs_at_hand)
  result, stored = jax.jit(first)(params, carry, inputs)
  given = inputs if inputs_at_hand else None
  halves = result, jax.jit(second)(params, given, stored, cotangents)
  whole = lambda *arguments: (step(*arguments), vjp_of_floats(step, *arguments)(cotangents))
  return jax.jit(whole)(params, carry, inputs), halves, stored


def of_rows(classifier, shape, rows=5):
  """A step of rows, with its parameters, carry and encoded inputs."""
  xs = np.zeros((rows, *shape), np.float32)
  params = draw_params(classifier, xs[0])
  carry = draw(jax.eval_shape(lambda p: initial_carries(classifier, p, rows), params), seed=1)
  encoded = jax.eval_shape(jax.vmap(classifier.encode, (None, 0)), params, xs)
  return jax.vmap(classifier.step, (None, 0, 0)), params, carry, draw(encoded, seed=2, scale=1)


@pytest.mark.parametrize("inputs_at_hand", [False, True])
def test_the_halves_together_are_the_whole_derivative(inputs_at_hand):
  rows = of_rows(lstm(4, 3, hidden=(5,)), (6,))
  whole, halves, _ = whole_and_halves(*rows, inputs_at_hand=inputs_at_hand)
  chex.assert_trees_all_close(halves, whole, rtol=1e-5, atol=1e-6)


def test_any_step_can_be_halved():
  """A product made of parameters alone, rows along the last axis, a counter, an unused carry."""

  def step(params, carry, x):
    h, unused, count = carry
    weights = params["a"] @ params["b"]
    h = jnp.tanh(keep(weights @ h) + x * count.astype(x.dtype))
    return (h, unused, count + 1), h[:2] * params["b"][0, 0]

  six = np.arange(6, dtype=np.float32)
  params = {"a": six.reshape(3, 2) / 9, "b": six.reshape(2, 3) / 7 + np.float32(0.1)}
  rows = np.arange(12, dtype=np.float32).reshape(4, 3) / 9
  carry = (rows, rows, np.arange(4, dtype=np.int32))
  whole, halves, stored = whole_and_halves(jax.vmap(step, (None, 0, 0)), params, carry, rows)
  chex.assert_trees_all_close(halves, whole, rtol=1e-5, atol=1e-6)
  assert all(len(a) == 4 for a in stored)


@pytest.mark.parametrize("inputs_at_hand", [False, True])
def test_an_lstm_stores_the_sum_of_its_products_and_not_what_was_encoded(inputs_at_hand):
  _, _, stored = whole_and_halves(*of_rows(lstm(4, 3), (6,)), inputs_at_hand=inputs_at_hand)
  assert sorted(a.shape for a in stored) == [(5, 4), (5, 4), (5, 16)]  # c, h, gates


def test_inputs_at_hand_are_not_stored():
  _, _, stored = whole_and_halves(*of_rows(gru(4, 3), (6,)), inputs_at_hand=True)
  assert [a.shape for a in stored] == [(5, 4)]


def test_a_residual_without_a_clear_axis_of_rows_is_refused():
  """Rows flattened into another axis would be taken for an array without rows."""

  def step(params, carry, x):
    flat = keep(jnp.tanh(params * carry.reshape(-1)))
    return (flat * flat).reshape(carry.shape), x

  rows = jnp.ones((4, 3))
  with pytest.raises(ValueError, match=r"shape \[6\] for 2 rows and \[9\] for 3.*engine='full'"):
    split_vjp(step, jnp.float32(2), rows, rows, inputs_at_hand=False)


def test_what_is_kept_is_not_computed_again():
  def step(params, carry, x, mark):
    h = jnp.tanh(mark(carry @ params) + x)
    return h, h[:, :2]

  params = jnp.ones((64, 64))
  rows = jnp.ones((8, 64))

  def flops(mark):
    half = split_vjp(lambda *a: step(*a, mark), params, rows, rows, inputs_at_hand=False)
    stored = jax.eval_shape(half[0], params, rows, rows)[1]
    cotangents = [rows, rows[:, :2]]
    second = lambda params, stored: half[1](params, None, stored, cotangents)
    return jax.jit(second).lower(params, stored).compile().cost_analysis()["flops"]

  product = 2 * 8 * 64 * 64
  assert 2 * product < flops(keep) < 2.5 * product
  assert 3 * product < flops(lambda a: a) < 3.5 * product

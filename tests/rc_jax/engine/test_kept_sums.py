"""Sums that early exit stores of a step that marks none: which, and that nothing else changes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import draw, draw_params
from flax import linen

import rc_jax
from rc_jax.engine.jax_internals import closure_convert
from rc_jax.engine.kept_sums import mark_sums

H, C = 20, 3


def own_lstm():
  """An LSTM as a user writes it: everything in the step, nothing marked."""

  def step(params, carry, x):
    c, h = carry
    i, f, g, o = jnp.split(x @ params["w"] + h @ params["u"] + params["b"], 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (c, h), h @ params["out"]

  def init(key, x):
    keys = jax.random.split(key, 3)
    weights = lambda k, shape: 0.3 * jax.random.normal(k, shape)
    return {
      "w": weights(keys[0], (*x.shape, 4 * H)),
      "u": weights(keys[1], (H, 4 * H)),
      "b": jnp.zeros(4 * H),
      "out": weights(keys[2], (H, C)),
    }

  return rc_jax.Classifier(init, lambda params: (jnp.zeros(H), jnp.zeros(H)), step)


def marks(classifier, features=5):
  """Shapes of what is marked in a step, and the step's results with and without marks."""
  x = jax.ShapeDtypeStruct((features,), jnp.float32)
  params = draw_params(classifier, x)
  carry = draw(jax.eval_shape(classifier.initial_carry, params), seed=1)
  encoded = draw(jax.eval_shape(classifier.encode, params, x), seed=2)
  numbers = {"num_params": len(jax.tree.leaves(params)), "num_carry": len(jax.tree.leaves(carry))}
  rewrite = lambda closed: mark_sums(closed, **numbers)
  marked, _ = closure_convert(classifier.step, params, carry, encoded, rewrite=rewrite)
  jaxpr = jax.make_jaxpr(marked)([], params, carry, encoded).jaxpr
  shapes = [e.outvars[0].aval.shape for e in jaxpr.eqns if e.primitive.name == "name"]
  results = (
    jax.jit(marked)([], params, carry, encoded),
    jax.jit(classifier.step)(params, carry, encoded),
  )
  chex.assert_trees_all_equal(*results)
  return sorted(shapes)


def test_the_sum_before_the_gates_is_kept():
  """Whole, as `encode` would give it, though the gates read its quarters."""
  assert marks(own_lstm()) == [(4 * H,)]


def test_a_sum_of_which_a_part_alone_is_needed_is_kept_in_parts():
  own = own_lstm()

  def step(params, carry, x):
    _, h = carry
    i, _, g, _ = jnp.split(x @ params["w"] + h @ params["u"], 4)
    h = jax.nn.sigmoid(i) * jnp.tanh(g)
    return (h, h), h @ params["out"]

  assert marks(own._replace(step=step)) == [(H,)] * 2


@pytest.mark.parametrize("cell", [linen.OptimizedLSTMCell, linen.LSTMCell])
def test_a_flax_cell_s_gates_are_kept(cell):
  assert marks(rc_jax.from_linen(cell(H), linen.Dense(C))) == [(H,)] * 4


def test_a_constant_may_be_a_part_of_a_product():
  own = own_lstm()

  def step(params, carry, x):
    _, h = carry
    ones = jnp.append(h, 1.0)
    h = jnp.tanh(x[:1] + ones @ jnp.pad(params["u"][:, :H], ((0, 1), (0, 0))))
    return (h, h), h @ params["out"]

  assert marks(own._replace(step=step)) == [(H,)]


def test_a_gru_s_candidate_is_kept_before_its_product_with_the_reset_gate():
  assert marks(rc_jax.gru(H, C)) == [(H,)] * 3


def test_a_step_that_marks_for_itself_is_left_alone():
  assert marks(rc_jax.lstm(H, C)) == [(4 * H,)]


def test_small_products_are_computed_again():
  assert marks(rc_jax.gru(4, C)) == []


def test_own_steps_are_stored_as_ours():
  """The log of an own step holds its gates' sums; and fewer products are left in the gradient."""
  x = np.zeros((32, 12, 5), np.float32)

  def products(classifier):
    params = draw_params(classifier, x[0, 0])
    carry = jax.eval_shape(classifier.initial_carry, params)
    carry = jax.tree.map(lambda a: np.zeros((32, *a.shape), a.dtype), carry)

    def loss(params):
      code = rc_jax.unroll_to_spike(
        classifier.step, params, carry, x, 0.9, engine=rc_jax.EarlyExit(widths=1)
      )
      return jnp.sum(code.logits)

    return jax.jit(jax.grad(loss)).lower(params).compile().as_text().count(f"f32[32,{4 * H}]")

  own = own_lstm()
  unmarked = own._replace(
    step=lambda p, c, x: own.step(p, c, rc_jax.keep(x))  # a mark, so that no other is added
  )
  assert products(own) < products(unmarked)

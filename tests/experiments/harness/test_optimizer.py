"""The optimizer behind the flags."""

import chex
import jax.numpy as jnp
import numpy as np
import optax

from experiments.harness.optimizer import make_optimizer, read_average

PARAMS = {"w": np.array([1.0, -2.0], np.float32)}
GRADIENTS = [{"w": np.array([k, 1.0 - k], np.float32)} for k in range(5)]


def trained(optimizer):
  params, state = PARAMS, optimizer.init(PARAMS)
  seen = []
  for gradient in GRADIENTS:
    updates, state = optimizer.update(gradient, state, params)
    params = optax.apply_updates(params, updates)
    seen.append(params)
  return seen, state


def test_as_in_the_paper_by_default():
  ours, _ = trained(make_optimizer(0.1, updates=5))
  chex.assert_trees_all_equal(ours, trained(optax.adam(0.1))[0])
  ours, _ = trained(make_optimizer(0.1, updates=5, clip=0.25))
  clipped = optax.chain(optax.clip_by_global_norm(0.25), optax.adam(0.1))
  chex.assert_trees_all_equal(ours, trained(clipped)[0])


def test_the_average_is_of_all_parameters_seen_and_changes_none():
  """Against the weighted mean in closed form: weights decay**age, that sum to one."""
  seen, state = trained(make_optimizer(0.1, updates=5, clip=0.25, average=0.9))
  chex.assert_trees_all_equal(seen, trained(make_optimizer(0.1, updates=5, clip=0.25))[0])
  weights = 0.9 ** np.arange(4, -1, -1)
  expected = np.average([np.asarray(p["w"]) for p in seen], axis=0, weights=weights)
  np.testing.assert_allclose(read_average(state, seen[-1])["w"], expected, rtol=1e-5)


def test_without_an_average_the_parameters_are_read():
  optimizer = make_optimizer(0.1, updates=5)
  assert read_average(optimizer.init(PARAMS), PARAMS) is PARAMS
  optimizer = make_optimizer(0.1, updates=5, average=0.9)
  assert read_average(optimizer.init(PARAMS), PARAMS) is PARAMS


def test_a_cosine_ends_at_zero():
  still = [{"w": jnp.ones(2)}] * 6
  optimizer = make_optimizer(0.1, updates=5, schedule="cosine")
  state, rates = optimizer.init(PARAMS), []
  for gradient in still:
    updates, state = optimizer.update(gradient, state, PARAMS)
    rates.append(-float(updates["w"][0]))
  np.testing.assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * np.arange(6) / 5)), atol=1e-6)


def test_weight_decay_draws_to_zero():
  still = {"w": jnp.zeros(2)}
  optimizer = make_optimizer(0.1, updates=5, weight_decay=0.5)
  updates, _ = optimizer.update(still, optimizer.init(PARAMS), PARAMS)
  np.testing.assert_allclose(updates["w"], -0.05 * PARAMS["w"], rtol=1e-5)

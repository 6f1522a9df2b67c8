"""Convolutional networks of a step: ceilings without a memory, and before a recurrent network."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

import rc_jax
from deploy.convolutional import Front, Network, halve, memoryless

CLASSIFIER = memoryless(Network((3, 4), 8, 5))
INIT = jax.jit(CLASSIFIER.init)


def sequences(rows=6, steps=5):
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(rows, steps, 9, 6, 1)).astype(np.float32)
  labels = rng.integers(0, 5, rows, dtype=np.int32)
  return rc_jax.Batch(inputs, labels, np.full(rows, steps, np.int32))


@jax.jit
def unrolled(params, x):
  carry = CLASSIFIER.initial_carry(params)
  return rc_jax.unroll(
    CLASSIFIER.step, params, carry, x, encode=CLASSIFIER.encode, decode=CLASSIFIER.decode
  )


def test_a_step_knows_nothing_of_the_others():
  x = sequences().inputs[0]
  params = INIT(jax.random.key(0), x[0])
  logits = np.asarray(unrolled(params, x))
  assert logits.shape == (5, 5) and np.ptp(logits, axis=0).min() > 0  # steps differ by their input
  order = np.array([3, 0, 4, 2, 1])
  np.testing.assert_allclose(unrolled(params, x[order]), logits[order], rtol=1e-5, atol=1e-6)
  other, others = x.copy(), np.array([0, 1, 3, 4])
  other[2] = 7.0
  changed = np.asarray(unrolled(params, other))
  np.testing.assert_allclose(changed[others], logits[others], rtol=1e-5, atol=1e-6)
  assert not np.allclose(changed[2], logits[2])


def test_the_network_by_hand():
  """Against loops: two convolutions with relu and maxima, then two dense layers."""
  x = sequences().inputs[0, 0]
  params = jax.tree.map(np.asarray, INIT(jax.random.key(0), x))
  layers = params["params"]
  value = np.asarray(x)
  for name in ("Conv_0", "Conv_1"):
    kernel, bias = np.asarray(layers[name]["kernel"]), np.asarray(layers[name]["bias"])
    height, width, _ = value.shape
    padded = np.pad(value, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((height // 2, width // 2, len(bias)))
    for y in range(height // 2 * 2):
      for z in range(width // 2 * 2):
        here = np.tensordot(padded[y : y + 3, z : z + 3], kernel, 3) + bias
        out[y // 2, z // 2] = np.maximum(out[y // 2, z // 2], here)  # from 0: relu
    value = out
  dense = lambda name, v: v @ layers[name]["kernel"] + layers[name]["bias"]
  expected = dense("Dense_1", np.maximum(dense("Dense_0", value.reshape(-1)), 0))
  assert np.abs(expected).max() > 0.01
  np.testing.assert_allclose(jax.jit(CLASSIFIER.encode)(params, x), expected, rtol=1e-4, atol=1e-5)


def test_halved_takes_maxima_and_leaves_odd_edges_out():
  x = np.random.default_rng(0).normal(size=(5, 7, 2)).astype(np.float32)
  expected = [[x[y : y + 2, z : z + 2].max((0, 1)) for z in (0, 2, 4)] for y in (0, 2)]
  np.testing.assert_array_equal(halve(jnp.asarray(x)), np.array(expected))


def test_a_front_is_the_same_network_in_the_form_for_loops():
  """Against the convolutions as XLA has them, values and gradients."""
  front, whole = Front((3, 4)), Network((3, 4), 8, 5)
  x = sequences().inputs[0, 0]
  params = jax.jit(whole.init)(jax.random.key(0), x)
  layers = {name: params["params"][name] for name in ("Conv_0", "Conv_1")}

  def by_library(layers):
    value = x
    module = linen.Conv(3, (3, 3)), linen.Conv(4, (3, 3))
    for conv, name in zip(module, layers, strict=True):
      value = halve(linen.relu(conv.apply({"params": layers[name]}, value)))
    return value.reshape(-1)

  def differentiate(network):
    """Gradient of the sum of squares, and the values themselves."""

    def square(layers):
      values = network(layers)
      return jnp.sum(values**2), values

    return jax.jit(jax.grad(square, has_aux=True))(layers)

  gradient, values = differentiate(lambda layers: front.apply({"params": layers}, x))
  expected_gradient, expected = differentiate(by_library)
  assert values.shape == (2 * 1 * 4,)
  np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)
  for a, b in zip(*map(jax.tree.leaves, (gradient, expected_gradient)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
  assert np.abs(gradient["Conv_0"]["kernel"]).max() > 0.01


def test_both_engines_train_it_alike():
  batch, after = sequences(rows=3, steps=2), []
  trains = [
    rc_jax.make_train(CLASSIFIER, optax.sgd(0.1), objective="eos", engine=engine)
    for engine in ("full", "early_exit")
  ]
  state = jax.jit(trains[0].init)(jax.random.key(0), batch.inputs[0, 0])
  for train in trains:
    after.append(jax.jit(train.update)(state, batch)[0].params)
  before = state.params
  for old, a, b in zip(*map(jax.tree.leaves, (before, *after)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(a, old)


def test_an_image_that_cannot_be_halved_so_often():
  with pytest.raises(ValueError, match="images of 7 x 9 cannot be halved 3 times; give fewer"):
    memoryless(Network((3, 4, 4), 8, 5)).init(jax.random.key(0), jnp.zeros((7, 9, 1)))

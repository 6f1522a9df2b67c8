"""A step at a carry of zeros: the same results, without the products that are zero."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawn import draw, draw_params
from flax import linen, nnx
from jax.nn import initializers
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import rc_jax
from rc_jax.engine import initial_carries
from rc_jax.engine.zero_carry import at_zero_carry, starts_at_zero
from rc_jax.unroll import unroll_and_count

C = 3


def counter():
  """A carry of an integer, which is kept, and of a float that meets what has no rule."""

  def step(params, carry, x):
    count, h = carry
    h = jnp.where(count > 0, jnp.cumsum(h), 0.5 - h) - jnp.exp(h) + jnp.sum(h * params["w"])
    return (count + 1, h), jnp.concatenate([x, h[:1] / 3])

  return rc_jax.Classifier(
    lambda key, x: {"w": jnp.ones(4)},
    lambda params: (jnp.int32(0), jnp.zeros(4)),
    step,
  )


def make_nnx():
  return rc_jax.from_nnx(
    lambda rngs: nnx.OptimizedLSTMCell(4, 5, rngs=rngs), lambda rngs: nnx.Linear(5, C, rngs=rngs)
  )


NETS = {  # makes a network, a step's input, and how many products are left of how many
  "lstm": (lambda: rc_jax.lstm(5, C), (4,), 0, 1),
  "gru": (lambda: rc_jax.gru(5, C, hidden=(3,)), (4,), 0, 1),
  "conv_lstm": (lambda: rc_jax.conv_lstm(2, C, (4, 3)), (4, 3, 1), 0, 2),  # on a CPU, and elsewhere
  "bfloat16": (lambda: rc_jax.with_dtype(rc_jax.lstm(5, C), jnp.bfloat16), (4,), 0, 1),
  "linen": (lambda: rc_jax.from_linen(linen.GRUCell(5), linen.Dense(C)), (4,), 3, 6),
  "nnx": (make_nnx, (4,), 1, 2),
  "counter": (counter, (2,), 0, 0),
}


@functools.cache
def build(name):
  make, *rest = NETS[name]
  return make(), *rest


def case(name):
  classifier, shape, *products = build(name)
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  params = draw_params(classifier, x)
  encoded = draw(jax.eval_shape(classifier.encode, params, x), seed=1, scale=1)
  return classifier, params, encoded, products


def products(function, *arguments):
  """How often a product stands in a function, that of its inner functions included."""
  text = str(jax.make_jaxpr(function)(*arguments))
  return text.count("dot_general[") + text.count("conv_general_dilated[")


@pytest.mark.parametrize("name", NETS)
def test_results_are_the_step_s_with_fewer_products(name):
  classifier, params, encoded, (left, all_of_them) = case(name)
  carry = jax.jit(classifier.initial_carry)(params)
  first = at_zero_carry(classifier.step)
  assert starts_at_zero(classifier, params)
  want, got = (jax.jit(step)(params, carry, encoded) for step in (classifier.step, first))
  assert jax.tree.structure(want) == jax.tree.structure(got)
  for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a, b, rtol=1e-6)
  assert products(classifier.step, params, carry, encoded) == all_of_them
  assert products(first, params, carry, encoded) == left


def test_a_carry_that_is_no_zero():
  lstm = rc_jax.lstm(5, C)
  params = draw_params(lstm, np.zeros(4, np.float32))
  for carry in (lambda p: (p["bias"][:5], jnp.zeros(5)), lambda _: (jnp.zeros(5), jnp.ones(5))):
    assert not starts_at_zero(lstm._replace(initial_carry=carry), params)
  drawn = linen.GRUCell(5, carry_init=initializers.normal())
  assert not starts_at_zero(rc_jax.from_linen(drawn, linen.Dense(C)), params)


def test_a_scalar_added_to_zeros_has_their_shape():
  step = lambda params, h, x: (1.0 + h, (h - 2.0) * x)
  carry, logits = at_zero_carry(step)(None, jnp.zeros(C), jnp.arange(3.0))
  np.testing.assert_array_equal(carry, np.ones(C))
  np.testing.assert_array_equal(logits, [0.0, -2.0, -4.0])


def test_what_is_taken_from_zeros_changes_its_sign():
  step = lambda params, h, x: (h - x, x - h)
  carry, logits = at_zero_carry(step)(None, jnp.zeros(C), jnp.arange(3.0))
  np.testing.assert_array_equal(carry, [0, -1, -2])
  np.testing.assert_array_equal(logits, [0, 1, 2])


def test_the_sign_of_a_literal_stays():
  """-0.0 is no zero that may be left out: 1 / -0.0 is another infinity."""
  step = lambda params, h, x: (h, jnp.clip(x / jnp.full(C, -0.0), -1.0, 1.0))
  got = at_zero_carry(step)(None, jnp.zeros(C), jnp.ones(C))[1]
  np.testing.assert_array_equal(got, -np.ones(C))


def test_zeros_of_every_dtype_in_the_step():
  def step(params, h, x):
    zero = jnp.stack(
      [jnp.zeros((), d).astype(h.dtype) for d in (bool, int, jnp.uint8, jnp.bfloat16)]
    )
    return h, x + jnp.sum(zero) + h

  np.testing.assert_array_equal(at_zero_carry(step)(None, jnp.zeros(C), jnp.ones(C))[1], np.ones(C))


def test_a_branch_not_taken_has_no_effect():
  called = []

  def step(params, h, x):
    noted = lambda h: (jax.debug.callback(lambda: called.append(1)), h)[1]
    return h, x + jax.lax.cond(x[0] > 1, noted, lambda h: h, h)

  jax.block_until_ready(jax.jit(at_zero_carry(step))(None, jnp.zeros(C), jnp.ones(C)))
  jax.effects_barrier()
  assert not called


@functools.cache
def trained_alone(name):
  """A state, a batch, and the parameters after an update of the full scan on one device."""
  classifier, shape, *_ = build(name)
  train = rc_jax.make_train(classifier, optax.sgd(1.0), theta=0.5, engine="full")
  xs = np.random.default_rng(2).normal(size=(6, 9, *shape)).astype(np.float32)
  batch = rc_jax.Batch(xs, np.zeros(6, np.int32), np.full(6, 9, np.int32))
  state = jax.jit(train.init)(jax.random.key(0), xs[0, 0])
  return state, batch, jax.jit(train.update)(state, batch)[0].params


@pytest.mark.parametrize("axis_name", [None, "device"])
@pytest.mark.parametrize("name", ["conv_lstm", "counter"])
def test_two_devices(two_devices, name, axis_name):
  """Zeros that meet a device's own values vary as these do; each device trains by itself or not."""
  classifier, *_ = build(name)
  train = rc_jax.make_train(
    classifier, optax.sgd(1.0), theta=0.5, engine="early_exit", axis_name=axis_name
  )
  state, batch, want = trained_alone(name)
  seen = []

  def update(state, batch):
    vary = lambda tree: jax.lax.pcast(tree, "device", to="varying")
    state = state if axis_name else jax.tree.map(vary, state)
    seen.append(starts_at_zero(classifier, state.params))
    return jax.tree.map(lambda a: a[None], train.update(state, batch)[0].params)

  got = jax.jit(
    jax.shard_map(
      update, mesh=two_devices,
      in_specs=(P(), P()), out_specs=P("device"),
    )
  )(state, batch)  # fmt: skip
  assert seen == [True]
  for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
    for own in b:
      np.testing.assert_allclose(a, own, rtol=1e-5, atol=1e-6)


def test_make_train_leaves_the_products_out():
  """Also over a named axis, which marks the carry as a device's own."""
  classifier, shape, *_ = build("lstm")
  counts = {}
  for axis_name in (None, "device"):
    train = rc_jax.make_train(classifier, optax.sgd(1.0), engine="early_exit", axis_name=axis_name)
    xs = np.ones((6, 300, *shape), np.float32)
    batch = rc_jax.Batch(xs, np.zeros(6, np.int32), np.full(6, 300, np.int32))
    state = jax.eval_shape(train.init, jax.random.key(0), xs[0, 0])
    update = jax.shard_map(
      train.update, mesh=jax.make_mesh((1,), ("device",), axis_types=(AxisType.Auto,)),
      in_specs=(P(), P()), out_specs=P(), check_vma=axis_name is not None,
    )  # fmt: skip
    counts[axis_name] = products(update, state, batch)
  learned = classifier._replace(initial_carry=lambda p: (p["bias"][:5], jnp.zeros(5)))
  train = rc_jax.make_train(learned, optax.sgd(1.0), engine="early_exit")
  more = products(train.update, state, batch)
  assert counts[None] == counts["device"] < more


@pytest.mark.parametrize("name", ["lstm", "conv_lstm", "counter"])
def test_training_from_zeros(name):
  """Values and gradients of early exit are those of the full scan, which multiplies by them."""
  classifier, params, _, _ = case(name)
  xs = np.random.default_rng(2).normal(size=(17, 9, *build(name)[1])).astype(np.float32)
  carry = jax.jit(lambda params: initial_carries(classifier, params, 17))(params)

  def loss(params, engine):
    code, _, _ = unroll_and_count(
      classifier.step,
      params,
      carry,
      xs,
      0.6,
      None,
      encode=classifier.encode,
      decode=classifier.decode,
      engine=engine,
      zero_carry=True,
    )
    return jnp.sum(jnp.sin(code.logits)), code.step

  run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
  want, got = run(params, "full"), run(params, "early_exit")
  assert len(np.unique(want[0][1])) > 1
  largest = max(np.max(np.abs(g)) for g in jax.tree.leaves(want[1]))
  for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * largest)

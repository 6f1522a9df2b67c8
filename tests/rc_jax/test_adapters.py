"""Adapters: what they refuse, and what another float type changes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawn import draw_params
from flax import linen, nnx

import rc_jax


def test_from_linen_needs_the_shape_of_an_image():
  with pytest.raises(ValueError, match=r"ConvLSTMCell takes inputs of rank 3; give .*input_shape"):
    rc_jax.from_linen(linen.ConvLSTMCell(2, (3, 3)), linen.Dense(3))


def test_from_linen_refuses_a_module_that_keeps_state():
  head = linen.Sequential([linen.BatchNorm(use_running_average=True), linen.Dense(3)])
  classifier = rc_jax.from_linen(linen.GRUCell(4), head)
  with pytest.raises(ValueError, match=r"Sequential keeps \['batch_stats'\]"):
    jax.eval_shape(classifier.init, jax.random.key(0), jnp.zeros(4))


def test_from_nnx_takes_constructors():
  rngs = nnx.Rngs(0)
  with pytest.raises(ValueError, match="from_nnx takes constructors"):
    rc_jax.from_nnx(nnx.GRUCell(4, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs))


def test_from_nnx_refuses_a_module_that_keeps_state():
  with pytest.raises(ValueError, match=r"the modules keep \['BatchStat'\]"):
    rc_jax.from_nnx(
      lambda rngs: nnx.GRUCell(4, 3, rngs=rngs), lambda rngs: nnx.BatchNorm(3, rngs=rngs)
    )


def test_from_nnx_refuses_a_module_that_draws_random_numbers():
  head = lambda rngs: nnx.Sequential(nnx.Dropout(0.5, rngs=rngs), nnx.Linear(3, 2, rngs=rngs))
  classifier = rc_jax.from_nnx(lambda rngs: nnx.GRUCell(4, 3, rngs=rngs), head)
  params = classifier.init(jax.random.key(0), jnp.zeros(4))
  for decode in (classifier.decode, jax.jit(classifier.decode)):
    with pytest.raises(ValueError, match="the modules draw random numbers in a step"):
      decode(params, {"output": jnp.zeros(3)})


class NoisyCell(nnx.GRUCell):
  """A cell that draws in its step."""

  def __init__(self, *sizes, rngs):
    super().__init__(*sizes, rngs=rngs)
    self.noise = nnx.Dropout(0.5, rngs=rngs)

  def __call__(self, carry, x):
    return super().__call__(carry, self.noise(x))


def test_from_nnx_refuses_a_cell_that_draws_random_numbers():
  classifier = rc_jax.from_nnx(
    lambda rngs: NoisyCell(4, 3, rngs=rngs), lambda rngs: nnx.Linear(3, 2, rngs=rngs)
  )
  params = classifier.init(jax.random.key(0), jnp.zeros(4))
  with pytest.raises(ValueError, match="the modules draw random numbers in a step"):
    classifier.step(params, classifier.initial_carry(params), jnp.zeros(4))


def test_from_nnx_decodes_by_its_head():
  """Cell and head equal the modules that are built from the same keys."""
  make_cell = lambda rngs: nnx.GRUCell(4, 3, rngs=rngs)
  make_head = lambda rngs: nnx.Linear(3, 2, rngs=rngs)
  classifier = rc_jax.from_nnx(make_cell, make_head)
  x, carry = jnp.linspace(-1, 1, 4), jnp.array([0.3, -0.2, 0.1])
  for seed in (0, 1):  # the second parameters find nothing left of the first
    params = classifier.init(jax.random.key(seed), x)
    cell_key, head_key = jax.random.split(jax.random.key(seed))
    expected, output = make_cell(nnx.Rngs(cell_key))(carry, x)
    got, hidden = classifier.step(params, carry, x)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    logits = make_head(nnx.Rngs(head_key))(output)
    np.testing.assert_allclose(classifier.decode(params, hidden), logits, rtol=1e-6)


def sequences(features=5, rows=6, steps=7):
  rng = np.random.default_rng(0)
  inputs = rng.normal(size=(rows, steps, features)).astype(np.float32)
  labels = rng.integers(0, 3, rows).astype(np.int32)
  return rc_jax.Batch(inputs, labels, np.full(rows, steps, np.int32))


class Squares(linen.Module):
  """An encoder with parameters, whose result by hand is one line."""

  @linen.compact
  def __call__(self, x):
    return linen.Dense(4)(x) ** 2


def test_an_encoder_is_a_part_of_the_classifier():
  """Outputs, and a trained step under both engines, against the same network as one step."""
  plain = rc_jax.gru(8, 3)
  encoded = rc_jax.with_encoder(plain, Squares())
  params = draw_params(encoded, jnp.zeros(5))

  def by_hand(params, carry, x):
    layer = params["encoder"]["params"]["Dense_0"]
    y = (x @ layer["kernel"] + layer["bias"]) ** 2
    return plain.step(params["classifier"], carry, plain.encode(params["classifier"], y))

  decode = lambda params, output: plain.decode(params["classifier"], output)
  whole = rc_jax.Classifier(encoded.init, encoded.initial_carry, by_hand, decode=decode)
  outputs = lambda c: jax.jit(
    lambda x: rc_jax.unroll(c.step, params, jnp.zeros(8), x, encode=c.encode, decode=c.decode)
  )(sequences().inputs[0])
  expected = outputs(whole)
  np.testing.assert_allclose(outputs(encoded), expected, rtol=1e-5, atol=1e-6)
  assert np.ptp(expected, axis=0).min() > 1e-3

  after = []
  for classifier, engine in ((whole, "full"), (encoded, "full"), (encoded, "early_exit")):
    train = rc_jax.make_train(classifier, optax.sgd(1.0), theta=0.45, engine=engine)
    state = rc_jax.TrainState(params, optax.sgd(1.0).init(params), np.int32(0), jax.random.key(0))
    state, metrics = jax.jit(train.update)(state, sequences())
    assert 1 < metrics.mean_spike_step < 7
    after.append(jax.tree.leaves(state.params))
  for a, b, c, before in zip(*after, jax.tree.leaves(params), strict=True):
    np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(c, a, rtol=1e-5, atol=1e-6)
    assert not np.array_equal(a, before)


def test_an_encoder_that_is_no_linen_module_is_refused():
  with pytest.raises(ValueError, match="give a Flax linen module"):
    rc_jax.with_encoder(rc_jax.gru(8, 3), jnp.tanh)


def test_an_encoder_that_keeps_state_is_refused():
  classifier = rc_jax.with_encoder(rc_jax.gru(8, 3), linen.BatchNorm(use_running_average=True))
  with pytest.raises(ValueError, match=r"BatchNorm keeps \['batch_stats'\]"):
    jax.eval_shape(classifier.init, jax.random.key(0), jnp.zeros(5))


class ScaledDense(linen.Module):
  """An encoder that casts an image's bytes itself."""

  @linen.compact
  def __call__(self, x):
    return linen.Dense(4)(x.astype(jnp.float32) / 255)


@jax.numpy_dtype_promotion("standard")  # in which Flax promotes without a word
def test_bytes_that_an_encoder_would_promote_are_refused():
  image = jnp.zeros(6, jnp.uint8)
  message = r"Dense takes float inputs, but a step is uint8\[6\]; scale and cast it first"
  classifier = rc_jax.with_encoder(rc_jax.gru(8, 3), linen.Dense(4))
  with pytest.raises(ValueError, match=message):
    classifier.init(jax.random.key(0), image)
  params = draw_params(classifier, jnp.zeros(6))
  with pytest.raises(ValueError, match=message):
    classifier.encode(params, image)


@jax.numpy_dtype_promotion("standard")
@pytest.mark.parametrize(
  "make",
  [
    lambda: rc_jax.from_linen(linen.GRUCell(4), linen.Dense(3)),
    lambda: rc_jax.from_nnx(
      lambda rngs: nnx.GRUCell(6, 4, rngs=rngs), lambda rngs: nnx.Linear(4, 3, rngs=rngs)
    ),
  ],
)
def test_bytes_that_a_cell_would_promote_are_refused(make):
  classifier, bytes_ = make(), jnp.zeros(6, jnp.uint8)
  message = r"GRUCell takes float inputs, but a step is uint8\[6\]"
  with pytest.raises(ValueError, match=message):
    classifier.init(jax.random.key(0), bytes_)
  params = jax.eval_shape(classifier.init, jax.random.key(0), jnp.zeros(6))
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(classifier.step, params, jnp.zeros(4), bytes_)


@pytest.mark.parametrize(
  "encoder, x",
  [
    (ScaledDense(), np.zeros(6, np.uint8)),
    (linen.Sequential([linen.Embed(256, 4), jnp.ravel]), np.zeros(2, np.uint8)),
    (linen.Embed(9, 4), np.int32(3)),
  ],
)
def test_an_encoder_may_take_integers_itself(encoder, x):
  classifier = rc_jax.with_encoder(rc_jax.gru(8, 3), encoder)
  params = jax.eval_shape(classifier.init, jax.random.key(0), x)
  assert jax.eval_shape(classifier.encode, params, x).shape == (24,)


def test_float32_changes_nothing():
  classifier = rc_jax.gru(8, 3)
  same = rc_jax.with_dtype(classifier, jnp.float32)
  params = draw_params(classifier, jnp.zeros(5))

  def outputs(c):
    functions = {"encode": c.encode, "decode": c.decode}
    run = lambda x: rc_jax.unroll(c.step, params, c.initial_carry(params), x, **functions)
    return jax.jit(run)(sequences().inputs[0])

  np.testing.assert_array_equal(outputs(same), outputs(classifier))


PLAIN = rc_jax.lstm(16, 3, hidden=(4,))
HALF = rc_jax.with_dtype(PLAIN, jnp.bfloat16)


@functools.cache
def first_params(classifier):
  """Its own parameters for `sequences`."""
  return jax.jit(classifier.init)(jax.random.key(0), sequences().inputs[0, 0])


@pytest.mark.parametrize("engine", ["full", "early_exit"])
def test_bfloat16_rounds_the_computation_and_nothing_else(engine):
  data, optimizer = sequences(), optax.sgd(1.0)
  states = []
  for classifier in (PLAIN, HALF):
    train = rc_jax.make_train(classifier, optimizer, theta=0.99, engine=engine)
    params = first_params(classifier)
    state = rc_jax.TrainState(params, optimizer.init(params), np.int32(0), jax.random.key(0))
    carry, encoded, output, logits = jax.eval_shape(first_step(classifier), state.params, data)
    assert logits.dtype == jnp.float32
    wanted = jnp.bfloat16 if classifier is HALF else jnp.float32
    assert {a.dtype for a in jax.tree.leaves((carry, encoded, output))} == {jnp.dtype(wanted)}
    states.append(jax.jit(train.update)(state, data)[0])
  pairs = list(zip(*(jax.tree.leaves(state.params) for state in states), strict=True))
  for a, b in pairs:
    assert a.dtype == b.dtype == jnp.float32
    np.testing.assert_allclose(a, b, atol=0.02)
  assert not all(np.array_equal(a, b) for a, b in pairs)


def first_step(classifier):
  def run(params, data):
    encoded = classifier.encode(params, data.inputs[0, 0])
    carry, output = classifier.step(params, classifier.initial_carry(params), encoded)
    return carry, encoded, output, classifier.decode(params, output)

  return run


def test_what_is_no_module_and_no_classifier():
  with pytest.raises(ValueError, match=r"cell is <function .*; give .* as linen\.GRUCell\(8\)"):
    rc_jax.from_linen(lambda x: x, linen.Dense(3))
  with pytest.raises(ValueError, match="head is None; give a Flax linen module"):
    rc_jax.from_linen(linen.GRUCell(4), None)
  for wrap in (rc_jax.with_dtype, rc_jax.with_encoder):
    with pytest.raises(ValueError, match="classifier is a dict; give a Classifier"):
      wrap({}, jnp.bfloat16)
  with pytest.raises(ValueError, match="dtype is foo; give a floating type"):
    rc_jax.with_dtype(rc_jax.lstm(2, 3), "foo")


def test_other_types_are_refused():
  with pytest.raises(ValueError, match=r"dtype is .*int32.*; give a floating type"):
    rc_jax.with_dtype(rc_jax.gru(4, 3), jnp.int32)

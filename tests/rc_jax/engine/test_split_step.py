"""What a step does before and after its recurrence: found, and computed as before."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import draw, draw_params
from flax import linen, nnx

import rc_jax
from rc_jax.engine import split_step
from rc_jax.types import identity

F, H, C = 18, 20, 3


def whole_lstm():
  """An LSTM and two dense layers in one function, as a user may write it."""
  ours = rc_jax.lstm(H, C, hidden=(17,))

  @jax.jit
  def step(params, carry, x):
    c, h = carry
    i, f, g, o = jnp.split(ours.encode(params, x) + h @ params["recurrent"], 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (c, h), ours.decode(params, {"hidden": h})

  return ours._replace(step=step, encode=identity, decode=identity)


def with_step(step):
  """A classifier of a step with these parameters."""
  shapes = {"w": (F, H), "u": (H, H), "out": (H, C), "past": (F, C)}
  init = lambda key, x: {name: jnp.zeros(shape) for name, shape in shapes.items()}
  return rc_jax.Classifier(init, lambda params: jnp.zeros(H), step)


def split(classifier):
  """The parts, shapes of what lies between them, and a test that they compute the same."""
  x = draw(jax.ShapeDtypeStruct((F,), jnp.float32), seed=2)
  params = draw_params(classifier, x)
  carry = draw(jax.eval_shape(classifier.initial_carry, params), seed=1)
  whole = classifier.run_step(params, carry, x)
  parts = split_step(classifier.step, classifier.encode, classifier.decode, params, carry, x)
  encoded = parts.encode(params, x)
  after, output = parts.step(params, carry, encoded)
  chex.assert_trees_all_close((after, parts.decode(params, output)), whole, rtol=1e-6, atol=1e-6)
  shapes = lambda tree: [leaf.shape for leaf in jax.tree.leaves(tree)]
  return parts, shapes(encoded), shapes(output)


def test_a_whole_lstm_is_split_as_ours_is():
  """Through its `jax.jit`: products of the input and of the head leave it, as many as ours has."""
  whole = whole_lstm()
  parts, encoded, output = split(whole)
  assert (encoded, output) == ([(4 * H,)], [(H,)])
  params = draw_params(whole, np.zeros(F, np.float32))
  products = lambda f, *given: str(jax.make_jaxpr(f)(params, *given)).count("dot_general")
  carry = (np.zeros(H, np.float32),) * 2
  assert products(parts.encode, np.zeros(F, np.float32)) == 1
  assert products(parts.step, carry, [np.zeros(4 * H, np.float32)]) == 1
  assert products(parts.decode, [np.zeros(H, np.float32)]) == 2


CELLS = {
  "linen": lambda: rc_jax.from_linen(linen.OptimizedLSTMCell(H), linen.Dense(C)),
  "gru": lambda: rc_jax.from_linen(linen.GRUCell(H), linen.Dense(C)),
  "nnx": lambda: rc_jax.from_nnx(
    lambda rngs: nnx.LSTMCell(F, H, rngs=rngs), lambda rngs: nnx.Linear(H, C, rngs=rngs)
  ),
  "bfloat16": lambda: rc_jax.with_dtype(
    rc_jax.from_linen(linen.LSTMCell(H), linen.Dense(C)), jnp.bfloat16
  ),
}


@pytest.mark.parametrize("name", CELLS)
def test_flax_cells_stay_whole(name):
  """Their gates are cut before they are added up: an array each, which would cost more."""
  classifier = CELLS[name]()
  parts, _, output = split(classifier)
  assert parts.step is classifier.step and output == [(H,)]


@pytest.mark.parametrize(
  "classifier, shape",
  [(rc_jax.lstm(H, C), F), (rc_jax.gru(H, C), F), (rc_jax.conv_lstm(2, C, (3, 6)), (3, 6, 1))],
)
def test_what_is_split_already_stays_as_it_is(classifier, shape):
  x = np.zeros(shape, np.float32)
  params = draw_params(classifier, x)
  carry = jax.eval_shape(classifier.initial_carry, params)
  parts = split_step(classifier.step, classifier.encode, classifier.decode, params, carry, x)
  assert parts == (classifier.encode, classifier.step, classifier.decode)


def test_logits_may_read_the_input():
  """Its product with weights goes to `encode`, and is handed on."""

  def step(params, h, x):
    h = jnp.tanh(x[0] + h @ params["u"])
    return h, h @ params["out"] + x @ params["past"]

  _, encoded, output = split(with_step(step))
  assert (sorted(encoded), sorted(output)) == ([(), (C,)], [(C,), (H,)])


def test_logits_may_read_the_carry_before_the_step():
  def step(params, h, x):
    after = jnp.tanh(h @ params["u"] + x[0])
    return after, (after - h) @ params["out"]

  _, encoded, output = split(with_step(step))
  assert (encoded, output) == ([(F,)], [(H,)] * 2)


def without_product(params, h, x):
  return jnp.tanh(h + x[0]), h[:C] * x[:C]


def of_one_term(params, h, x):
  return jnp.tanh(h + x[:1] @ params["w"][:1]), h[:C]


def with_much_to_encode(params, h, x):
  much = params["w"].T @ jnp.outer(x, x)  # 360 numbers of 18
  return jnp.tanh(h + jnp.sum(much * h[:, None], 1)), h[:C]


def with_much_inside_of_encode(params, h, x):
  return jnp.tanh(h + jnp.sum(jnp.tanh(params["w"].T @ jnp.outer(x, x)), 1)), h[:C]


def with_much_to_decode(params, h, x):
  much = jnp.outer(h, h)
  return jnp.sum(much, 1) * x[0], (much @ params["out"])[0]


def with_a_wide_head(params, h, x):
  return jnp.tanh(h + x[0]), jnp.tanh(h @ jnp.tile(params["u"], 20))[:C]


def that_calls_the_host(params, h, x):
  jax.debug.callback(lambda value: None, x[0])
  return jnp.tanh(x @ params["w"] + h), h @ params["out"]


def that_asks_the_host(params, h, x):
  x = jax.pure_callback(np.sin, x, x, vmap_method="broadcast_all")
  return jnp.tanh(x @ params["w"] + h), h @ params["out"]


@pytest.mark.parametrize(
  "step",
  [
    without_product,
    of_one_term,
    with_much_to_encode,
    with_much_inside_of_encode,
    with_much_to_decode,
    with_a_wide_head,
    that_calls_the_host,
    that_asks_the_host,
  ],
)
def test_what_is_not_worth_it_stays(step):
  parts, _, _ = split(with_step(step))
  assert parts.step is step


def test_a_store_that_the_head_reads_is_not_handed_on():
  """A carry of 40 vectors that stays as it is: of all row-steps it would take much memory."""

  def step(params, carry, x):
    h, store = carry
    h = jnp.tanh(x @ params["w"] + h @ params["u"])
    return (h, store), jax.nn.softmax(store @ h) @ store @ params["out"]

  classifier = with_step(step)._replace(initial_carry=lambda p: (jnp.zeros(H), jnp.zeros((40, H))))
  _, encoded, output = split(classifier)
  assert (encoded, output) == ([(H,)], [(C,)])


def test_an_output_may_hold_constants():
  """Numbers of Python, which are no variables of the step's jaxpr."""

  def step(params, h, x):
    h = jnp.tanh(x @ params["w"] + h)
    return h, {"first": h[:C], "scale": 2.0}

  classifier = with_step(step)._replace(decode=lambda params, out: out["first"] * out["scale"])
  _, encoded, output = split(classifier)
  assert (encoded, output) == ([(H,)], [(C,)])


def test_replicated_parameters_on_two_devices(two_devices):
  whole = whole_lstm()
  params = draw_params(whole, np.zeros(F, np.float32), scale=0.4)
  xs = draw(jax.ShapeDtypeStruct((4, 5, F), jnp.float32), seed=3, scale=1)

  def loss(params, carry, xs):
    code = rc_jax.unroll_to_spike(whole.step, params, carry, xs, 0.5, engine="full")
    return jnp.sum(code.logits**2)

  rows = jax.sharding.PartitionSpec("device")
  everywhere = jax.sharding.PartitionSpec()
  on_two = jax.shard_map(
    jax.grad(loss), mesh=two_devices, in_specs=(everywhere, rows, rows), out_specs=everywhere
  )
  carry = (np.zeros((4, H), np.float32),) * 2
  got, want = (jax.jit(f)(params, carry, xs) for f in (on_two, jax.grad(loss)))
  chex.assert_trees_all_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("engine", ["full", rc_jax.EarlyExit(widths=2)])
def test_training_a_whole_step_is_training_the_split_one(engine):
  """Values and gradients, of params and inputs, of rows that end early and of such that spike."""
  whole, ours = whole_lstm(), rc_jax.lstm(H, C, hidden=(17,))
  params = draw_params(ours, np.zeros(F, np.float32), scale=0.4)
  xs = draw(jax.ShapeDtypeStruct((16, 7, F), jnp.float32), seed=3, scale=1)
  lengths = np.arange(16, dtype=np.int32) % 5 + 3

  def run(classifier, engine):
    carry = (np.zeros((16, H), np.float32),) * 2

    def loss(params, xs):
      code = rc_jax.unroll_to_spike(
        classifier.step, params, carry, xs, 0.5, lengths,
        encode=classifier.encode, decode=classifier.decode, engine=engine,
      )  # fmt: skip
      return jnp.sum(code.logits**2), code.step

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(params, xs)

  expected = run(ours, "full")
  assert 0 < np.mean(expected[0][1] + 1 < lengths) < 1
  chex.assert_trees_all_close(run(whole, engine), expected, rtol=1e-5, atol=1e-5)

"""One contract for every classifier, and the ready-made ones against Flax and XLA."""

import functools
import itertools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest
from drawn import draw_params
from flax import linen, nnx

import rc_jax
from rc_jax import convolution
from rc_jax.engine import initial_carries

T, B = 4, 12
IMAGE = (4, 3, 1)
flat_dense = lambda classes: linen.Sequential([jnp.ravel, linen.Dense(classes)])


def hand_written():
  """An Elman network in a dozen lines of JAX, its carry a parameter."""

  def init(key, x):
    w, u, v = jax.random.split(key, 3)
    return {
      "W": 0.5 * jax.random.normal(w, (x.shape[0], 8)),
      "U": 0.3 * jax.random.normal(u, (8, 8)),
      "V": 0.3 * jax.random.normal(v, (8, 3)),
      "h0": jnp.full(8, 0.1),
    }

  def step(params, h, x):
    h = jnp.tanh(x @ params["W"] + h @ params["U"])
    return h, h @ params["V"]

  return rc_jax.Classifier(init, lambda params: params["h0"], step)


def equinox_gru():
  eqx = pytest.importorskip("equinox")

  def build(key):
    cell_key, head_key = jax.random.split(key)
    return eqx.nn.GRUCell(4, 8, key=cell_key), eqx.nn.Linear(8, 3, key=head_key)

  _, static = eqx.partition(build(jax.random.key(0)), eqx.is_inexact_array)

  def init(key, x):
    del x
    return eqx.partition(build(key), eqx.is_inexact_array)[0]

  def step(params, h, x):
    cell, head = eqx.combine(params, static)
    h = cell(x, h)
    return h, head(h)

  return rc_jax.Classifier(init, lambda params: jnp.zeros(8), step)


# name: (constructor, shape of a step's input, C)
KINDS = {
  "lstm": (lambda: rc_jax.lstm(8, 3), (4,), 3),
  "lstm single_output": (lambda: rc_jax.lstm(8, 2, single_output=True), (4,), 2),
  "lstm hidden": (lambda: rc_jax.lstm(8, 3, hidden=(32,)), (4,), 3),
  "lstm layers": (lambda: rc_jax.lstm(8, 3, layers=2), (4,), 3),
  "gru": (lambda: rc_jax.gru(8, 3), (4,), 3),
  "gru layers": (lambda: rc_jax.gru(8, 3, layers=2), (4,), 3),
  "conv_lstm": (lambda: rc_jax.conv_lstm(2, 3, IMAGE[:2]), IMAGE, 3),
  "linen LSTMCell": (
    lambda: rc_jax.from_linen(linen.OptimizedLSTMCell(8), linen.Dense(3)),
    (4,),
    3,
  ),
  "linen GRUCell": (lambda: rc_jax.from_linen(linen.GRUCell(8), linen.Dense(3)), (4,), 3),
  "linen ConvLSTMCell": (
    lambda: rc_jax.from_linen(linen.ConvLSTMCell(2, (3, 3)), flat_dense(3), input_shape=IMAGE),
    IMAGE,
    3,
  ),
  "nnx": (
    lambda: rc_jax.from_nnx(
      lambda rngs: nnx.LSTMCell(4, 8, rngs=rngs), lambda rngs: nnx.Linear(8, 3, rngs=rngs)
    ),
    (4,),
    3,
  ),
  "hand-written": (hand_written, (4,), 3),
  "Equinox": (equinox_gru, (4,), 3),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def built(kind):
  """The classifier, its parameters, one step's input, and its init under jit."""
  constructor, shape, _ = KINDS[kind]
  classifier = constructor()
  x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
  init = jax.jit(classifier.init)
  return classifier, init(jax.random.key(1), x), x, init


def examples(kind, seed):
  """A class is a pattern that shows at the second step alone: the rest is noise."""
  _, shape, classes = KINDS[kind]
  which = np.arange(np.prod(shape)).reshape(shape) % classes
  patterns = np.stack([2.0 * (which == c) for c in range(classes)])
  labels = np.arange(B, dtype=np.int32) % classes
  inputs = 0.1 * np.random.default_rng(seed).normal(size=(B, T, *shape))
  inputs[:, 0] = 0
  inputs[:, 1] += patterns[labels]
  lengths = np.where(np.arange(B) % 4, T, T - 1).astype(np.int32)
  return rc_jax.Batch(inputs.astype(np.float32), labels, lengths)


@every_kind
def test_contract_of_shapes(kind):
  classifier, params, x, _ = built(kind)
  for leaf in jax.tree.leaves(params):
    assert isinstance(leaf, jax.Array) and leaf.dtype == jnp.float32
  carry = jax.eval_shape(classifier.initial_carry, params)
  encoded = jax.eval_shape(classifier.encode, params, x)
  after, output = jax.eval_shape(classifier.step, params, carry, encoded)
  logits = jax.eval_shape(classifier.decode, params, output)
  chex.assert_trees_all_equal_shapes_and_dtypes(after, carry)
  assert logits.shape == (KINDS[kind][2],) and logits.dtype == jnp.float32


@every_kind
def test_init_draws_from_its_key_alone(kind):
  _, params, x, init = built(kind)
  other = init(jax.random.key(2), x)
  chex.assert_trees_all_equal_shapes_and_dtypes(other, params)
  biases = lambda leaf: np.ptp(leaf) == 0 or set(np.unique(leaf)) == {0, 1}
  drawn = lambda tree: [leaf for leaf in jax.tree.leaves(tree) if not biases(leaf)]
  assert len(drawn(params)) >= 2
  assert not any(map(np.array_equal, drawn(other), drawn(params)))


@every_kind
def test_rows_do_not_leak_into_one_another(kind):
  classifier, params, _, _ = built(kind)
  batch = examples(kind, seed=3)

  @jax.jit
  def run(xs, lengths):
    carry = initial_carries(classifier, params, B)
    functions = {"encode": classifier.encode, "decode": classifier.decode}
    return rc_jax.unroll_to_spike(classifier.step, params, carry, xs, 0.55, lengths, **functions)

  read = lambda *arguments: jax.tree.map(np.asarray, run(*arguments))
  expected = read(batch.inputs, batch.lengths)
  assert np.ptp(expected.logits, axis=0).max() > 1e-3
  for row in (0, 5):
    others = np.arange(B) != row
    inputs = np.where(others.reshape(B, *[1] * (batch.inputs.ndim - 1)), np.nan, batch.inputs)
    code = read(inputs, np.where(others, 1, batch.lengths).astype(np.int32))
    assert code.step[row] == expected.step[row]
    np.testing.assert_allclose(code.logits[row], expected.logits[row], atol=1e-6)
    assert np.isnan(code.logits[others]).any(-1).all()


# At the end all kinds are read by the same code.
@pytest.mark.parametrize(
  ("kind", "objective"),
  [
    *((kind, "rc") for kind in ("lstm hidden", "conv_lstm", "linen GRUCell", "nnx")),
    *((kind, "rc") for kind in ("hand-written", "Equinox")),
    ("lstm", "eos"),
  ],
)
def test_learns_patterns(kind, objective):
  classifier, params, _, _ = built(kind)
  optimizer = optax.rmsprop(0.01)
  theta = {"rc": 0.9, "eos": 0.9999}[objective]  # eos: late, so that `accuracy` is at the end
  train = rc_jax.make_train(classifier, optimizer, objective=objective, theta=theta)
  start = lambda: rc_jax.TrainState(params, optimizer.init(params), jnp.int32(0), jax.random.key(0))
  fixed, unseen = examples(kind, seed=4), examples(kind, seed=5)
  batches = jax.tree.map(lambda a, b: np.stack([a] * 60 + [b]), fixed, unseen)
  _, metrics = jax.jit(lambda: jax.lax.scan(train.update, start(), batches))()
  metrics = jax.tree.map(np.asarray, metrics)
  assert metrics.loss[59] < 0.3 * metrics.loss[0]
  assert metrics.accuracy[59] == 1
  assert metrics.accuracy[60] == 1  # an update's metrics are of the parameters before it
  if objective == "rc":
    assert metrics.no_spike_fraction[0] > 0
    assert metrics.no_spike_fraction[59] == 0
    assert metrics.mean_spike_step[59] < metrics.mean_spike_step[0]


def outputs_of(classifier, params, xs):
  @jax.jit
  def run(params):
    carry = classifier.initial_carry(params)
    functions = {"encode": classifier.encode, "decode": classifier.decode}
    return rc_jax.unroll(classifier.step, params, carry, xs, **functions)

  return np.asarray(run(params))


def outputs_of_linen(cell, variables, head, xs):
  """Every step by Flax alone, in a Python loop; `head` is a function."""
  carry = jax.eval_shape(lambda: cell.initialize_carry(jax.random.key(0), xs.shape[1:]))
  carry, logits = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), carry), []
  step = jax.jit(cell.apply)
  for x in xs:
    carry, output = step({"params": variables}, carry, x)
    logits.append(head(np.asarray(output, np.float64).reshape(-1)))
  return np.stack(logits)


def dense(layer):
  return lambda h: h @ layer["kernel"] + layer["bias"]


def steps_of(*shape):
  return np.random.default_rng(7).normal(size=(T, *shape)).astype(np.float32)


@pytest.mark.parametrize("cell", [linen.LSTMCell(6), linen.OptimizedLSTMCell(6)])
def test_lstm_equals_flax(cell):
  xs, classifier = steps_of(4), rc_jax.lstm(6, 3)
  params = draw_params(classifier, xs[0])
  flax = {}
  for k, gate in enumerate("ifgo"):
    block = slice(6 * k, 6 * k + 6)
    flax[f"i{gate}"] = {"kernel": params["input"][:, block]}
    flax[f"h{gate}"] = {
      "kernel": params["recurrent"][:, block],
      "bias": params["bias"][block],
    }
  expected = outputs_of_linen(cell, flax, dense(params["head"][0]), xs)
  np.testing.assert_allclose(outputs_of(classifier, params, xs), expected, atol=1e-5)


def gru_step(layer, h, x):
  r, z, n = np.split(x @ layer["input"] + layer["bias"], 3)
  from_r, from_z, from_n = np.split(h @ layer["recurrent"], 3)
  z = oracle.sigmoid(z + from_z)
  n = np.tanh(n + oracle.sigmoid(r + from_r) * (from_n + layer["candidate_bias"]))
  return (1 - z) * n + z * h


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("constructor", [rc_jax.lstm, rc_jax.gru])
def test_layers_equal_numpy(constructor, layers):
  xs, classifier = steps_of(4), constructor(6, 3, layers=layers)
  params = draw_params(classifier, xs[0])
  assert len(params.get("upper", ())) == layers - 1
  stack = jax.tree.map(np.float64, [params, *params.get("upper", ())])
  carries, expected = [(np.zeros(6), np.zeros(6)) for _ in stack], []
  for x in np.float64(xs):
    for k, layer in enumerate(stack):
      c, h = carries[k]
      if constructor is rc_jax.lstm:
        weights = {"W": layer["input"], "U": layer["recurrent"], "b": layer["bias"]}
        carries[k] = oracle.lstm_step(weights, c, h, x)
      else:
        carries[k] = (c, gru_step(layer, h, x))
      x = carries[k][1]
    expected.append(dense(params["head"][0])(x))
  np.testing.assert_allclose(outputs_of(classifier, params, xs), expected, atol=1e-5)


@pytest.mark.parametrize(
  "constructor, biases",
  [(rc_jax.lstm, {"bias": 24}), (rc_jax.gru, {"bias": 18, "candidate_bias": 6})],
)
def test_one_layer_has_the_parameters_of_kept_checkpoints(constructor, biases):
  """The tree of before `layers`, and values of its draws: kept runs must load, and be redrawn."""
  init, x = constructor(6, 3, hidden=(5,)).init, np.zeros(4, np.float32)
  params = jax.eval_shape(init, jax.random.key(0), x)
  gates = biases["bias"]
  assert jax.tree.map(jnp.shape, params) == {
    "input": (4, gates),
    "recurrent": (6, gates),
    "head": [{"bias": (5,), "kernel": (6, 5)}, {"bias": (3,), "kernel": (5, 3)}],
    **{name: (size,) for name, size in biases.items()},
  }

  @jax.jit
  def draw_first(key):
    params = init(key, x)
    kernels = [params["input"], *(layer["kernel"] for layer in params["head"])]
    return [a.ravel()[0] for a in kernels]

  np.testing.assert_allclose(
    draw_first(jax.random.key(0)), [0.5350889, -0.6266711, 0.3185237], rtol=1e-5
  )
  carry = jax.eval_shape(constructor(6, 3).initial_carry, params)
  assert jax.tree.structure(carry) == jax.tree.structure({24: (0, 0), 18: 0}[gates])


@pytest.mark.parametrize("layers, given", [(1, 2), (2, 1), (2, 3)])
@pytest.mark.parametrize("constructor", [rc_jax.lstm, rc_jax.gru])
def test_parameters_of_another_number_of_layers(constructor, layers, given):
  params = draw_params(constructor(2, 3, layers=given), jnp.zeros(4))
  data = rc_jax.Batch(np.zeros((2, 3, 4), np.float32), np.zeros(2, np.int32), np.full(2, 3))
  message = f"has layers={layers}, but its parameters are for layers={given}"
  with pytest.raises(ValueError, match=message):
    rc_jax.evaluate(constructor(2, 3, layers=layers), params, data, 0.8)


@pytest.mark.parametrize("size", [1.5, "2", None])
def test_sizes_that_are_no_whole_numbers(size):
  with pytest.raises(ValueError, match=r"layers is .*; give a whole number"):
    rc_jax.lstm(4, 3, layers=size)


def test_layers_start_different():
  init = jax.jit(rc_jax.gru(6, 3, layers=3).init)
  params = jax.tree.map(np.asarray, init(jax.random.key(0), np.zeros(6, np.float32)))
  recurrent = [layer["recurrent"] for layer in (params, *params["upper"])]
  inputs = [layer["input"] for layer in (params, *params["upper"])]
  for one, two in itertools.combinations(recurrent + inputs, 2):
    assert np.abs(one - two).min() > 0


def test_each_layer_of_an_lstm_marks_its_gate_sum():
  classifier, params, x, _ = built("lstm layers")
  carry = jax.eval_shape(classifier.initial_carry, params)
  encoded = jax.eval_shape(classifier.encode, params, x)
  jaxpr = jax.make_jaxpr(classifier.step)(params, carry, encoded)
  marked = [e for e in jaxpr.eqns if e.primitive.name == "name"]
  assert [e.outvars[0].aval.shape for e in marked] == [(32,), (32,)]


def test_gru_equals_flax():
  xs, classifier = steps_of(4), rc_jax.gru(6, 3)
  params = draw_params(classifier, xs[0])
  flax = {}
  for k, gate in enumerate("rzn"):
    block = slice(6 * k, 6 * k + 6)
    flax[f"i{gate}"] = {"kernel": params["input"][:, block], "bias": params["bias"][block]}
    flax[f"h{gate}"] = {"kernel": params["recurrent"][:, block]}
  flax["hn"]["bias"] = params["candidate_bias"]
  expected = outputs_of_linen(linen.GRUCell(6), flax, dense(params["head"][0]), xs)
  np.testing.assert_allclose(outputs_of(classifier, params, xs), expected, atol=1e-5)


def test_conv_lstm_equals_flax():
  xs, classifier = steps_of(5, 4, 2), rc_jax.conv_lstm(3, 3, (5, 4))
  params = draw_params(classifier, xs[0])
  reorder = lambda a: np.concatenate([np.split(a, 4, -1)[k] for k in (0, 2, 1, 3)], -1)  # i g f o
  bias = params["bias"].copy()
  bias[3:6] -= 1  # Flax adds 1 to the forget gate at every step
  flax = {
    "ih": {"kernel": reorder(params["input"]), "bias": reorder(bias)},
    "hh": {"kernel": reorder(params["recurrent"]), "bias": np.zeros(12, np.float32)},
  }
  cell = linen.ConvLSTMCell(3, (3, 3))
  expected = outputs_of_linen(cell, flax, dense(params["head"][0]), xs)
  np.testing.assert_allclose(outputs_of(classifier, params, xs), expected, atol=1e-5)


@pytest.mark.parametrize(("kernel", "length"), [(1, 4), (3, 5), (5, 4), (3, 1)])
def test_convolution_equals_xla(kernel, length):
  """Rows of an even and of an odd number of pixels, also of fewer than the kernel has."""
  image = steps_of(6, length, 2)[0]
  classifier = rc_jax.conv_lstm(2, 3, (6, length), kernel=kernel)
  params = draw_params(classifier, image)

  @jax.jit
  def convolved(params, image):
    numbers = ("NHWC", "HWIO", "NHWC")
    expected = jax.lax.conv_general_dilated(
      image[None], params["input"], (1, 1), "SAME", dimension_numbers=numbers
    )
    library = convolution._convolve_by_library(image, params["input"])  # what other backends run
    return classifier.encode(params, image), expected[0], library

  got, expected, library = map(np.asarray, convolved(params, image))
  np.testing.assert_allclose(got, expected + params["bias"], atol=1e-5)
  np.testing.assert_allclose(library, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 2, 2, 3), (3, 1, 2, 3), (3, 3, 4, 3), (3, 3, 2)])
def test_a_kernel_that_backends_would_place_differently_is_refused(shape):
  with pytest.raises(ValueError, match=r"kernel has shape .*; give \[K, K, F, G\], K odd, F"):
    rc_jax.convolve(jnp.zeros((6, 4, 2)), jnp.zeros(shape))


@pytest.mark.parametrize("shape", [(2, 6, 4, 2), (6, 4)])
def test_what_is_not_one_image_is_refused(shape):
  with pytest.raises(ValueError, match=r"image has shape .*; give one image \[Y, X, F\]"):
    rc_jax.convolve(jnp.zeros(shape), jnp.zeros((3, 3, 2, 3)))


@pytest.mark.parametrize("constructor", [rc_jax.lstm, rc_jax.gru])
def test_heads(constructor):
  xs = steps_of(4)
  plain = constructor(6, 3)
  params = draw_params(plain, xs[0])
  identity = [{"kernel": np.eye(6, dtype=np.float32), "bias": np.zeros(6, np.float32)}]
  h = outputs_of(constructor(6, 6), {**params, "head": identity}, xs)
  np.testing.assert_allclose(outputs_of(plain, params, xs), dense(params["head"][0])(h), atol=1e-5)

  hidden = constructor(6, 3, hidden=(7, 5))
  layers = draw_params(hidden, xs[0], seed=1)["head"]
  assert [layer["kernel"].shape for layer in layers] == [(6, 7), (7, 5), (5, 3)]
  expected = h
  for layer in layers[:-1]:
    expected = np.maximum(dense(layer)(expected), 0)
  expected = dense(layers[-1])(expected)
  got = outputs_of(hidden, {**params, "head": layers}, xs)
  np.testing.assert_allclose(got, expected, atol=1e-5)

  single = constructor(6, 2, single_output=True)
  (layer,) = draw_params(single, xs[0], seed=2)["head"]
  logits = outputs_of(single, {**params, "head": [layer]}, xs)
  assert not np.any(logits[:, 0])
  z = dense(layer)(h)[:, 0]
  probabilities = np.array([oracle.softmax(row) for row in logits])
  np.testing.assert_allclose(probabilities[:, 1], oracle.sigmoid(z), atol=1e-5)


@pytest.mark.parametrize(
  "constructor, x",
  [
    (functools.partial(rc_jax.lstm, 6, 3), np.zeros(4, np.float32)),
    (functools.partial(rc_jax.conv_lstm, 6, 3, (4, 3)), np.zeros((4, 3, 1), np.float32)),
  ],
)
def test_forget_bias(constructor, x):
  for given, expected in (({}, 1.0), ({"forget_bias": 2.5}, 2.5)):
    init = constructor(**given).init
    bias = jax.jit(lambda key, init=init: init(key, x)["bias"])(jax.random.key(0))
    assert bias.tolist() == [0.0] * 6 + [expected] * 6 + [0.0] * 12


def test_recurrent_weights_start_orthogonal():
  init = lambda key: rc_jax.lstm(6, 3).init(key, np.zeros(4, np.float32))["recurrent"]
  recurrent = jax.jit(init)(jax.random.key(0))
  for block in np.split(np.asarray(recurrent), 4, axis=1):
    np.testing.assert_allclose(block @ block.T, np.eye(6), atol=1e-5)


@pytest.mark.parametrize(
  "construct, message",
  [
    (lambda: rc_jax.lstm(0, 3), "units is 0; give a whole number of 1 or more"),
    (lambda: rc_jax.lstm(4, 3, layers=0), "layers is 0; give a whole number of 1 or more"),
    (lambda: rc_jax.gru(-1, 3), "units is -1; give a whole number of 1 or more"),
    (lambda: rc_jax.conv_lstm(0, 3, (4, 4)), "units is 0; give a whole number of 1 or more"),
    (lambda: rc_jax.lstm(4, 1), "num_classes is 1; a head has 2 or more"),
    (
      lambda: rc_jax.lstm(4, 3, hidden=32),
      r"hidden is 32; give the widths of all layers, as \(32,\)",
    ),
    (lambda: rc_jax.gru(4, 0), "num_classes is 0; give a whole number of 1 or more"),
    (lambda: rc_jax.lstm(4, 3, single_output=True), "num_classes is 3; .* one sigmoid output has"),
    (
      lambda: rc_jax.lstm(4, 3, hidden=(8, 0)),
      r"hidden\[1\] is 0; give a whole number",
    ),
    (lambda: rc_jax.conv_lstm(4, 3, (4, 4), kernel=2), "kernel is 2; an odd width"),
    (
      lambda: rc_jax.conv_lstm(4, 3, (4, 4), kernel=0),
      "kernel is 0; give a whole number",
    ),
    (lambda: rc_jax.conv_lstm(4, 3, (0, 5)), r"image_shape\[0\] is 0; give a whole number"),
    (lambda: rc_jax.conv_lstm(4, 3, (4, 5.0)), r"image_shape\[1\] is 5\.0; give a whole number"),
    (lambda: rc_jax.lstm(4, 3, hidden=np.int64(3)), "hidden is 3; give the widths of all layers"),
    (lambda: rc_jax.conv_lstm(4, 3, 28), r"image_shape is 28; give \(Y, X\)"),
  ],
)
def test_bad_sizes(construct, message):
  with pytest.raises(ValueError, match=message):
    construct()


@pytest.mark.parametrize(
  "classifier, x, message",
  [
    (
      rc_jax.lstm(4, 3),
      np.zeros((2, 3), np.float32),
      r"lstm takes a float input of rank 1 .*float32\[2, 3\]; of .* give one step, inputs\[0, 0\]",
    ),
    (
      rc_jax.lstm(4, 3),
      np.zeros(3, np.int32),
      r"a step is int32\[3\]; cast it first, as x\.astype\(jnp\.float32\)$",
    ),
    (
      rc_jax.lstm(4, 3),
      {"a": np.zeros(3, np.float32)},
      r"lstm takes one array a step, .*'a'.*; join its leaves",
    ),
    (rc_jax.gru(4, 3), np.float32(1), r"gru takes a float input of rank 1 .*float32\[\]"),
    (
      rc_jax.conv_lstm(4, 3, (4, 3)),
      np.zeros((4, 3), np.float32),
      "conv_lstm takes a float input of rank 3",
    ),
    (rc_jax.conv_lstm(4, 3, (4, 3)), np.zeros((3, 4, 1), np.float32), r"built for images \(4, 3\)"),
  ],
)
def test_bad_inputs(classifier, x, message):
  with pytest.raises(ValueError, match=message):
    classifier.init(jax.random.key(0), x)


@pytest.mark.parametrize(
  "classifier, shape, other",
  [
    (rc_jax.lstm(4, 3), (2,), (3,)),
    (rc_jax.gru(4, 3), (2,), (3,)),
    (rc_jax.conv_lstm(4, 3, (4, 3)), (4, 3, 1), (4, 3, 2)),
  ],
)
def test_inputs_of_another_size_than_the_parameters(classifier, shape, other):
  params = draw_params(classifier, jnp.zeros(shape))
  with pytest.raises(ValueError, match=r"_?[a-z]+'s parameters are for steps .*, but got"):
    classifier.encode(params, jnp.zeros(other))


@pytest.mark.parametrize(
  "name, classifier, shape",
  [
    ("lstm", rc_jax.lstm(4, 3), (784,)),
    ("gru", rc_jax.gru(4, 3), (784,)),
    ("conv_lstm", rc_jax.conv_lstm(4, 3, (4, 3)), (4, 3, 1)),
  ],
)
@jax.numpy_dtype_promotion("standard")  # in which JAX would promote without a word
def test_bytes_are_refused_with_the_cast_to_write(name, classifier, shape):
  image = jnp.zeros(shape, jnp.uint8)
  message = (
    f"{name} takes float inputs, but a step is uint8{list(shape)}; "
    "scale and cast it first, as x.astype(jnp.float32) / 255"
  )
  params = draw_params(classifier, jnp.zeros(shape))
  for function, argument in ((classifier.init, jax.random.key(0)), (classifier.encode, params)):
    with pytest.raises(ValueError, match=re.escape(message)):
      function(argument, image)

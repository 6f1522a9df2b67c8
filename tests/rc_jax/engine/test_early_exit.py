"""The early-exit engine against every step of `unroll`: the same results, and less work."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

import rc_jax
from rc_jax.types import identity
from rc_jax.unroll import unroll_and_count

C = 3
THETA = 0.9


def forced(classifier):
  """The classifier with an input channel more, `[..., F + 1]`, that is added to logit 0.

  So a test says when a row spikes, and yet the net itself decides.
  """

  def encode(params, x):
    return {"net": classifier.encode(params, x[..., :-1]), "force": x.reshape(-1)[-1]}

  def step(params, carry, encoded):
    carry, output = classifier.step(params, carry, encoded["net"])
    return carry, (output, encoded["force"])

  def decode(params, output):
    return classifier.decode(params, output[0]).at[0].add(output[1])

  return classifier._replace(encode=encode, step=step, decode=decode)


def hand_written():
  """A dict carry with a counter in it, integer inputs, an integer parameter, a table."""

  def init(key, x):
    del x
    table, w, out = jax.random.split(key, 3)
    return {
      "table": jax.random.normal(table, (150, 4)),
      "w": 0.5 * jax.random.normal(w, (4, 4)),
      "out": jax.random.normal(out, (4, C)),
      "period": jnp.int32(3),
    }

  def encode(params, x):
    return params["table"][x], x

  def step(params, carry, encoded):
    embedded, symbol = encoded
    phase = (carry["count"] + symbol) % params["period"]
    h = jnp.tanh(carry["h"] @ params["w"] + embedded + 0.1 * phase.astype(jnp.float32))
    return {"h": h, "count": carry["count"] + 1}, h @ params["out"]

  def initial_carry(params):
    del params
    return {"h": jnp.zeros(4), "count": jnp.int32(0)}

  return rc_jax.Classifier(init, initial_carry, step, encode)


def counting():
  """Counts the tokens that `encode` makes of inputs: nothing of a step need be stored."""

  def init(key, x):
    del x
    code, out = jax.random.split(key)
    return {"code": jax.random.normal(code, (40, 6)), "out": jax.random.normal(out, (6, C))}

  def step(params, h, token):
    del params
    h = 0.9 * h + jax.nn.one_hot(token, 6)
    return h, h

  return rc_jax.Classifier(
    init,
    lambda params: jnp.zeros(6),
    step,
    encode=lambda params, x: jnp.argmax(x @ params["code"]),
    decode=lambda params, h: h @ params["out"],
  )


def without_encode(classifier):
  step = lambda p, c, x: classifier.step(p, c, classifier.encode(p, x))
  return rc_jax.Classifier(
    classifier.init, classifier.initial_carry, step, decode=classifier.decode
  )


LSTM = rc_jax.lstm(5, C)
NETS = {  # 40 inputs: `encode` stands apart from the step; 5: it is left there
  "lstm": (LSTM, (5,)),
  "lstm_wide": (LSTM, (40,)),
  "lstm_without_encode": (without_encode(LSTM), (40,)),
  "gru": (rc_jax.gru(4, C, hidden=(3,)), (40,)),
  "conv_lstm": (rc_jax.conv_lstm(2, C, (4, 3)), (4, 3, 2)),
  "forced": (forced(LSTM), (41,)),
  "hand_written": (hand_written(), ()),
  "counting": (counting(), (40,)),
}


def case(name, rows, steps, seed=0):
  classifier, shape = NETS[name]
  channels = shape and (*shape[:-1], shape[-1] - (name == "forced"))  # what the net itself sees
  rng = np.random.default_rng(seed)
  if name == "hand_written":
    xs = rng.integers(0, 150, (rows, steps)).astype(np.int32)
  else:
    xs = draw(rng, rows, steps, *shape)
  params = initial_params(classifier.init, seed, np.zeros(channels, xs.dtype))
  carry = jax.eval_shape(classifier.initial_carry, params)
  carry = jax.tree.map(lambda a: draw(rng, rows, *a.shape).astype(a.dtype), carry)
  lengths = rng.integers(1, steps + 1, rows).astype(np.int32)
  return classifier, params, carry, xs, lengths


def draw(rng, *shape):
  """Normal numbers of the type that JAX has for floats just now."""
  return rng.normal(size=shape).astype(jax.dtypes.canonicalize_dtype(float))


@functools.partial(jax.jit, static_argnums=0)
def initial_params(init, seed, x):
  return init(jax.random.key(seed), x)


def every_step(classifier, params, carry, xs, theta, lengths):
  functions = {"encode": classifier.encode, "decode": classifier.decode}
  one = lambda c, x: rc_jax.unroll(classifier.step, params, c, x, **functions)
  return rc_jax.rank_code(jax.vmap(one)(carry, xs), theta, lengths)


def counted(classifier, *arguments, **options):
  """Rank code and computed share of `(params, carry, xs, theta, lengths)`, and logits if kept."""
  functions = {"encode": classifier.encode, "decode": classifier.decode}
  return unroll_and_count(classifier.step, *arguments, **functions, **options)


def early(classifier, *arguments):
  functions = {"encode": classifier.encode, "decode": classifier.decode}
  return rc_jax.unroll_to_spike(classifier.step, *arguments, **functions, engine="early_exit")


@functools.partial(jax.jit, static_argnums=(0, 1))
def value_and_gradients(way, classifier, params, carry, xs, theta, lengths):
  def loss(params, carry, xs):
    code = way(classifier, params, carry, xs, theta, lengths)
    return jnp.sum(jnp.sin(code.logits)), code

  gradients = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True, allow_int=True)
  return gradients(params, carry, xs)


def assert_same(plain, other, tolerance=1e-6):
  """Whole numbers alike; floats within the tolerance of the largest entry of all."""
  is_float = lambda a: jnp.issubdtype(a.dtype, jnp.floating)
  entries = [np.max(np.abs(a)) for a in jax.tree.leaves(plain) if is_float(a) and a.size]
  allowed = tolerance * float(max(entries))
  for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
    assert a.dtype == b.dtype
    if a.dtype != jax.dtypes.float0:
      np.testing.assert_allclose(a, b, rtol=0, atol=allowed if is_float(a) else 0)


def assert_same_gradients(plain, other, tolerance=1e-6):
  """Results of `value_and_gradients`: values and gradients have scales of their own."""
  assert_same(plain[0], other[0], tolerance)
  assert_same(plain[1], other[1], tolerance)


# Every net in one loop, three of them in one step and in a chain of widths; the rest is slow.
QUICK = {(name, (3, 5)) for name in NETS}
QUICK |= {(name, (1, 1)) for name in ("lstm_wide", "conv_lstm", "hand_written")}
QUICK |= {(name, (25, 13)) for name in ("lstm", "forced", "hand_written")}
GRID = [
  pytest.param(name, *size, marks=() if (name, size) in QUICK else pytest.mark.slow)
  for size in [(1, 1), (3, 5), (25, 13), (17, 58), (130, 3), (7, 300)]
  for name in NETS
]


@pytest.mark.parametrize(("name", "rows", "steps"), GRID)
def test_values_and_gradients_are_those_of_every_step(name, rows, steps):
  classifier, params, carry, xs, lengths = case(name, rows, steps)
  theta = np.linspace(0.9, 0.6, steps, dtype=np.float32)
  padded = xs
  if name != "hand_written":
    valid = np.arange(steps)[None] < lengths[:, None]
    valid = valid.reshape(rows, steps, *(1,) * (xs.ndim - 2))
    padded, xs = (np.where(valid, xs, np.float32(rest)) for rest in (np.nan, 0))
  want = value_and_gradients(every_step, classifier, params, carry, xs, theta, lengths)
  got = value_and_gradients(early, classifier, params, carry, padded, theta, lengths)
  assert_same_gradients(want, got)


@pytest.mark.parametrize(
  ("name", "rows", "theta"), [("lstm_wide", 40, 0.42), ("hand_written", 17, 0.9)]
)
def test_rows_that_run_to_their_end(name, rows, theta):
  """Their gradient enters at the last step; their spike is noted on the way."""
  classifier, params, carry, xs, lengths = case(name, rows, 13)

  def loss(params, carry, engine):
    arguments = (params, carry, xs, theta, lengths)
    code, fraction, _ = counted(classifier, *arguments, engine=engine, to_end=True)
    return jnp.sum(jnp.sin(code.logits)), (code, fraction)

  run = jax.jit(
    jax.value_and_grad(loss, argnums=(0, 1), has_aux=True, allow_int=True), static_argnums=2
  )
  (_, (code, full)), gradient = run(params, carry, "full")
  (_, (same_code, early)), same_gradient = run(params, carry, "early_exit")
  assert 0 < np.mean(code.spiked) < 1 and np.any(np.asarray(code.step) < lengths - 1)
  assert_same(code, same_code)
  assert_same(gradient, same_gradient)
  assert np.mean(lengths) / 13 <= float(early) < float(full) == 1


@pytest.mark.parametrize(
  ("name", "size", "theta", "to_end"),
  [
    ("forced", (17, 13), THETA, False),
    ("hand_written", (17, 13), THETA, True),
    ("lstm_wide", (17, 13), 0.6, False),
  ],
)
def test_outputs_of_all_steps(name, size, theta, to_end):
  """Each step up to the spike, or the end, has a gradient of its own; what follows has none.

  Also where `decode` has no derivative at zeros, which stand for no output.
  """
  classifier, params, carry, xs, lengths = case(name, *size)
  if name == "lstm_wide":
    normed = lambda h: {"hidden": 2 * h / jnp.linalg.norm(h)}
    decode = classifier.decode
    classifier = classifier._replace(decode=lambda p, output: decode(p, normed(output["hidden"])))
  if name == "forced":
    xs[..., -1] = 20.0 * (np.arange(13) == np.arange(17)[:, None] % 16)
  time = np.arange(size[1])[None]

  def loss(run, params, carry):
    logits, code = run(params, carry)
    counts = time <= (lengths - 1 if to_end else code.step)[:, None]
    logits = jnp.where(counts[..., None], jnp.sin(logits), 0)
    return jnp.sum(logits * np.float32(1 + time)[..., None]), (logits, *code[:3])

  def unrolled(params, carry):
    functions = {"encode": classifier.encode, "decode": classifier.decode}
    one = lambda c, x: rc_jax.unroll(classifier.step, params, c, x, **functions)
    logits = jax.vmap(one)(carry, xs)
    return logits, rc_jax.rank_code(logits, theta, lengths)

  def kept(params, carry):
    options = {"engine": "early_exit", "to_end": to_end, "all_outputs": True}
    code, _, logits = counted(classifier, params, carry, xs, theta, lengths, **options)
    return logits, code

  gradient = jax.jit(jax.grad(loss, (1, 2), has_aux=True, allow_int=True), static_argnums=0)
  want, got = gradient(unrolled, params, carry), gradient(kept, params, carry)
  spiked = want[1][2]
  assert 0 < np.mean(spiked) < 1
  assert_same_gradients(want, got)


@pytest.mark.parametrize("name", ["lstm_wide", "lstm"])
def test_differences_are_rounding(name):
  with jax.enable_x64(True):
    classifier, params, carry, xs, lengths = case(name, 17, 13)
    arguments = (classifier, params, carry, xs, np.float64(0.42), lengths)
    want = value_and_gradients(every_step, *arguments)
    assert_same_gradients(want, value_and_gradients(early, *arguments), 1e-13)


def forced_case(spikes, steps):
  """Row r spikes at step `spikes[r]` of all `steps`; -1: never."""
  classifier, params, carry, xs, _ = case("forced", len(spikes), steps)
  params = jax.tree.map(lambda p: np.float32(0.1) * np.asarray(p), params)
  xs[..., -1] = 20.0 * (np.arange(steps) == np.asarray(spikes)[:, None])
  return classifier, params, carry, xs


SCRIPTED = rc_jax.Classifier(
  lambda key, x: (), lambda params: jnp.int32(0), lambda params, count, x: (count + 1, x)
)


def scripted_case(spikes, steps):
  """The same without a network: inputs that are the logits."""
  xs = np.zeros((len(spikes), steps, C), np.float32)
  xs[..., 0] = 20.0 * (np.arange(steps) == np.asarray(spikes)[:, None])
  return SCRIPTED, (), np.zeros(len(spikes), np.int32), xs


@functools.partial(jax.jit, static_argnums=0, static_argnames="engine")
def count(classifier, params, carry, xs, lengths=None, engine="early_exit"):
  return counted(classifier, params, carry, xs, THETA, lengths, engine=engine)[:2]


@pytest.mark.parametrize(
  ("spikes", "steps", "row_steps"),
  [
    ([0] * 16, 9, 16),  # all at once: one step of 16 rows
    ([-1] * 16, 9, 16 * 9),  # never: everything
    ([0] * 11 + [-1] * 5, 9, 16 + 6 * 8),  # most go: a loop of 6 goes on
    ([0] * 9 + [-1] * 7, 9, 16 * 9),  # 7 do not fit into the narrower loop
    ([-1, *[0] * 15], 9, 16 + 6 * 8),  # one goes on, in the narrowest loop of 6
    ([2] * 11 + [5] * 5, 9, 16 * 3 + 6 * 3),
    ([4, 1, 0], 9, 3 * 5),  # too few rows for a second width: up to the slowest
  ],
)
def test_computed_fraction(spikes, steps, row_steps):
  code, fraction = count(*forced_case(spikes, steps))
  never = np.asarray(spikes) < 0
  np.testing.assert_array_equal(code.step, np.where(never, steps - 1, spikes))
  np.testing.assert_array_equal(code.spiked, ~never)
  assert float(fraction) == pytest.approx(row_steps / (len(spikes) * steps), rel=1e-6)


def test_rows_end_at_their_lengths():
  classifier, params, carry, xs = forced_case([-1] * 16, 9)
  lengths = np.array([2] * 11 + [5] * 5, np.int32)
  code, fraction = count(classifier, params, carry, xs, lengths)
  np.testing.assert_array_equal(code.step, lengths - 1)
  assert not code.spiked.any()
  assert float(fraction) == pytest.approx((2 * 16 + 3 * 6) / (16 * 9), rel=1e-6)


MIXED = [*range(20), *[-1] * 4, *[3] * 9]


# [k] * 33 leaves 33 k row-steps in the log: of a block any share may be left over.
@pytest.mark.parametrize("spikes", [*([k] * 33 for k in (-1, 0, 1, 2, 3, 4)), MIXED])
def test_forced_spikes(spikes):
  arguments = forced_case(spikes, 20)
  want = value_and_gradients(every_step, *arguments, THETA, None)
  assert_same_gradients(want, value_and_gradients(early, *arguments, THETA, None))


def test_skipped_steps_do_not_run():
  """Counts what really runs, forward and backward: a callback a row-step."""
  calls = {"forward": 0, "backward": 0}

  def note(which, row):
    del row  # without an argument of its own, a mapped callback fires once for all rows
    calls[which] += 1

  classifier, params, carry, xs = forced_case([0] * 11 + [3] * 5, 12)

  @jax.custom_vjp
  def counted(x):
    jax.debug.callback(functools.partial(note, "forward"), x[0])
    return x

  def backward(_, cotangent):
    jax.debug.callback(functools.partial(note, "backward"), cotangent[0])
    return (cotangent,)

  counted.defvjp(lambda x: (counted(x), None), backward)

  def step(params, carry, encoded):
    carry, (output, force) = classifier.step(params, carry, encoded)
    return carry, ({"hidden": counted(output["hidden"])}, force)

  def loss(params):
    code = early(classifier._replace(step=step), params, carry, xs, THETA, None)
    return jnp.sum(code.logits)

  jax.block_until_ready(jax.jit(jax.grad(loss))(params))
  jax.effects_barrier()
  assert calls["backward"] == 16 + 3 * 6
  assert calls["forward"] == 2 * (16 + 3 * 6)  # once for the spike, again for the gradient


def test_population():
  classifier, params, carry, xs, lengths = case("lstm_wide", 17, 9)
  params = jax.tree.map(np.asarray, params)
  members = jax.tree.map(lambda p: np.stack([p, 2 * p, -p]), params)
  thetas = np.array([0.5, 0.6, 0.9], np.float32)
  got, want = (
    jax.vmap(lambda p, t, way=way: value_and_gradients(way, classifier, p, carry, xs, t, lengths))(
      members, thetas
    )
    for way in (early, every_step)
  )
  assert_same_gradients(want, got)


def test_values_a_step_closes_over():
  """A traced gain that `step` and `encode` see without being given it."""
  classifier, params, carry, xs, lengths = case("lstm_wide", 17, 9)

  def loss(gain, offset, way):
    c = classifier._replace(
      encode=lambda p, x: gain * classifier.encode(p, x),
      step=lambda p, h, e: classifier.step(p, h, e + offset.astype(jnp.float32)),
    )
    return jnp.sum(way(c, params, carry, xs, 0.6, lengths).logits ** 2)

  gradient = jax.jit(jax.vmap(jax.value_and_grad(loss), in_axes=(0, 0, None)), static_argnums=2)
  gains, offsets = np.array([0.5, 1.5], np.float32), np.array([0, 1])
  assert_same_gradients(gradient(gains, offsets, every_step), gradient(gains, offsets, early))


def test_widths_are_asked_for():
  """One width stops all rows at the slowest, two compute less; the results agree.

  Six are more than there are unasked.
  """
  arguments = scripted_case([0] * 36 + [5] * 9 + [8] * 3, 9)
  fractions, codes = [], []
  for widths in (1, 2, 6):
    engine = rc_jax.EarlyExit(widths=widths)
    code, fraction = count(*arguments, engine=engine)
    codes.append(code)
    fractions.append(float(fraction))
  assert fractions[0] == 1 > fractions[1] > fractions[2]
  # Two of a gradient are three without: of 48, 26 and 9 rows. With 48 and 16 it would be 176.
  assert fractions[1] == pytest.approx((48 + 26 * 5 + 9 * 3) / (48 * 9), rel=1e-6)
  for code in codes[1:]:
    assert_same(codes[0], code)


def two_inputs():
  """A network of a tree of inputs: numbers, and whole numbers that choose a row of a table."""
  net = rc_jax.lstm(5, C)

  def init(key, x):
    params = net.init(key, jnp.zeros(40))
    return params | {"table": 0.3 * jax.random.normal(key, (7, 40))}

  def encode(params, x):
    return net.encode(params, x["sound"] + params["table"][x["symbol"]])

  return net._replace(init=init, encode=encode)


@pytest.mark.parametrize("apart", [True, False])
def test_a_tree_of_inputs(apart):
  """Inputs of two types, with NaN in the padding, and gradients to the floats among them."""
  net = two_inputs()
  classifier = net if apart else without_encode(net)
  rows, steps = 17, 9
  rng = np.random.default_rng(0)
  lengths = rng.integers(1, steps + 1, rows).astype(np.int32)
  padding = np.arange(steps)[None] >= lengths[:, None]
  sound = draw(rng, rows, steps, 40)
  symbol = rng.integers(0, 7, (rows, steps)).astype(np.int32)
  params = initial_params(classifier.init, 0, None)
  carry = jax.tree.map(lambda a: np.zeros((rows, 5), a.dtype), classifier.initial_carry(params))
  arguments = (classifier, params, carry)
  shown, hidden = (np.where(padding[..., None], np.float32(a), sound) for a in (0, np.nan))
  of = lambda sound: ({"sound": sound, "symbol": symbol}, 0.45, lengths)
  want = value_and_gradients(every_step, *arguments, *of(shown))
  got = value_and_gradients(early, *arguments, *of(hidden))
  assert 0 < np.mean(got[0][1].spiked) < 1
  assert np.any(got[1][2]["sound"]) and not np.any(np.isnan(got[1][2]["sound"]))
  assert_same_gradients(want, got)


@pytest.mark.parametrize(
  "derivative",
  [
    lambda f, p: jax.jvp(f, (p,), (p,)),
    lambda f, p: jax.jit(jax.jacfwd(f))(p),
    lambda f, p: jax.grad(lambda q: jnp.sum(jax.grad(f)(q)["bias"]))(p),
    lambda f, p: jax.jvp(jax.grad(f), (p,), (p,)),
    lambda f, p: jax.jit(jax.hessian(f))(p),
  ],
)
def test_other_derivatives_name_the_engine_that_has_them(derivative):
  classifier, params, carry, xs, _ = case("lstm", 3, 5)

  def f(params, engine="early_exit"):
    functions = {"encode": classifier.encode, "decode": classifier.decode, "engine": engine}
    code = rc_jax.unroll_to_spike(classifier.step, params, carry, xs, 0.6, **functions)
    return jnp.sum(code.logits**2)

  with pytest.raises(ValueError, match=r"one reverse derivative.*choose engine='full'"):
    derivative(f, params)
  of_all_steps = functools.partial(derivative, functools.partial(f, engine="full"))
  jax.jit(of_all_steps)(params)


@pytest.mark.parametrize(("features", "check_vma"), [(3, False), (40, True)])
def test_two_devices(two_devices, check_vma, features):
  """Of 40 features the step is written in one piece, which is split on each device."""
  classifier = ours = rc_jax.lstm(5, C)
  if features == 40:
    whole = lambda params, carry, x: ours.step(params, carry, ours.encode(params, x))
    classifier = ours._replace(step=whole, encode=identity)
  rng = np.random.default_rng(0)
  make = lambda **k: rc_jax.make_train(classifier, optax.sgd(1.0), theta=0.4, **k)
  state = jax.jit(make().init)(jax.random.key(0), np.zeros(features, np.float32))
  xs = draw(rng, 34, 16, features)
  xs[:17] *= 5  # the rows of the first device spike early
  labels = rng.integers(0, C, 34).astype(np.int32)
  batch = rc_jax.Batch(xs, labels, np.full(34, 16, np.int32))
  update = jax.shard_map(
    make(axis_name="device", engine="early_exit").update,
    mesh=two_devices,
    in_specs=(P(), P("device")),
    out_specs=P(),
    check_vma=check_vma,
  )
  got, metrics = jax.jit(update)(state, batch)
  want, plain = jax.jit(make(engine="full").update)(state, batch)
  assert_same(want.params, got.params)
  assert float(plain.computed_fraction) == 1
  assert 0 < float(metrics.computed_fraction) < 1
  assert float(metrics.mean_spike_step) == pytest.approx(float(plain.mean_spike_step))


def test_a_replicated_value_that_a_step_closes_over_is_refused(two_devices):
  classifier, params, carry, xs, _ = case("lstm", 4, 4)

  def f(gain, params, carry, xs):
    scaled = classifier._replace(step=lambda p, c, e: classifier.step(p, c, gain * e))
    return early(scaled, params, carry, xs, 0.6, None).logits

  specs = (P(), P(), P("device"), P("device"))
  mapped = jax.shard_map(f, mesh=two_devices, in_specs=specs, out_specs=P("device"))
  with pytest.raises(ValueError, match=r"replicated float32\[\]; give it in params"):
    jax.jit(mapped)(jnp.float32(2), params, carry, xs)


def test_unasked_input_gradients_cost_nothing():
  """Without a gradient to the inputs no buffer of their size is kept for one."""
  classifier, params, carry, xs, _ = case("lstm_wide", 16, 11)
  loss = lambda p, x: jnp.sum(early(classifier, p, carry, x, 0.6, None).logits)
  flat = "f32[176,40]"  # B * T rows of the input: a scatter's operand
  text = lambda f: str(jax.make_jaxpr(f)(params, xs))
  assert text(jax.grad(loss, argnums=0)).count(flat) < text(jax.grad(loss, argnums=1)).count(flat)


def test_auto_exits_early_unless_there_is_little_work(monkeypatch):
  few = [(171, 3), (127, 4)]
  much = [(128, 4), (64, 8)]
  assert [rc_jax.choose_engine(*shape) for shape in few] == ["full"] * 2
  assert [rc_jax.choose_engine(*shape) for shape in much] == ["early_exit"] * 2
  for rows, exits in ((127, False), (128, True)):
    _, fraction = count(*scripted_case([0] * rows, 4), engine="auto")
    assert (float(fraction) < 1) == exits
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert rc_jax.choose_engine(128, 8) == "full"


@pytest.mark.parametrize("engine", ["full", "early_exit"])
def test_padding_is_not_read_by_a_step_without_a_derivative_at_zero(engine):
  """Nor by one that is padded with NaN: in its place stands the row's last input."""
  classifier, params, carry, xs, _ = case("lstm_wide", 17, 9)
  lengths = np.arange(17, dtype=np.int32) % 9 + 1
  padding = (np.arange(9) >= lengths[:, None])[..., None]
  of_length_one = lambda params, x: classifier.encode(params, x / jnp.linalg.norm(x))

  @jax.jit
  def gradients(params, xs):
    def loss(params, xs):
      functions = {"encode": of_length_one, "decode": classifier.decode, "engine": engine}
      code = rc_jax.unroll_to_spike(classifier.step, params, carry, xs, 0.6, lengths, **functions)
      return jnp.sum(code.logits**2)

    return jax.grad(loss, argnums=(0, 1))(params, xs)

  want, got = (gradients(params, np.where(padding, np.float32(a), xs)) for a in (1, np.nan))
  chex.assert_tree_all_finite(got)
  chex.assert_trees_all_equal(got, want)
  assert not np.any(np.where(padding, got[1], 0)) and np.any(got[1])


@pytest.mark.parametrize("engine", ["full", "early_exit"])
def test_traced_lengths_out_of_range_are_clipped(engine):
  """They cannot be checked, and must neither hang a loop nor read another row."""
  classifier, params, carry, xs, _ = case("lstm_wide", 17, 9)
  run = jax.jit(lambda n: counted(classifier, params, carry, xs, 0.99, n, engine=engine)[0])
  lengths = np.full(17, 5, np.int32)
  lengths[:2] = 1, 9
  wrong = lengths.copy()
  wrong[:2] = 0, 10
  assert_same(run(jnp.asarray(lengths)), run(jnp.asarray(wrong)))


def test_unknown_engine():
  classifier, params, carry, xs, _ = case("lstm", 4, 4)
  with pytest.raises(ValueError, match="engine is 'fast'; choose one of"):
    rc_jax.unroll_to_spike(classifier.step, params, carry, xs, 0.6, engine="fast")
  with pytest.raises(ValueError, match="engine is 'fast'; choose one of"):
    rc_jax.make_train(classifier, optax.sgd(1.0), engine="fast")
  with pytest.raises(ValueError, match="widths of EarlyExit is 0; give a whole number"):
    rc_jax.make_train(classifier, optax.sgd(1.0), engine=rc_jax.EarlyExit(widths=0))
  rc_jax.make_train(classifier, optax.sgd(1.0), engine=rc_jax.EarlyExit(widths=np.int64(3)))


def test_an_output_that_is_no_logits_asks_for_decode():
  classifier, params, carry, xs, _ = case("lstm", 4, 4)
  with pytest.raises(ValueError, match=r"step gives .*hidden.*give the classifier's decode"):
    rc_jax.unroll_to_spike(classifier.step, params, carry, xs, 0.6, encode=classifier.encode)

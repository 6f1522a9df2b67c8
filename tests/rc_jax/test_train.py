"""The update: its loss, its schedules, its metrics, and the ways to map it."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest
from jax.sharding import PartitionSpec

import rc_jax
from rc_jax.objectives import Objective

B, T, C = 8, 5, 3


def shifted(key, x):
  """Parameters of `scripted`: what is added to the logits that the input spells out."""
  del key
  return {"shift": jnp.zeros_like(x)}


scripted = rc_jax.Classifier(
  init=shifted,
  initial_carry=lambda params: jnp.int32(0),
  step=lambda params, count, x: (count + 1, x + params["shift"]),
)


def elman_init(key, x):
  w, u, v = jax.random.split(key, 3)
  normal = jax.random.normal
  return {"W": normal(w, (x.shape[0], 6)), "U": normal(u, (6, 6)), "V": normal(v, (6, C))}


def elman_step(params, h, x):
  h = jnp.tanh(x @ params["W"] + h @ params["U"])
  return h, h @ params["V"]


elman = rc_jax.Classifier(elman_init, lambda params: jnp.zeros(6), elman_step)


def batch(seed=0, rows=B, features=C):
  rng = np.random.default_rng(seed)
  return rc_jax.Batch(
    inputs=rng.normal(size=(rows, T, features)).astype(np.float32),
    labels=rng.integers(0, C, rows).astype(np.int32),
    lengths=rng.integers(2, T + 1, rows).astype(np.int32),
  )


def start(train, features=C, seed=0):
  return train.init(jax.random.key(seed), jnp.zeros(features))


def expected_metrics(data, theta, beta=0.0, objective="rc"):
  """By the oracle, for `scripted` with no shift."""
  step, spiked, label = oracle.first_spikes(data.inputs, theta, data.lengths)
  at = step if objective == "rc" else data.lengths - 1
  losses = [
    oracle.rc_loss(row[t], y, beta) for row, t, y in zip(data.inputs, at, data.labels, strict=True)
  ]
  return {
    "loss": np.mean(losses),
    "accuracy": np.mean(label == data.labels),
    "mean_spike_step": np.mean(step + 1),
    "no_spike_fraction": np.mean(~spiked),
  }


def assert_metrics(metrics, expected):
  for name, value in expected.items():
    np.testing.assert_allclose(getattr(metrics, name), value, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("objective", ["rc", "eos"])
def test_metrics_and_loss_equal_the_oracle(objective):
  given = {"objective": objective, "beta": 0.3, "theta": 0.6, "engine": "early_exit"}
  train = rc_jax.make_train(scripted, optax.sgd(0.0), **given)
  data = batch()
  expected = expected_metrics(data, 0.6, 0.3, objective)
  assert 0 < expected["no_spike_fraction"] < 1 and 0 < expected["accuracy"] < 1
  state = start(train)
  after, metrics = jax.jit(train.update)(state, data)
  assert_metrics(metrics, expected)
  assert all(m.shape == () for m in metrics)
  assert [m.dtype for m in metrics] == [jnp.float32] * 6 + [jnp.bool]
  heard = {"rc": expected["mean_spike_step"], "eos": np.mean(data.lengths)}[objective]
  fraction = float(metrics.computed_fraction)
  assert heard / T - 1e-6 <= fraction <= 1 and (fraction < 1 or objective == "eos")
  assert after.key == state.key
  assert int(state.step) == 0 and int(after.step) == 1 and after.step.dtype == jnp.int32


def test_eos_loss_is_the_cross_entropy_at_the_last_step():
  train = rc_jax.make_train(scripted, optax.sgd(0.0), objective="eos", theta=0.4)
  data = batch(1)
  last = [row[n - 1] for row, n in zip(data.inputs, data.lengths, strict=True)]
  expected = np.mean([oracle.cross_entropy(z, y) for z, y in zip(last, data.labels, strict=True)])
  _, metrics = jax.jit(train.update)(start(train), data)
  assert float(metrics.loss) == pytest.approx(expected, rel=1e-5)
  assert float(metrics.mean_spike_step) < np.mean(data.lengths)  # which is not where the spike is


@pytest.mark.parametrize("objective", ["rc", "eos"])
def test_the_gradient_is_the_mean_over_rows(objective):
  """d loss / d shift = softmax - onehot at the step of the loss; SGD takes it once."""
  train = rc_jax.make_train(scripted, optax.sgd(0.5), objective=objective, theta=0.6)
  data = batch()
  at = oracle.first_spikes(data.inputs, 0.6, data.lengths)[0]
  at = at if objective == "rc" else data.lengths - 1
  slope = np.mean(
    [
      oracle.softmax(row[t]) - np.eye(C)[y]
      for row, t, y in zip(data.inputs, at, data.labels, strict=True)
    ],
    axis=0,
  )
  after, metrics = jax.jit(train.update)(start(train), data)
  np.testing.assert_allclose(after.params["shift"], -0.5 * slope, atol=1e-6)
  assert float(metrics.gradient_norm) == pytest.approx(np.linalg.norm(slope), rel=1e-5)


CLASS_WEIGHTS = np.array([0.2, 1.0, 3.0])


def weighted(logits, label):
  return jnp.asarray(CLASS_WEIGHTS, jnp.float32)[label] * rc_jax.cross_entropy(logits, label)


def smoothed(logits, label):
  return optax.softmax_cross_entropy(logits, optax.smooth_labels(jax.nn.one_hot(label, C), 0.1))


def focal(logits, label):
  cross_entropy = rc_jax.cross_entropy(logits, label)
  return (1 - jnp.exp(-cross_entropy)) ** 2 * cross_entropy


def smoothed_by_hand(z, y):
  return -np.sum((0.9 * np.eye(C)[y] + 0.1 / C) * np.log(oracle.softmax(z)))


LOSSES = {
  "class weights": (weighted, lambda z, y: CLASS_WEIGHTS[y] * oracle.cross_entropy(z, y)),
  "label smoothing": (smoothed, smoothed_by_hand),
  "focal": (focal, lambda z, y: (1 - oracle.softmax(z)[y]) ** 2 * oracle.cross_entropy(z, y)),
}


@pytest.mark.parametrize(("name", "objective"), [*((k, "rc") for k in LOSSES), ("focal", "eos")])
def test_any_loss_of_one_row(name, objective):
  """The loss and its gradient (by differences) equal NumPy's, with the entropy's term beside it."""
  loss, by_hand = LOSSES[name]
  train = rc_jax.make_train(
    scripted, optax.sgd(1.0), objective=objective, loss=loss, beta=0.3, theta=0.6
  )
  data = batch(2)
  at = oracle.first_spikes(data.inputs, 0.6, data.lengths)[0]
  at = at if objective == "rc" else data.lengths - 1
  rows = data.inputs[np.arange(B), at].astype(np.float64)
  mean_loss = lambda shift: np.mean(
    [by_hand(z + shift, y) - 0.3 * oracle.entropy(z + shift) for z, y in zip(rows, data.labels)]  # noqa: B905
  )
  slope = [(mean_loss(e) - mean_loss(-e)) / 2e-5 for e in 1e-5 * np.eye(C)]
  after, metrics = jax.jit(train.update)(start(train), data)
  assert float(metrics.loss) == pytest.approx(mean_loss(np.zeros(C)), rel=1e-5)
  np.testing.assert_allclose(after.params["shift"], np.negative(slope), atol=1e-5)


def test_a_loss_gets_float32_logits():
  half = scripted._replace(decode=lambda params, output: output.astype(jnp.bfloat16))
  dtypes = []

  def loss(logits, label):
    dtypes.append(logits.dtype)
    return -logits[label]

  train = rc_jax.make_train(half, optax.sgd(0.1), loss=loss)
  jax.eval_shape(train.update, start(train), batch())
  assert set(dtypes) == {jnp.dtype("float32")}


@pytest.mark.parametrize(
  "loss, message",
  [
    (lambda z, y: z, r"loss gives float32\[3\] for one row, .*; give one float scalar"),
    (lambda z, y: y, r"loss gives int32\[\] for one row, logits float32\[3\] and label int32"),
    (lambda z, y: (z[0], y), r"loss gives \(float32\[\], int32\[\]\) for one row"),
    (lambda z: z[0], r"loss cannot take one row, logits float32\[3\] and label int32\[\]: "),
  ],
)
def test_a_loss_that_gives_no_float_scalar(loss, message):
  train = rc_jax.make_train(scripted, optax.sgd(0.1), loss=loss)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(train.update, start(train), batch())


@pytest.mark.parametrize("loss", [rc_jax.cross_entropy, lambda logits, label: -logits[0]])
def test_a_label_out_of_range_makes_loss_and_gradient_nan(loss):
  """Also where the loss looks at neither the label nor all logits."""
  train = rc_jax.make_train(scripted, optax.sgd(0.1), loss=loss)
  update, state = jax.jit(train.update), start(train)
  for label in (-1, C):
    data = batch()
    data.labels[2] = label
    after, metrics = update(state, data)
    assert np.isnan(metrics.loss) and not metrics.finite
    assert np.isnan(after.params["shift"]).all()


@pytest.mark.parametrize("objective", ["rc", rc_jax.objectives.every_step()])
def test_a_length_out_of_range_makes_loss_and_gradient_nan(objective):
  train = rc_jax.make_train(scripted, optax.sgd(0.1), objective=objective)
  update, state = jax.jit(train.update), start(train)
  for length in (0, -1, batch().inputs.shape[1] + 1):
    data = batch()
    data.lengths[2] = length
    after, metrics = update(state, data)
    assert np.isnan(metrics.loss) and not metrics.finite
    assert np.isnan(after.params["shift"]).any()


def test_lengths_of_a_small_type_may_be_shorter_than_the_sequence():
  """T = 300 lies beyond the largest uint8."""
  train = rc_jax.make_train(scripted, optax.sgd(0.1))
  data = batch()
  data = data._replace(inputs=np.resize(data.inputs, (B, 300, C)))
  small = data._replace(lengths=data.lengths.astype(np.uint8))
  after, expected = (jax.jit(train.update)(start(train), one) for one in (small, data))
  assert np.isfinite(expected[1].loss)
  chex.assert_trees_all_equal(after, expected)


def test_an_update_that_is_not_finite_can_be_left_out():
  optimizer = optax.apply_if_finite(optax.sgd(0.5, momentum=0.9), max_consecutive_errors=10)
  train = rc_jax.make_train(elman, optimizer, theta=0.7)
  update, state = jax.jit(train.update), start(train, features=4)
  seen = [jax.tree.map(np.array, state.params)]
  bad = batch(1, features=4)
  bad.inputs[3, 0, 2] = np.nan  # at its first step, which every row reads
  finite = []
  for data in (batch(0, features=4), bad, batch(2, features=4)):
    state, metrics = update(state, data)
    seen.append(jax.tree.map(np.array, state.params))
    finite.append(bool(metrics.finite))
  assert finite == [True, False, True]
  chex.assert_tree_all_finite(seen)
  chex.assert_trees_all_equal(seen[1], seen[2])
  assert not np.array_equal(seen[0]["W"], seen[1]["W"])
  assert not np.array_equal(seen[2]["W"], seen[3]["W"])


def test_one_device_that_is_not_finite_is_told_on_all():
  train = rc_jax.make_train(scripted, optax.sgd(0.1), axis_name="data")
  update = jax.jit(jax.vmap(train.update, (None, 0), axis_name="data"))
  good, bad = batch(), batch()
  bad.inputs[0] = np.nan
  together = lambda *batches: jax.tree.map(lambda *a: np.stack(a), *batches)
  assert update(start(train), together(good, good))[1].finite.tolist() == [True, True]
  assert update(start(train), together(good, bad))[1].finite.tolist() == [False, False]


def test_gradients_of_two_half_batches_are_that_of_one():
  """By `Train.loss`, at an update whose theta and beta come from schedules."""
  train = rc_jax.make_train(
    elman,
    optax.sgd(1.0),
    theta=lambda step: jnp.where(step == 3, 0.6, 0.9),
    beta=lambda step: jnp.where(step == 3, 0.2, 0.0),
    augment=lambda key, data: data,
  )
  data, state = batch(features=4), start(train, features=4)._replace(step=jnp.int32(3))
  gradient = jax.jit(jax.value_and_grad(train.loss, has_aux=True))
  halves = [jax.tree.map(lambda a, h=h: a[h], data) for h in (slice(B // 2), slice(B // 2, B))]
  (one, of_one), (two, of_two) = (gradient(state.params, half, 3) for half in halves)
  after, whole = jax.jit(train.update)(state, data)
  before, of_one, of_two = jax.tree.map(np.asarray, (state.params, of_one, of_two))
  by_hand = jax.tree.map(lambda p, g, h: p - (g + h) / 2, before, of_one, of_two)
  chex.assert_trees_all_close(by_hand, after.params, atol=1e-6)
  assert float(one[0] + two[0]) / 2 == pytest.approx(float(whole.loss), rel=1e-5)
  assert one[1].loss == one[0] and one[1].gradient_norm == 0 and one[1].finite


EARLY = {"theta": 0.7, "engine": "early_exit"}


@functools.cache
def gradient_alone():
  """Parameters, and of the whole batch on one device the gradient and the metrics."""
  alone = rc_jax.make_train(elman, optax.sgd(1.0), **EARLY)
  params = start(alone, features=4).params
  return params, *jax.jit(jax.grad(alone.loss, has_aux=True))(params, batch(features=4), 0)


@pytest.mark.parametrize("mapped", ["shard_map", "shard_map without check_vma", "vmap"])
def test_an_update_of_ones_own_on_two_devices(two_devices, mapped):
  """The gradient of `Train.loss`, averaged over devices, is the whole batch's, not their sum."""
  train = rc_jax.make_train(elman, optax.sgd(1.0), axis_name="device", **EARLY)
  data, (params, gradient, metrics) = batch(features=4), gradient_alone()

  def gradient_and_metrics(params, data):
    gradient, metrics = jax.grad(train.loss, has_aux=True)(params, data, 0)
    return jax.lax.pmean(gradient, "device"), metrics._replace(computed_fraction=0)

  if mapped == "vmap":
    halves = lambda data: jax.tree.map(lambda a: a.reshape(2, B // 2, *a.shape[1:]), data)
    of_halves = jax.vmap(gradient_and_metrics, (None, 0), None, axis_name="device")
    on_devices = jax.jit(lambda params, data: of_halves(params, halves(data)))
  else:
    on_devices = jax.jit(
      jax.shard_map(
        gradient_and_metrics,
        mesh=two_devices,
        in_specs=(PartitionSpec(), PartitionSpec("device")),
        out_specs=PartitionSpec(),
        check_vma=mapped == "shard_map",
      )
    )
  assert np.linalg.norm(np.concatenate([np.ravel(g) for g in gradient.values()])) > 0.1
  expected = gradient, metrics._replace(computed_fraction=0)
  chex.assert_trees_all_close(on_devices(params, data), expected, atol=1e-6)
  data.inputs[-1] = np.nan  # on the second device alone
  assert not on_devices(params, data)[1].finite


@jax.numpy_dtype_promotion("standard")  # optax's schedule divides an int count
def test_theta_and_beta_follow_the_update_count():
  data = batch()
  train = rc_jax.make_train(
    scripted,
    optax.sgd(0.0),
    theta=optax.piecewise_constant_schedule(0.5, {2: 1.6}),
    beta=lambda count: jnp.where(count < 1, 0.0, 0.7),
  )
  state = start(train)
  seen = []
  update = jax.jit(train.update)
  for theta, beta in [(0.5, 0.0), (0.5, 0.7), (0.8, 0.7), (0.8, 0.7)]:
    state, metrics = update(state, data)
    assert_metrics(metrics, expected_metrics(data, theta, beta))
    seen.append((float(metrics.mean_spike_step), float(metrics.loss)))
  assert seen[0][0] == seen[1][0] < seen[2][0] and seen[0][1] != seen[1][1]
  assert int(state.step) == 4


def test_a_threshold_a_step():
  theta = np.array([0.9, 0.9, 0.5, 0.6, 0.6])
  train = rc_jax.make_train(scripted, optax.sgd(0.0), theta=theta)
  _, metrics = jax.jit(train.update)(start(train), batch())
  assert_metrics(metrics, expected_metrics(batch(), theta))


def test_augment_draws_from_the_runs_key_and_the_update_count():
  def augment(key, data):
    return data._replace(inputs=data.inputs + jax.random.normal(key, data.inputs.shape))

  train = rc_jax.make_train(scripted, optax.sgd(0.0), theta=0.6, augment=augment)
  state, data = start(train), batch()
  update = jax.jit(train.update)
  losses = []
  for count in range(3):
    noise = jax.random.normal(jax.random.fold_in(state.key, count), data.inputs.shape)
    noisy = data._replace(inputs=data.inputs + np.asarray(noise))
    state, metrics = update(state, data)
    assert_metrics(metrics, expected_metrics(noisy, 0.6))
    losses.append(float(metrics.loss))
  assert len(set(losses)) == 3


def test_on_a_mapped_axis_each_device_augments_with_a_key_of_its_own():
  drawn = []

  def augment(key, data):
    jax.debug.callback(lambda k: drawn.append(k.tolist()), jax.random.key_data(key))
    return data

  train = rc_jax.make_train(scripted, optax.sgd(0.0), augment=augment, axis_name="devices")
  halves = jax.tree.map(lambda a: a.reshape(2, -1, *a.shape[1:]), batch())
  update = jax.jit(jax.vmap(train.update, (None, 0), axis_name="devices"))
  jax.block_until_ready(update(start(train), halves))
  jax.effects_barrier()
  assert len(drawn) == 2 and drawn[0] != drawn[1]


@jax.numpy_dtype_promotion("standard")  # which that optimizer needs
def test_an_optimizer_that_watches_the_loss():
  watching = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(accumulation_size=1))
  train = rc_jax.make_train(scripted, watching, theta=0.6)
  state, metrics = jax.jit(train.update)(start(train), batch())
  assert state.opt_state[1].best_value == metrics.loss


def test_parameters_without_a_gradient_are_refused():
  counting = scripted._replace(init=lambda key, x: {"shift": jnp.zeros_like(x), "n": jnp.int32(3)})
  with pytest.raises(ValueError, match=r"params\['n'\] is int32; parameters are floats"):
    start(rc_jax.make_train(counting, optax.sgd(0.1)))


def test_init_keys():
  train = rc_jax.make_train(elman, optax.sgd(0.1))
  one, same, other = (start(train, seed=s) for s in (0, 0, 1))
  chex.assert_trees_all_equal(one.params, same.params)
  assert one.key == same.key != other.key
  assert not np.array_equal(one.params["W"], other.params["W"])
  assert one.key != jax.random.key(0)  # consumed


SEVERAL = rc_jax.make_train(elman, optax.sgd(0.5, momentum=0.9), beta=0.1, theta=0.7)
update_jit = jax.jit(SEVERAL.update)


def run(update, state, batches):
  metrics = []
  for data in batches:
    state, m = update(state, data)
    metrics.append(m)
  return state, metrics


def three_batches():
  return [batch(seed, features=4) for seed in range(3)]


def assert_same_run(got, expected):
  (state, metrics), (expected_state, expected_metrics) = got, expected
  chex.assert_trees_all_close(state.params, expected_state.params, atol=1e-6)
  chex.assert_trees_all_close(state.opt_state, expected_state.opt_state, atol=1e-6)
  assert int(state.step) == int(expected_state.step)
  for m, e in zip(metrics, expected_metrics, strict=True):
    chex.assert_trees_all_close(m, e, atol=1e-6)


@pytest.mark.parametrize("engine", ["full", "early_exit"])
def test_inputs_may_be_a_tree(engine):
  """A network with two inputs a step learns as the one that gets both in one array."""
  joined = lambda params, x: jnp.concatenate([x["audio"], x["imu"].reshape(-1)])
  two_inputs = elman._replace(init=lambda key, x: elman.init(key, joined(None, x)), encode=joined)
  data = batch(features=5)
  tree = {"audio": data.inputs[..., :1], "imu": data.inputs[..., 1:].reshape(B, T, 2, 2)}
  states = []
  for classifier, inputs in ((elman, data.inputs), (two_inputs, tree)):
    train = rc_jax.make_train(classifier, optax.sgd(0.5), theta=0.7, engine=engine)
    state = train.init(jax.random.key(4), jax.tree.map(lambda a: jnp.asarray(a[0, 0]), inputs))
    after, metrics = jax.jit(train.update)(state, data._replace(inputs=inputs))
    states.append((after.params, metrics))
  chex.assert_trees_all_close(*states, atol=1e-5)
  assert 1 < states[0][1].mean_spike_step < T
  short = data._replace(inputs=tree | {"imu": tree["imu"][:3]})
  message = r"inputs\['imu'\] has shape .*, but inputs\['audio'\] has 8 rows of 5 steps"
  with pytest.raises(ValueError, match=message):
    train.update(state, short)


@pytest.mark.parametrize("check_vma", [True, False])
def test_two_devices_equal_one_with_the_whole_batch(two_devices, check_vma):
  train = rc_jax.make_train(
    elman, optax.sgd(0.5, momentum=0.9), beta=0.1, theta=0.7, axis_name="device"
  )
  whole, rows = PartitionSpec(), PartitionSpec("device")
  update = jax.jit(
    jax.shard_map(
      train.update,
      mesh=two_devices,
      in_specs=(whole, rows),
      out_specs=(whole, whole),
      check_vma=check_vma,
    )
  )
  alone = run(update_jit, start(SEVERAL, 4), three_batches())
  assert 1 < float(alone[1][0].mean_spike_step) < T
  assert_same_run(run(update, start(train, 4), three_batches()), alone)


def test_a_mapped_axis_equals_the_whole_batch():
  train = rc_jax.make_train(
    elman, optax.sgd(0.5, momentum=0.9), beta=0.1, theta=0.7, axis_name="data"
  )
  mapped = jax.vmap(train.update, (None, 0), (None, None), axis_name="data")

  @jax.jit
  def update(state, data):
    return mapped(state, jax.tree.map(lambda a: a.reshape(4, 2, *a.shape[1:]), data))

  alone = run(update_jit, start(SEVERAL, 4), three_batches())
  assert_same_run(run(update, start(train, 4), three_batches()), alone)


def member(tree, k):
  """Part k of every leaf, by NumPy but for keys, which it does not know."""
  is_key = lambda a: jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
  return jax.tree.map(lambda a: a[k] if is_key(a) else np.asarray(a)[k], tree)


def test_a_population_equals_lone_runs():
  keys = jax.random.split(jax.random.key(5), 3)
  states = jax.jit(jax.vmap(SEVERAL.init, (0, None)))(keys, np.zeros(4, np.float32))
  update = jax.jit(jax.vmap(SEVERAL.update, (0, None)))
  together, metrics = run(update, states, three_batches())
  for k in range(3):
    alone = run(update_jit, member(states, k), three_batches())
    assert_same_run((member(together, k), [member(m, k) for m in metrics]), alone)


def test_scan_equals_a_loop():
  data = jax.tree.map(lambda *a: np.stack(a), *three_batches())
  state, metrics = jax.jit(lambda s: jax.lax.scan(SEVERAL.update, s, data))(start(SEVERAL, 4))
  alone = run(update_jit, start(SEVERAL, 4), three_batches())
  assert_same_run((state, [member(metrics, k) for k in range(3)]), alone)


def test_padding_does_not_reach_the_parameters():
  data = batch(features=4)
  beyond = (np.arange(T) >= data.lengths[:, None])[..., None]
  nan = data._replace(inputs=np.where(beyond, np.nan, data.inputs).astype(np.float32))
  for objective in ("rc", "eos"):
    train = rc_jax.make_train(elman, optax.sgd(0.5), objective=objective, theta=0.7)
    update = jax.jit(train.update)
    (state, metrics), expected = update(start(train, 4), nan), update(start(train, 4), data)
    chex.assert_tree_all_finite(state.params)
    chex.assert_trees_all_close((state.params, metrics), (expected[0].params, expected[1]))


@pytest.mark.parametrize(
  "options, message",
  [
    ({"objective": "ros"}, r"objective is 'ros'; choose one of \('rc', 'eos'\)"),
    ({"theta": 1.0}, r"theta is 1\.0; a threshold on a probability"),
    ({"theta": np.array([0.5, 0.0])}, "theta is .* lies between 0 and 1"),
    ({"theta": np.full((2, 2), 0.9)}, r"theta has shape \(2, 2\)"),
    ({"beta": -0.1}, r"beta is -0\.1; .* must be 0 or more"),
    ({"loss": "focal"}, r"loss is 'focal'; give a function of one row"),
    ({"optimizer": 1e-3}, r"optimizer is 0\.001; give one of optax"),
    ({"objective": Objective(lambda *row: 0.0, extra_outputs=1)}, "1 extra_outputs and no act"),
  ],
)
def test_bad_options(options, message):
  with pytest.raises(ValueError, match=message):
    rc_jax.make_train(scripted, **({"optimizer": optax.sgd(0.1)} | options))


@pytest.mark.parametrize("objective", ["rc", "eos"])
@pytest.mark.parametrize(
  "theta, message",
  [
    (0.2, r"theta is 0\.2, which the most probable of 3 classes always reaches"),
    (np.full(4, 0.9), r"theta has shape \(4,\); .* \[5\]"),
  ],
)
def test_theta_is_checked_against_the_classifier(objective, theta, message):
  train = rc_jax.make_train(scripted, optax.sgd(0.1), objective=objective, theta=theta)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(train.update, start(train), batch())


@pytest.mark.parametrize("initial", [lambda p: (0, 0.0), lambda p: (jax.random.key(3), 0.0)])
def test_a_carry_of_numbers_or_a_key_over_a_named_axis(initial):
  """What a mapped axis marks as a device's own may be no array yet, or a key."""

  def step(params, carry, x):
    return (carry[0], carry[1] + jnp.sum(x)), x[:C] + carry[1] + params["shift"]

  given = {"axis_name": "device", "theta": 0.6}
  classifier = scripted._replace(initial_carry=initial, step=step)
  train, alone = (rc_jax.make_train(classifier, optax.sgd(0.1), **k) for k in (given, {}))
  state, data = start(train), batch()
  update = jax.vmap(train.update, (None, None), axis_name="device", axis_size=1)
  got, want = jax.eval_shape(update, state, data), jax.eval_shape(alone.update, state, data)
  assert jax.tree.map(lambda a: a.shape[1:], got) == jax.tree.map(lambda a: a.shape, want)


def test_a_traced_beta_beside_an_objective_is_refused():
  make = lambda beta: rc_jax.make_train(
    scripted, optax.sgd(0.1), beta=beta, objective=rc_jax.objectives.every_step()
  )
  with pytest.raises(ValueError, match="the entropy reward is for the objectives rc and eos"):
    jax.eval_shape(lambda beta: jnp.float32(bool(make(beta))), 0.1)

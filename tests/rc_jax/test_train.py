"""The update: its loss, its schedules, its metrics, and the ways to map it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest
from jax.sharding import PartitionSpec

import rc_jax

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
  return jax.jit(train.init)(jax.random.key(seed), jnp.zeros(features))


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
  train = rc_jax.make_train(scripted, optax.sgd(0.0), objective=objective, beta=0.3, theta=0.6)
  data = batch()
  expected = expected_metrics(data, 0.6, 0.3, objective)
  assert 0 < expected["no_spike_fraction"] < 1 and 0 < expected["accuracy"] < 1
  state = start(train)
  after, metrics = jax.jit(train.update)(state, data)
  assert_metrics(metrics, expected)
  assert all(m.shape == () and m.dtype == jnp.float32 for m in metrics)
  heard = {"rc": expected["mean_spike_step"], "eos": np.mean(data.lengths)}[objective]
  assert heard / T <= float(metrics.computed_fraction) + 1e-6 <= 1 + 2e-6
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


def test_init_keys():
  train = rc_jax.make_train(elman, optax.sgd(0.1))
  one, same, other = (start(train, seed=s) for s in (0, 0, 1))
  chex.assert_trees_all_equal(one.params, same.params)
  assert one.key == same.key != other.key
  assert not np.array_equal(one.params["W"], other.params["W"])
  assert one.key != jax.random.key(0)  # consumed


SEVERAL = rc_jax.make_train(elman, optax.sgd(0.5, momentum=0.9), beta=0.1, theta=0.7)
update_jit = jax.jit(SEVERAL.update)


def test_update_is_pure():
  state, data = start(SEVERAL, 4), batch(features=4)
  before = jax.tree.map(np.array, (state.params, state.opt_state, state.step))
  one, two = update_jit(state, data), update_jit(state, data)
  chex.assert_trees_all_equal(one[0].params, two[0].params)
  chex.assert_trees_all_equal(one[1], two[1])
  chex.assert_trees_all_equal((state.params, state.opt_state, state.step), before)
  assert one[0].key == state.key


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
    m, e = (x._replace(computed_fraction=0) for x in (m, e))  # a device may stop earlier
    chex.assert_trees_all_close(m, e, atol=1e-6)


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


def test_a_population_equals_lone_runs():
  states = jax.vmap(SEVERAL.init, (0, None))(jax.random.split(jax.random.key(5), 3), jnp.zeros(4))
  update = jax.jit(jax.vmap(SEVERAL.update, (0, None)))
  together, metrics = run(update, states, three_batches())
  for k in range(3):
    member = lambda tree, k=k: jax.tree.map(lambda a: a[k], tree)
    alone = run(update_jit, member(states), three_batches())
    assert_same_run((member(together), [member(m) for m in metrics]), alone)


def test_scan_equals_a_loop():
  data = jax.tree.map(lambda *a: np.stack(a), *three_batches())
  state, metrics = jax.jit(lambda s: jax.lax.scan(SEVERAL.update, s, data))(start(SEVERAL, 4))
  alone = run(update_jit, start(SEVERAL, 4), three_batches())
  assert_same_run((state, [jax.tree.map(lambda a, k=k: a[k], metrics) for k in range(3)]), alone)


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
  ],
)
def test_bad_options(options, message):
  with pytest.raises(ValueError, match=message):
    rc_jax.make_train(scripted, optax.sgd(0.1), **options)


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
    train.update(start(train), batch())

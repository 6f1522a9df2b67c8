"""Every objective against plain NumPy loops, and one contract for all of them."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracle
import pytest
from drawn import draw_params
from jax.sharding import PartitionSpec

import rc_jax
from rc_jax import objectives

B, T, C, THETA = 4, 5, 3, 0.8
LENGTHS = np.array([5, 3, 1, 4], np.int32)
LABELS = np.array([0, 2, 1, 2], np.int32)
KEY = jax.random.key(7)
softmax = lambda rows: np.array([oracle.softmax(row) for row in rows])


def every_step(z, y, weight=lambda t, n: 1):
  weights = [weight(t, len(z)) for t in range(len(z))]
  losses = [w * oracle.cross_entropy(row, y) for w, row in zip(weights, z, strict=True)]
  return sum(losses) / sum(weights)


def early_prediction(z, y):
  return sum(oracle.cross_entropy(row, y) for row in z)


def until_spike(z, y):
  spikes = [t for t, row in enumerate(z) if oracle.confidence(row) >= THETA]
  return every_step(z[: spikes[0] + 1] if spikes else z, y)


def progression(z, y, fixed, weight=0.7):
  """`fixed` are the outputs at which the larger earlier probabilities are taken."""
  now, before = softmax(z)[:, y], softmax(fixed)[:, y]
  lost = [max(0, max(before[:t]) - now[t]) for t in range(1, len(z))]
  return every_step(z, y) + weight * sum(lost) / len(z)


def max_pooling(z, y, drawn):
  if y == 2:  # the background
    return oracle.cross_entropy(z[drawn], y)
  return min(oracle.cross_entropy(row, y) for row in z)


def cumulative(z, y):
  p = softmax(z)[:, y]
  return -sum(np.log(sum(p[: t + 1]) / (t + 1)) for t in range(len(z))) / len(z)


def patience(z, y):
  return oracle.cross_entropy(z[-1], y)


def stop_head(z, y, alpha=0.6, epsilon=2.0):
  n, alive, total = len(z), 1.0, 0.0
  for t in range(n):
    stop = 1.0 if t == n - 1 else oracle.sigmoid(z[t][-1])
    p, alive = alive * stop, alive * (1 - stop)
    loss = oracle.cross_entropy(z[t][:-1], y)
    reward = oracle.softmax(z[t][:-1])[y] * (1 - t / n)
    total += (p + epsilon / n) * (alpha * loss - (1 - alpha) * reward)
  return total


def sprt(z, y):
  total = 0.0
  for t in range(len(z)):
    s = np.sum(z[: t + 1], axis=0)
    total += np.log(1 + sum(np.exp(-(s[y] - s[j])) for j in range(len(s)) if j != y))
  return total / len(z)


def as_they_are(z):
  return [(int(np.argmax(row)), oracle.confidence(row)) for row in z]


def read_cumulative(z):
  means = [np.mean(softmax(z[: t + 1]), axis=0) for t in range(len(z))]
  return [(int(np.argmax(p)), max(p)) for p in means]


def read_patience(z, steps=2):
  read = []
  for t, row in enumerate(z):
    label, last = int(np.argmax(row)), z[max(0, t - steps + 1) : t + 1]
    same = len(last) == steps and all(np.argmax(r) == label for r in last)
    read.append((label, min(oracle.confidence(r) for r in last) if same else 1 / C))
  return read


def read_stop_head(z):
  return [(int(np.argmax(r[:-1])), 1 / C + (1 - 1 / C) * oracle.sigmoid(r[-1])) for r in z]


def read_sprt(z):
  read = []
  for t in range(len(z)):
    s = np.sum(z[: t + 1], axis=0)
    label = int(np.argmax(s))
    read.append((label, oracle.sigmoid(min(s[label] - s[j] for j in range(C) if j != label))))
  return read


# The objective, its loss of one row, what a decision reads: (label, confidence) a step.
ALL = {
  "every_step": (objectives.every_step(), every_step, as_they_are),
  "late": (
    objectives.every_step("late"),
    functools.partial(every_step, weight=lambda t, n: t + 1),
    as_they_are,
  ),
  "early": (
    objectives.every_step("early"),
    functools.partial(every_step, weight=lambda t, n: n - t),
    as_they_are,
  ),
  "early_prediction": (objectives.early_prediction(), early_prediction, as_they_are),
  "until_spike": (objectives.until_spike(objectives.every_step()), until_spike, as_they_are),
  "progression": (objectives.progression(0.7), progression, as_they_are),
  "max_pooling": (objectives.max_pooling(background=2), max_pooling, as_they_are),
  "cumulative": (objectives.cumulative(), cumulative, read_cumulative),
  "patience": (objectives.patience(2), patience, read_patience),
  "stop_head": (objectives.stop_head(0.6, 2.0), stop_head, read_stop_head),
  "sprt": (objectives.sprt(), sprt, read_sprt),
}
# The engine alone is tested in engine/; here a loss of each kind goes through it: one that ends
# early, one that draws, one with an output of its own.
EARLY = ("every_step", "until_spike", "max_pooling", "stop_head")


def scripted_step(params, count, x):
  return count + 1, x[:-1] + params["shift"][x[-1].astype(jnp.int32), count]


def scripted(outputs):
  """Outputs that the input spells out, shifted by a parameter of each row, step and output."""
  init = lambda key, x: {"shift": jnp.zeros((B, T, outputs))}
  return rc_jax.Classifier(init, lambda params: jnp.int32(0), scripted_step)


def make(name, seed=0, engine="auto"):
  objective = ALL[name][0]
  outputs = C + objective.extra_outputs
  z = 2 * np.random.default_rng(seed).normal(size=(B, T, outputs)).astype(np.float32)
  rows = np.broadcast_to(np.arange(B, dtype=np.float32)[:, None, None], (B, T, 1))
  batch = rc_jax.Batch(np.concatenate([z, rows], axis=-1), LABELS.copy(), LENGTHS)
  options = {"objective": objective, "theta": THETA, "engine": engine}
  train = rc_jax.make_train(scripted(outputs), optax.sgd(0.5), **options)
  params = {"shift": jnp.asarray(np.zeros((B, T, outputs), np.float32))}
  return train, params, batch, z


@functools.cache
def drawn_step(row, length):
  """The step of a background row that `max_pooling` draws with the tests' key."""
  return int(jax.random.randint(jax.random.fold_in(KEY, row), (), 0, length))


def losses_by_hand(name, z, at):
  """The loss `[B]` of each row of `z`; what an objective draws or holds fixed is that of `at`."""
  losses = []
  for row, (y, n) in enumerate(zip(LABELS, LENGTHS, strict=True)):
    more = {}
    if name == "max_pooling":
      more = {"drawn": drawn_step(row, int(n))}
    if name == "progression":
      more = {"fixed": at[row, :n]}
    losses.append(ALL[name][1](z[row, :n], y, **more))
  return np.array(losses)


@pytest.mark.parametrize(
  ("name", "engine"), [*((n, "full") for n in ALL), *((n, "early_exit") for n in EARLY)]
)
def test_the_contract(name, engine):
  """Loss and gradient are the loops'; none in the padding, whatever is there; NaN for bad labels.

  The gradient is compared, by differences, at every output of every row and step.
  """
  train, params, batch, z = make(name, engine=engine)
  run = jax.jit(jax.value_and_grad(train.loss, has_aux=True))
  (loss, metrics), gradient = jax.tree.map(np.asarray, run(params, batch, 0, KEY))
  z = z.astype(np.float64)
  by_hand = lambda z, at=z: np.mean(losses_by_hand(name, z, at))
  assert float(loss) == pytest.approx(by_hand(z), rel=1e-5)
  assert metrics.loss == loss and metrics.computed_fraction == 1  # one row runs to step T
  for index in np.ndindex(z.shape):
    ahead, behind = z.copy(), z.copy()
    ahead[index] += 1e-5
    behind[index] -= 1e-5
    slope = (by_hand(ahead) - by_hand(behind)) / 2e-5
    assert float(gradient["shift"][index]) == pytest.approx(slope, abs=2e-5), index
  padding = np.arange(T) >= LENGTHS[:, None]
  assert not np.any(gradient["shift"][padding])

  for garbage in (np.nan, 1e30):
    inputs = np.where(padding[..., None], garbage, batch.inputs).astype(np.float32)
    other = run(params, batch._replace(inputs=inputs), 0, KEY)
    chex.assert_trees_all_equal(other, ((loss, metrics), gradient))

  for label in (-1, C, C + 1):
    batch.labels[1] = label
    (loss, metrics), gradient = jax.tree.map(np.asarray, run(params, batch, 0, KEY))
    assert np.isnan(loss) and not metrics.finite
    bad = ~padding & (np.arange(B) == 1)[:, None]
    assert (np.isnan(gradient["shift"]) == bad[..., None]).all()


def test_a_loss_until_the_spike_leaves_out_what_comes_after():
  """The same loss and gradient by either engine; early exit computes less."""
  network = rc_jax.lstm(6, C)
  x = np.random.default_rng(0).normal(size=(B, T, 4)).astype(np.float32)
  params, batch = draw_params(network, x[0, 0]), rc_jax.Batch(x, LABELS, LENGTHS)
  options = {"objective": ALL["until_spike"][0], "theta": 0.35}
  found = []
  for engine in ("full", "early_exit"):
    train = rc_jax.make_train(network, optax.sgd(0.5), engine=engine, **options)
    found.append(jax.jit(jax.value_and_grad(train.loss, has_aux=True))(params, batch, 0))
  ((loss, full), expected), ((same, early), got) = found
  assert float(early.computed_fraction) < full.computed_fraction == 1
  assert early.mean_spike_step == full.mean_spike_step < np.mean(LENGTHS)
  chex.assert_trees_all_close((same, got), (loss, expected), atol=1e-6)


def test_a_bad_label_makes_a_loss_nan_that_looks_at_nothing():
  constant = rc_jax.Objective(lambda key, outputs, label, length: jnp.float32(3))
  train = rc_jax.make_train(scripted(C), optax.sgd(0.5), objective=constant)
  _, params, batch, _ = make("every_step")
  loss = jax.jit(train.loss)
  assert loss(params, batch, 0)[0] == 3
  batch.labels[1] = C
  assert np.isnan(loss(params, batch, 0)[0])


@pytest.mark.parametrize("name", ["every_step", *(n for n in ALL if ALL[n][0].act)])
def test_a_decision_reads_what_the_loops_say(name):
  """By `evaluate` of the network with its `act`, and by `evaluate` and `frontier` of its record."""
  objective, _, by_hand = ALL[name]
  _, params, batch, z = make(name, seed=3)
  classifier = rc_jax.with_act(scripted(z.shape[-1]), objective.act, z.shape[-1])
  recorded, batches = rc_jax.record(classifier, params, batch)
  read = [by_hand(row[:n].astype(np.float64)) for row, n in zip(z, LENGTHS, strict=True)]
  found = 0
  thetas = (0.5, 0.7, 0.95)
  curve = rc_jax.frontier(recorded, (), batches, thetas)
  for k, theta in enumerate(thetas):
    at = [next((t for t, (_, p) in enumerate(r) if p >= theta), len(r) - 1) for r in read]
    result = rc_jax.evaluate(recorded, (), batches, theta)
    assert result.step.tolist() == at
    assert result.predicted.tolist() == [r[t][0] for r, t in zip(read, at, strict=True)]
    assert result.eos_label.tolist() == [r[-1][0] for r in read]
    assert curve.mean_spike_step[k] == pytest.approx(result.mean_spike_step)
    assert curve.accuracy[k] == pytest.approx(result.rc_accuracy)
    found += int(result.spiked.sum())
  chex.assert_trees_all_equal(rc_jax.evaluate(classifier, params, batch, theta), result)
  assert 0 < found < 3 * B
  confidence = np.asarray(rc_jax.confidence(batches[0].inputs))
  for row, r in enumerate(read):
    expected = np.clip([p for _, p in r], 1.001 / C if objective.act else 0, 1)
    np.testing.assert_allclose(confidence[row, : len(r)], expected, atol=1e-5)


def test_a_stream_decides_with_patience():
  """Step by step, as the recorded outputs say."""
  act = objectives.patience(2).act
  _, params, batch, _ = make("patience", seed=3)
  classifier = rc_jax.with_act(scripted(C), act, C)
  whole = rc_jax.evaluate(classifier, params, batch._replace(lengths=np.full(B, T)), 0.5)
  stream = rc_jax.make_stream(classifier, params, 0.5)
  state, push = stream.init(B), jax.jit(stream.push)
  for t in range(T):
    state, decision = push(state, jnp.asarray(batch.inputs[:, t]))
    decided = whole.spiked & (whole.step <= t)
    assert np.asarray(decision.spiked).tolist() == decided.tolist()
  assert whole.spiked.sum() > 0


def test_patience_of_one_step_is_eos():
  _, params, batch, _ = make("patience")
  eos, one = (
    rc_jax.make_train(scripted(C), optax.sgd(0.5), objective=objective, theta=0.6)
    for objective in ("eos", objectives.patience(1))
  )
  losses = [jax.jit(jax.value_and_grad(t.loss, has_aux=True))(params, batch, 0) for t in (eos, one)]
  (expected, of_eos), (got, of_one) = losses
  chex.assert_trees_all_close(of_one, of_eos, atol=1e-7)
  compared = lambda m: m[1]._replace(computed_fraction=0)
  chex.assert_trees_all_close(compared(got), compared(expected), rtol=1e-5)


# It draws, and has an `act` with a state.
DRAWS = ALL["max_pooling"][0]._replace(act=objectives.sprt().act)


@functools.cache
def background():
  """A training that draws, its first state, and a batch of background rows."""
  train = rc_jax.make_train(scripted(C), optax.sgd(0.5), objective=DRAWS, theta=0.6)
  batch = make("max_pooling")[2]._replace(labels=np.full(B, 2, np.int32))
  return jax.jit(train.update), jax.jit(train.init)(KEY, jnp.zeros(C + 1)), batch


def test_an_update_draws_anew_from_the_runs_key():
  """One step of each background row, all of its steps in time, never one in the padding."""
  update, first, batch = background()
  seen, state = [set() for _ in range(B)], first
  for _ in range(30):
    after, _ = update(state, batch)
    moved = np.any(np.asarray(after.params["shift"]) != 0, axis=-1)
    assert (moved.sum(axis=1) == 1).all()
    for row, step in zip(*np.nonzero(moved), strict=True):
      seen[row].add(int(step))
    state = after._replace(params=first.params)
  assert seen == [set(range(n)) for n in LENGTHS]


def test_two_devices_do_what_one_does(two_devices):
  """They draw the same numbers; the state of an `act`, a constant at first, varies on each."""
  update, state, batch = background()
  train = rc_jax.make_train(
    scripted(C), optax.sgd(0.5), objective=DRAWS, theta=0.6, axis_name="device"
  )
  whole, rows = PartitionSpec(), PartitionSpec("device")
  specs = {"in_specs": (whole, rows), "out_specs": (whole, whole)}
  on_two = jax.jit(jax.shard_map(train.update, mesh=two_devices, **specs))
  got, expected = on_two(state, batch), update(state, batch)
  chex.assert_trees_all_close(got[0].params, expected[0].params, atol=1e-7)
  chex.assert_trees_all_close(got[1], expected[1], rtol=1e-5)


@pytest.mark.parametrize(
  "make_objective, message",
  [
    (lambda: objectives.every_step("last"), r"weighting is 'last'; choose one of \('equal'"),
    (lambda: objectives.progression(-1.0), r"weight is -1\.0; .* must be 0 or more"),
    (lambda: objectives.until_spike("rc"), "until_spike is given 'rc'; give an Objective"),
    (lambda: objectives.patience(0), "steps of patience is 0; give a whole number of 1"),
    (lambda: objectives.patience(1.5), r"steps of patience is 1\.5; give a whole number"),
    (lambda: objectives.patience(True), "steps of patience is True; give a whole number"),
    (lambda: objectives.max_pooling(1.5), r"background, .*, is 1\.5; give a whole number of 0"),
    (lambda: objectives.max_pooling("noise"), "background, .*, is 'noise'; give a whole number"),
    (lambda: objectives.stop_head(1.2), r"alpha is 1\.2; .* lies in 0\.\.1"),
    (lambda: objectives.stop_head(epsilon=-1), "epsilon is -1; the smoothing must be 0 or more"),
  ],
)
def test_bad_hyperparameters(make_objective, message):
  with pytest.raises(ValueError, match=message):
    make_objective()


@pytest.mark.parametrize("name", ["patience", "cumulative", "sprt", "stop_head"])
def test_an_act_is_of_float32_where_jax_has_64_bits(name):
  with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
    train, params, data, _ = make(name)
    loss, _ = jax.eval_shape(train.loss, params, data, 0)
  assert loss.dtype == jnp.float32


def test_what_does_not_go_with_an_objective():
  every = objectives.every_step()
  own = rc_jax.Objective(lambda key, z, y, n: z)
  first = rc_jax.Act(lambda n: (), lambda s, z: (s, z[:1]))
  few = rc_jax.Objective(lambda key, z, y, n: z[0, 0], first, extra_outputs=2)
  other = rc_jax.Objective(every.loss, rc_jax.Act(lambda n: (), lambda s, z: (s, z[:2])))
  _, params, batch, _ = make("every_step")
  for options, message in (
    (
      {"objective": every, "beta": np.zeros(2)},
      r"beta is .*; the entropy reward is for .* leave it 0",
    ),
    ({"objective": every, "beta": 0.1}, r"beta is 0\.1; the entropy reward is for .* leave it 0"),
    ({"objective": every, "loss": lambda z, y: z[0]}, "an Objective has a loss of its own"),
    (
      {"objective": own},
      r"loss gives float32\[5, 3\] for a key, one row.s outputs float32\[5, 3\]",
    ),
    ({"objective": objectives.until_spike(objectives.sprt())}, "this one has an act or extra"),
    ({"objective": few}, "the network has 3 outputs, of which the objective takes 2"),
    ({"objective": other}, r"act gives float32\[2\] for outputs float32\[3\]; give logits"),
    ({"objective": objectives.max_pooling(2)}, "give Train.loss a key"),
    ({"objective": objectives.max_pooling(3)}, r"background is 3, but the classes are 0\.\.2"),
  ):
    with pytest.raises(ValueError, match=message):
      train = rc_jax.make_train(scripted(C), optax.sgd(0.5), **options)
      jax.eval_shape(train.loss, params, batch, 0)

"""Reading a trained network: every example once, in order, at every threshold."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from drawn import draw_params
from jax.sharding import NamedSharding, PartitionSpec

import rc_jax
from rc_jax.batches import pad_batches

N, T, C = 13, 6, 3


def scripted(traces=None):
  """A classifier whose outputs are its inputs; it notes when it is traced."""

  def step(params, count, x):
    if traces is not None:
      traces.append(x)
    return count + 1, x + params

  return rc_jax.Classifier(lambda key, x: jnp.zeros_like(x), lambda params: jnp.int32(0), step)


READER, PARAMS = scripted(), jnp.zeros(C)


def examples(seed=0):
  rng = np.random.default_rng(seed)
  inputs = (1.2 * rng.normal(size=(N, T, C))).astype(np.float32)
  lengths = rng.integers(1, T + 1, N).astype(np.int32)
  return rc_jax.Batch(inputs, rng.integers(0, C, N).astype(np.int32), lengths)


DATA = examples()


def cut(data, *sizes):
  assert sum(sizes) == len(data.labels)
  ends = np.cumsum(sizes)
  return [jax.tree.map(lambda a, e=e, n=n: a[e - n : e], data) for e, n in zip(ends, sizes)]  # noqa: B905


def assert_equals_oracle(result, data, theta, eos=True):
  step, spiked, label = oracle.first_spikes(data.inputs, theta, data.lengths)
  assert np.array_equal(result.label, data.labels)
  assert np.array_equal(result.predicted, label)
  assert np.array_equal(result.step, step)
  assert np.array_equal(result.spiked, spiked)
  last = data.inputs[np.arange(len(step)), data.lengths - 1]
  assert np.array_equal(result.eos_label, np.argmax(last, -1)) if eos else result.eos_label is None


@pytest.mark.parametrize("eos", [True, False])
@pytest.mark.parametrize(
  "sizes", [(13,), (5, 5, 3), (5, 1, 3, 4), (4, 4, 4, 1), (1,) * 13, (3, 6, 4), (0, 5, 0, 8)]
)
def test_batches_of_any_sizes(sizes, eos):
  result = rc_jax.evaluate(READER, PARAMS, cut(DATA, *sizes), 0.8, eos=eos)
  assert_equals_oracle(result, DATA, 0.8, eos)


def test_batches_may_come_from_a_generator_of_jax_arrays():
  batches = (jax.tree.map(jnp.asarray, b) for b in cut(DATA, 5, 5, 3))
  assert_equals_oracle(rc_jax.evaluate(READER, PARAMS, batches, 0.8), DATA, 0.8)


@pytest.mark.parametrize(
  "read",
  [
    functools.partial(rc_jax.evaluate, theta=0.8),
    functools.partial(rc_jax.evaluate, theta=0.8, eos=False),
    functools.partial(rc_jax.frontier, theta=[0.5, 0.8]),
    rc_jax.accuracy_at_step,
    rc_jax.record,
  ],
)
def test_one_batch_is_read_as_a_list_of_it(read):
  chex.assert_trees_all_equal(*(read(READER, PARAMS, b)[-1:] for b in (DATA, [DATA])))


def two_inputs():
  """A classifier of steps `{"audio": [4], "imu": [2, 3]}`, with an array of each in its carry."""

  def init(key, x):
    keys = jax.random.split(key, 4)
    draw = lambda k, *shape: jax.random.normal(keys[k], shape)
    audio, imu = x["audio"].size, x["imu"].size
    return {"A": draw(0, audio, 5), "I": draw(1, imu, 5), "U": draw(2, 5, 5), "V": draw(3, 5, C)}

  def step(params, h, encoded):
    h = jnp.tanh(encoded + h @ params["U"])
    return h, h @ params["V"]

  encode = lambda params, x: x["audio"] @ params["A"] + x["imu"].reshape(-1) @ params["I"]
  return rc_jax.Classifier(init, lambda params: jnp.zeros(5), step, encode)


def joined():
  """`two_inputs` for the same numbers in one array `[10]`."""
  tree = two_inputs()
  split = lambda x: {"audio": x[:4], "imu": x[4:].reshape(2, 3)}
  return tree._replace(encode=lambda params, x: tree.encode(params, split(x)))


def test_inputs_may_be_a_tree():
  rng = np.random.default_rng(3)
  flat = DATA._replace(inputs=rng.normal(size=(N, T, 10)).astype(np.float32))
  inputs = {"audio": flat.inputs[..., :4], "imu": flat.inputs[..., 4:].reshape(N, T, 2, 3)}
  data = DATA._replace(inputs=inputs)
  tree, array = two_inputs(), joined()
  params = draw_params(tree, jax.tree.map(lambda a: a[0, 0], inputs), scale=1)
  sizes = (5, 1, 3, 4)
  for read in (
    functools.partial(rc_jax.evaluate, theta=0.9),
    functools.partial(rc_jax.evaluate, theta=0.9, eos=False),
    functools.partial(rc_jax.frontier, theta=[0.5, 0.9]),
    rc_jax.accuracy_at_step,
    lambda *arguments: rc_jax.record(*arguments)[1],
  ):
    got = read(tree, params, cut(data, *sizes))
    expected = read(array, params, cut(flat, *sizes))
    chex.assert_trees_all_close(got, expected, atol=1e-5)
  result = rc_jax.evaluate(tree, params, data, 0.9)
  assert 0 < result.no_spike_fraction < 1 and len(set(result.step.tolist())) > 2
  short = data._replace(inputs=inputs | {"imu": inputs["imu"][:, :2]})
  with pytest.raises(
    ValueError, match=r"inputs\['imu'\] has shape .*, but inputs\['audio'\] has 13"
  ):
    rc_jax.evaluate(tree, params, short, 0.9)


def test_accuracy_at_every_step():
  read = rc_jax.accuracy_at_step(READER, PARAMS, cut(DATA, 5, 1, 3, 4))
  for t in range(T):
    last = DATA.inputs[np.arange(N), np.minimum(t, DATA.lengths - 1)]
    assert read[t] == pytest.approx(np.mean(np.argmax(last, -1) == DATA.labels))


@pytest.mark.parametrize("sizes", [(13,), (5, 1, 3, 4), (0, 5, 0, 8)])
def test_recorded_outputs_are_read_as_the_network_is(sizes):
  """By every reader, and the network itself is run, so traced, for the record alone."""
  traces = []
  network, params = scripted(traces), jnp.array([0.1, 0.0, -0.1])
  recorded, batches = rc_jax.record(network, params, cut(DATA, *sizes))
  counted = len(traces)
  readers = [
    functools.partial(rc_jax.evaluate, theta=0.8),
    functools.partial(rc_jax.evaluate, theta=0.8, eos=False),
    functools.partial(rc_jax.frontier, theta=np.linspace(0.4, 0.95, 7)),
    rc_jax.accuracy_at_step,
  ]
  of_record = [read(recorded, (), batches) for read in readers]
  assert 0 < counted == len(traces)
  for read, got in zip(readers, of_record, strict=True):
    chex.assert_trees_all_equal(got, read(network, params, cut(DATA, *sizes)))


def test_summaries():
  result = rc_jax.evaluate(READER, PARAMS, [DATA], 0.8)
  step, spiked, label = oracle.first_spikes(DATA.inputs, 0.8, DATA.lengths)
  last = np.argmax(DATA.inputs[np.arange(N), DATA.lengths - 1], -1)
  assert 0 < spiked.mean() < 1 and (label != last).any()
  assert result.rc_accuracy == pytest.approx(np.mean(label == DATA.labels))
  assert result.eos_accuracy == pytest.approx(np.mean(last == DATA.labels))
  assert result.mean_spike_step == pytest.approx(np.mean(step) + 1)
  assert result.no_spike_fraction == pytest.approx(1 - spiked.mean())
  said = [result.spiked_right_fraction, result.spiked_wrong_fraction, result.no_spike_fraction]
  assert sum(said) == pytest.approx(1)
  right = [
    s and p == true for s, p, true in zip(spiked, result.predicted, result.label, strict=True)
  ]
  assert said[0] == pytest.approx(np.mean(right))


def test_a_threshold_a_step():
  theta = np.linspace(0.9, 0.5, T)
  for eos in (True, False):
    result = rc_jax.evaluate(READER, PARAMS, cut(DATA, 8, 5), theta, eos=eos)
    assert_equals_oracle(result, DATA, theta, eos)


def test_params_are_used():
  shift = jnp.array([0.0, 0.0, 50.0])
  result = rc_jax.evaluate(READER, shift, [DATA], 0.8)
  assert np.all(result.predicted == 2) and np.all(result.step == 0)


@pytest.mark.parametrize("eos", [True, False])
def test_rows_of_two_devices(two_devices, eos):
  """A short last batch, which cannot be shared evenly, is padded and shared as the first."""
  by_rows = NamedSharding(two_devices, PartitionSpec("device"))
  first, last = cut(DATA, 8, 5)
  shared = [jax.device_put(first, by_rows), jax.tree.map(jnp.asarray, last)]
  padded = [batch for batch, _ in pad_batches(shared, READER, PARAMS, 0.8)]
  assert all(batch.inputs.sharding == by_rows for batch in padded)
  assert_equals_oracle(rc_jax.evaluate(READER, PARAMS, shared, 0.8, eos=eos), DATA, 0.8, eos)


@pytest.mark.parametrize("read", [rc_jax.evaluate, rc_jax.frontier])
def test_one_program_serves_all_batches(read):
  one, several = [], []
  read(scripted(one), PARAMS, cut(DATA, 13), np.float32(0.8))
  read(scripted(several), PARAMS, cut(DATA, 5, 5, 1, 2), np.float32(0.8))
  assert len(several) == len(one) > 0


def test_another_theta_needs_no_other_program():
  traces = []
  reader = scripted(traces)
  rc_jax.evaluate(reader, PARAMS, [DATA], 0.8)
  first = len(traces)
  result = rc_jax.evaluate(reader, PARAMS, [DATA], 0.5)
  assert len(traces) == first + 1  # how many classes there are is read off a trace; no program
  assert_equals_oracle(result, DATA, 0.5)


def test_a_real_network_in_odd_batches():
  classifier = rc_jax.lstm(5, C)
  params = jax.jit(classifier.init)(jax.random.key(0), np.zeros(C, np.float32))
  params = jax.tree.map(lambda a: 3 * np.asarray(a), params)
  whole = rc_jax.evaluate(classifier, params, [DATA], 0.7)
  parts = rc_jax.evaluate(classifier, params, cut(DATA, 5, 5, 3), 0.7)
  assert 0 < np.mean(whole.spiked) < 1
  for got, expected in zip(parts, whole, strict=True):
    assert np.array_equal(got, expected)
  refilled = rc_jax.evaluate(classifier, params, cut(DATA, 5, 5, 3), 0.7, eos=False)
  for got, expected in zip(refilled[:-1], whole[:-1], strict=True):
    assert np.array_equal(got, expected)
  with pytest.raises(ValueError, match="the last step was not read"):
    _ = refilled.eos_accuracy


def test_without_the_end_steps_after_a_spike_do_not_run():
  """Counts the row-steps that really run: a callback each."""
  ran = []

  def step(params, count, x):
    jax.debug.callback(lambda x: ran.append(x), x[0])
    return count + 1, x + params

  reader = READER._replace(step=step)
  data = jax.tree.map(lambda a: np.concatenate([a] * 8), DATA)
  result = rc_jax.evaluate(reader, PARAMS, cut(data, *[4] * 26), 0.8, eos=False)
  jax.effects_barrier()
  needed = int(np.sum(result.step + 1))
  assert needed <= len(ran) < 1.1 * needed + T  # a pool of one row
  assert needed < 0.6 * 8 * N * T


def test_one_slow_row_a_batch_does_not_hold_up_the_others():
  ran = []

  def step(params, count, x):
    jax.debug.callback(lambda x: ran.append(x), x[0])
    return count + 1, x + params

  rows, steps = 32, 40
  inputs = np.zeros((3 * rows, steps, C), np.float32)
  inputs[:, 0, 0] = 20.0
  inputs[::rows, 0, 0] = 0.0
  zeros = np.zeros(3 * rows, np.int32)
  data = rc_jax.Batch(inputs, zeros, zeros + steps)
  batches = cut(data, rows, rows, rows)
  result = rc_jax.evaluate(READER._replace(step=step), PARAMS, batches, 0.8, eos=False)
  jax.effects_barrier()
  assert np.array_equal(result.step, np.where(np.arange(3 * rows) % rows, 0, steps - 1))
  assert len(ran) < 0.2 * inputs[..., 0].size  # needed: 0.055


THETAS = np.array([0.4, 0.5, 0.65, 0.8, 0.9, 0.99])


@pytest.mark.parametrize("sizes", [(13,), (5, 5, 3)])
def test_frontier_equals_the_oracle_at_every_theta(sizes):
  result = rc_jax.frontier(READER, PARAMS, cut(DATA, *sizes), THETAS)
  np.testing.assert_allclose(result.theta, THETAS, rtol=1e-6)
  for k, theta in enumerate(THETAS):
    step, _, label = oracle.first_spikes(DATA.inputs, theta, DATA.lengths)
    assert result.accuracy[k] == pytest.approx(np.mean(label == DATA.labels))
    assert result.mean_spike_step[k] == pytest.approx(np.mean(step) + 1)
    assert result.earliness[k] == pytest.approx(np.mean((step + 1) / DATA.lengths))
  assert len(set(result.accuracy)) > 2


def test_earliness_is_exact_for_many_rows():
  rows, steps = 20_000, 10
  zeros = np.zeros(rows, np.int32)
  data = rc_jax.Batch(np.zeros((rows, steps, C), np.float32), zeros, zeros + steps)
  result = rc_jax.frontier(READER, PARAMS, data, 1 / C + 1e-3)
  assert result.earliness == pytest.approx(1.0, rel=1e-12)
  data.inputs[:, 0, 0] = 20.0
  assert rc_jax.frontier(READER, PARAMS, data, 0.9).earliness == pytest.approx(0.1, rel=1e-7)


def test_a_threshold_that_float32_rounds_to_one():
  result = rc_jax.frontier(READER, PARAMS, DATA, [0.5, 1 - 1e-9])
  step = rc_jax.evaluate(READER, PARAMS, DATA, 1 - 1e-9).mean_spike_step
  assert result.mean_spike_step[1] == pytest.approx(step)


@pytest.mark.parametrize("eos", [True, False])
@pytest.mark.parametrize(
  "step, message",
  [
    (lambda p, c, x: (c.astype(jnp.float32), x), r"carry int32\[\] into float32\[\]"),
    (lambda p, c, x: (c, x[:1]), "logits have 1 class; give"),
    (lambda p, c, x: (c, x[None]), r"step gives logits of shape \[1, 3\]; give \[C\]"),
    (lambda p, c, x: (c, x.sum()), r"step gives logits of shape \[\]; give \[C\]"),
    (lambda p, c, x: (c, x.astype(jnp.int32)), "step gives int32 logits; give floats"),
  ],
)
def test_a_step_that_does_not_keep_its_contract(eos, step, message):
  with pytest.raises(ValueError, match=message):
    rc_jax.evaluate(READER._replace(step=step), PARAMS, DATA, 0.8, eos=eos)


def test_nan_after_the_length_is_not_looked_at():
  beyond = (np.arange(T) >= DATA.lengths[:, None])[..., None]
  data = DATA._replace(inputs=np.where(beyond, np.nan, DATA.inputs).astype(np.float32))
  for eos in (True, False):
    assert_equals_oracle(rc_jax.evaluate(READER, PARAMS, [data], 0.8, eos=eos), DATA, 0.8, eos)


def test_a_network_that_overflows_after_the_length():
  def step(params, count, x):
    return count + 1, x + jnp.where(count < 4, params, jnp.inf)

  overflows = rc_jax.Classifier(READER.init, READER.initial_carry, step)
  lengths = np.minimum(DATA.lengths, 4)
  result = rc_jax.evaluate(overflows, PARAMS, [DATA._replace(lengths=lengths)], 0.8)
  assert_equals_oracle(result, DATA._replace(lengths=lengths), 0.8)
  with pytest.raises(ValueError, match="is not finite"):
    rc_jax.evaluate(overflows, PARAMS, [DATA], 0.8)


def changed(field, row, value):
  array = getattr(DATA, field).copy()
  array[row] = value
  return DATA._replace(**{field: array})


TO_SPIKE = functools.partial(rc_jax.evaluate, eos=False)


@pytest.mark.parametrize("read", [rc_jax.evaluate, TO_SPIKE, rc_jax.frontier])
@pytest.mark.parametrize(
  "data, message",
  [
    (changed("labels", 11, C), r"labels\[11\] is 3; it must lie in 0\.\.2"),
    (changed("labels", 0, -1), r"labels\[0\] is -1; it must lie in 0\.\.2"),
    (changed("lengths", 4, 0), r"lengths\[4\] is 0; it must lie in 1\.\.6"),
    (changed("lengths", 12, T + 1), r"lengths\[12\] is 7; it must lie in 1\.\.6"),
    (changed("inputs", (3, 0, 1), np.nan), "the output for row 3 is not finite"),
    (changed("inputs", (0, 0, 0), np.inf), "the output for row 0 is not finite"),
  ],
)
def test_bad_data_in_any_batch(read, data, message):
  with pytest.raises(ValueError, match=message):
    read(READER, PARAMS, cut(data, 5, 5, 3), 0.8)


@pytest.mark.parametrize("read", [rc_jax.evaluate, TO_SPIKE])
def test_a_masked_class_is_no_fault_and_all_of_them_are(read):
  """-inf is the logit of a class that cannot be; where all have it there is no answer."""
  masked, far = (changed("inputs", (..., 2), value) for value in (-np.inf, -1e4))
  got, expected = (read(READER, PARAMS, data, 0.8) for data in (masked, far))
  assert got.predicted.tolist() == expected.predicted.tolist()
  assert got.step.tolist() == expected.step.tolist() and 2 not in got.predicted
  with pytest.raises(ValueError, match="the output for row 1 is not finite"):
    read(READER, PARAMS, changed("inputs", (1, 0), -np.inf), 0.8)


@pytest.mark.parametrize("theta", [[], [[0.5, 0.6]]])
def test_frontier_takes_a_list_of_thresholds(theta):
  with pytest.raises(ValueError, match=r"theta has shape .*; give K >= 1 thresholds: \[K\]"):
    rc_jax.frontier(READER, PARAMS, [DATA], theta)


@pytest.mark.parametrize("inputs", [np.zeros(4, np.float32), np.zeros((4, 0, C), np.float32)])
def test_inputs_without_steps(inputs):
  ones = np.ones(4, np.int32)
  with pytest.raises(ValueError, match=r"inputs has shape .*; give \[B, T, \.\.\.\], T >= 1"):
    rc_jax.evaluate(READER, PARAMS, [rc_jax.Batch(inputs, ones, ones)], 0.8)


@pytest.mark.parametrize("read", [rc_jax.evaluate, rc_jax.frontier])
@pytest.mark.parametrize(
  "theta, message",
  [
    (1.0, r"theta is 1\.0; a threshold on a probability lies between 0 and 1"),
    (0.3, "theta is .*, which the most probable of 3 classes always reaches"),
  ],
)
def test_bad_theta(read, theta, message):
  with pytest.raises(ValueError, match=message):
    read(READER, PARAMS, [DATA], theta)


def test_theta_of_another_length():
  with pytest.raises(ValueError, match=r"theta has shape \(4,\)"):
    rc_jax.evaluate(READER, PARAMS, [DATA], np.full(4, 0.9))


def test_what_is_no_batch():
  with pytest.raises(ValueError, match="batches holds a ndarray; give one Batch, or an iterable"):
    rc_jax.evaluate(READER, PARAMS, (DATA.inputs, DATA.labels), 0.8)


def test_one_example_without_an_axis_of_rows():
  single = jax.tree.map(lambda a: a[0], DATA)
  with pytest.raises(ValueError, match=r"labels has shape \(\); inputs have 6 rows, so \[6\]"):
    rc_jax.evaluate(READER, PARAMS, single, 0.8)


def test_reading_under_a_transformation_is_refused():
  members = jnp.stack([PARAMS, PARAMS])
  with pytest.raises(ValueError, match="call this outside of jit, vmap and grad"):
    jax.vmap(lambda params: rc_jax.evaluate(READER, params, DATA, 0.8).step)(members)


def test_steps_of_several_lengths_have_no_one_curve():
  short = DATA._replace(inputs=DATA.inputs[:, :4], lengths=np.minimum(DATA.lengths, 4))
  with pytest.raises(ValueError, match=r"the batches have T of \[4, 6\]; pad them to one T"):
    rc_jax.accuracy_at_step(READER, PARAMS, [DATA, short])


@pytest.mark.parametrize("batches", [[], cut(DATA, 0, 13)[:1]])
@pytest.mark.parametrize("read", [rc_jax.evaluate, rc_jax.frontier])
def test_nothing_to_evaluate(read, batches):
  with pytest.raises(ValueError, match="there is nothing to evaluate: batches is empty"):
    read(READER, PARAMS, iter(batches), 0.8)

"""Decisions frame by frame against the whole sequence."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from drawn import draw_params
from flax import linen
from jax import export

import rc_jax

ROWS, T, C = 5, 7, 3
scripted = rc_jax.Classifier(
  lambda key, x: jnp.zeros_like(x),
  lambda params: jnp.int32(0),
  lambda params, count, x: (count + 1, x + params),
)
XS = (1.2 * np.random.default_rng(0).normal(size=(ROWS, T, C))).astype(np.float32)
THETA = 0.8


def stream_of(theta=THETA):
  stream = rc_jax.make_stream(scripted, jnp.zeros(C), theta)
  return stream, jax.jit(stream.push)


def large(classifier):
  """Parameters large enough that some rows spike and some do not."""
  params = jax.jit(classifier.init)(jax.random.key(0), np.zeros(C, np.float32))
  return jax.tree.map(lambda a: 3 * np.asarray(a), params)


def assert_equals_prefix(decision, logits, theta):
  """What Algorithm 1 says of the frames so far."""
  step, spiked, label = oracle.first_spikes(logits, theta)
  assert np.array_equal(decision.step, step)
  assert np.array_equal(decision.spiked, spiked)
  assert np.array_equal(decision.label, label)
  expected = [oracle.softmax(z[t])[j] for z, t, j in zip(logits, step, label, strict=True)]
  np.testing.assert_allclose(decision.confidence, expected, rtol=1e-5)


def test_every_frame_equals_the_sequence_so_far():
  stream, push = stream_of()
  state = stream.init(ROWS)
  spikes = []
  for t in range(T):
    state, decision = push(state, XS[:, t])
    assert_equals_prefix(decision, XS[:, : t + 1], THETA)
    spikes.append(decision.spiked.tolist())
  assert any(0 < sum(s) < ROWS for s in spikes)  # some rows have latched while others go on


def test_a_network_equals_rank_code():
  classifier = rc_jax.lstm(6, C)
  params = large(classifier)
  stream = rc_jax.make_stream(classifier, params, 0.7)
  push, state = jax.jit(stream.push), stream.init(ROWS)
  for t in range(T):
    state, decision = push(state, XS[:, t])

  @jax.jit
  def whole(xs):
    carry = classifier.initial_carry(params)
    functions = {"encode": classifier.encode, "decode": classifier.decode}
    one = lambda x: rc_jax.unroll(classifier.step, params, carry, x, **functions)
    code = rc_jax.rank_code(jax.vmap(one)(xs), 0.7)
    return code, rc_jax.confidence(code.logits)

  code, confidence = whole(XS)
  assert 0 < np.mean(code.spiked) < 1 and len(set(code.step.tolist())) > 2
  assert np.array_equal(decision.step, code.step)
  assert np.array_equal(decision.spiked, code.spiked)
  assert np.array_equal(decision.label, code.label)
  np.testing.assert_allclose(decision.confidence, confidence, rtol=1e-5)


def test_before_the_first_frame():
  stream, _ = stream_of()
  state = stream.init(2)
  spiked, step, _, _ = state.spike
  assert step.tolist() == [-1, -1] and state.steps_seen.tolist() == [0, 0] and not np.any(spiked)


def test_latches_until_reset():
  stream, push = stream_of()
  sure, other = np.float32([[9, 0, 0]]), np.float32([[0, 0, 99]])
  state, first = push(stream.init(1), sure)
  for more in range(3):
    state, decision = push(state, other)
    assert [x.tolist() for x in decision[:4]] == [x.tolist() for x in first[:4]]
    # What is no decision goes on: the probabilities of this step, and the count.
    assert np.argmax(decision.probabilities) == 2 and decision.steps_seen == more + 2
  state, decision = push(stream.reset(state, np.array([True])), other)
  assert (decision.step.tolist(), decision.label.tolist()) == ([0], [2])


def test_a_row_may_begin_anew_by_itself():
  """Then every spike is that of the steps since the one before."""
  stream = rc_jax.make_stream(scripted, jnp.zeros(C), 0.6, reset_on_decision=True)
  push, state = jax.jit(stream.push), stream.init(ROWS)
  start, spikes = np.zeros(ROWS, int), 0
  for t in range(T):
    state, decision = push(state, XS[:, t])
    for row in range(ROWS):
      step, spiked, label = oracle.first_spikes(XS[row : row + 1, start[row] : t + 1], 0.6)
      assert (decision.step[row], decision.spiked[row]) == (step[0], spiked[0])
      assert decision.label[row] == label[0] and decision.steps_seen[row] == t + 1 - start[row]
      start[row] = t + 1 if spiked[0] else start[row]
      spikes += spiked[0]
  assert spikes > ROWS


def test_a_threshold_a_class():
  theta = np.array([0.99, 0.5, 0.7])
  stream = rc_jax.make_stream(scripted, jnp.zeros(C), theta, per_class=True)
  push, state = jax.jit(stream.push), stream.init(ROWS)
  for t in range(T):
    state, decision = push(state, XS[:, t])
    expected = [oracle.softmax(z) for z in XS[:, t]]
    np.testing.assert_allclose(decision.probabilities, expected, rtol=1e-5)
  p = np.array([[oracle.softmax(z) for z in row] for row in XS])
  reached = p.max(-1) >= theta[p.argmax(-1)]
  np.testing.assert_array_equal(decision.spiked, reached.any(1))
  first = np.where(reached.any(1), reached.argmax(1), T - 1)
  np.testing.assert_array_equal(decision.step, first)
  np.testing.assert_array_equal(decision.label, p.argmax(-1)[np.arange(ROWS), first])
  assert reached.any(1).sum() > 0 and len(set(decision.label.tolist())) > 1
  rc_jax.make_stream(scripted, jnp.zeros(C), 0.9, per_class=True).push(state, XS[:, 0])  # for all
  with pytest.raises(ValueError, match=r"theta has shape \(2,\); with per_class give one .* \[3\]"):
    stream = rc_jax.make_stream(scripted, jnp.zeros(C), theta[:2], per_class=True)
    stream.push(stream.init(ROWS), XS[:, 0])


def test_a_stream_without_rows():
  stream = rc_jax.make_stream(scripted, jnp.zeros(C), THETA)
  _, decision = stream.push(stream.init(0), XS[:0, 0])
  assert decision.spiked.shape == (0,)


def test_reset_restarts_these_rows_alone():
  classifier = rc_jax.gru(4, C)
  params = large(classifier)
  stream = rc_jax.make_stream(classifier, params, 0.95)
  push, reset = jax.jit(stream.push), jax.jit(stream.reset)
  which = np.arange(ROWS) % 2 == 1
  state = going_on = stream.init(ROWS)
  for t in range(3):
    state, _ = push(state, XS[:, t])
    going_on, _ = push(going_on, XS[:, t])
  state, fresh = reset(state, which), stream.init(ROWS)
  for t in range(3, T):
    state, decision = push(state, XS[:, t])
    going_on, expected = push(going_on, XS[:, t])
    fresh, restarted = push(fresh, XS[:, t])
    decisions = jax.tree.map(np.asarray, (decision, expected, restarted))
    for got, old, new in zip(*decisions, strict=True):
      np.testing.assert_array_equal(got[~which], old[~which])
      np.testing.assert_array_equal(got[which], new[which])
  assert not np.array_equal(restarted.confidence, expected.confidence)


def test_rows_are_independent():
  stream, push = stream_of()
  state, junk = stream.init(ROWS), stream.init(ROWS)
  for t in range(T):
    state, expected = push(state, XS[:, t])
    junk, decision = push(junk, np.where(np.arange(ROWS)[:, None] == 2, XS[:, t], np.nan))
    for got, want in zip(decision, expected, strict=True):
      assert np.array_equal(np.asarray(got)[2], np.asarray(want)[2])


def test_a_threshold_a_step_goes_on_after_its_last():
  theta = np.array([0.99, 0.95, 0.6])
  stream, push = stream_of(theta)
  state = stream.init(ROWS)
  longer = np.concatenate([theta, np.full(T - 3, theta[-1])])
  for t in range(T):
    state, decision = push(state, XS[:, t])
    assert_equals_prefix(decision, XS[:, : t + 1], longer[: t + 1])
  assert (np.asarray(decision.step) > 2).any()


def test_the_buffers_of_a_state_may_be_donated():
  stream, push = stream_of()
  donating, state, other = jax.jit(stream.push, donate_argnums=0), *map(stream.init, [ROWS] * 2)
  for t in range(2):
    state, decision = push(state, XS[:, t])
    other, donated = donating(other, XS[:, t])
    chex.assert_trees_all_equal(donated, decision)


@pytest.mark.parametrize(
  "step, message",
  [
    (
      lambda p, c, x: (c.astype(jnp.float32), x),
      r"carry int32\[5\] into float32\[5\]",
    ),
    (lambda p, c, x: (c, x[:1]), "logits have 1 class; give"),
    (lambda p, c, x: (c, x.sum()), r"step gives logits of shape \[\]; give \[C\]"),
    (lambda p, c, x: (c, x[None]), r"step gives logits of shape \[1, 3\]; give \[C\]"),
  ],
)
def test_a_step_that_does_not_keep_its_contract(step, message):
  stream = rc_jax.make_stream(scripted._replace(step=step), jnp.zeros(C), THETA)
  with pytest.raises(ValueError, match=message):
    stream.push(stream.init(ROWS), XS[:, 0])


def test_an_exported_push_decides_as_before():
  classifier = rc_jax.from_linen(linen.GRUCell(5), linen.Dense(C))
  stream = rc_jax.make_stream(classifier, large(classifier), THETA)
  push, state = jax.jit(stream.push), stream.init(ROWS)
  written = export.export(push)(state, XS[:, 0]).serialize()
  elsewhere, other = jax.jit(export.deserialize(written).call), state
  for t in range(T):
    state, decision = push(state, XS[:, t])
    other, exported = elsewhere(other, XS[:, t])
    chex.assert_trees_all_equal((other, exported), (state, decision))
  assert np.mean(decision.spiked) > 0


@pytest.mark.parametrize("theta", [0.0, 1.0, np.array([0.9, 1.5])])
def test_theta_out_of_range(theta):
  with pytest.raises(ValueError, match=r"theta is .* lies between 0 and 1"):
    rc_jax.make_stream(scripted, jnp.zeros(C), theta)


def test_theta_that_is_always_reached():
  stream, push = stream_of(0.3)
  with pytest.raises(ValueError, match=r"theta is .*, which the most probable of 3 classes"):
    push(stream.init(ROWS), XS[:, 0])


def test_inputs_for_another_number_of_rows():
  classifier = rc_jax.gru(4, 3)
  params = draw_params(classifier, jnp.zeros(2))
  stream = rc_jax.make_stream(classifier, params, 0.8)
  with pytest.raises(ValueError, match=r"xs has shape \[3, 2\], but the stream has 2 rows"):
    stream.push(stream.init(2), jnp.zeros((3, 2)))


def test_inputs_may_be_a_tree():
  """The logits are the sum of two inputs of a step, of different ranks."""
  summed = scripted._replace(encode=lambda params, x: x["a"] + x["b"].sum(axis=0))
  stream = rc_jax.make_stream(summed, jnp.zeros(C), THETA)
  push, state = jax.jit(stream.push), stream.init(ROWS)
  a = np.random.default_rng(1).normal(size=XS.shape).astype(np.float32)
  b = np.stack([XS, -a], axis=2)
  for t in range(T):
    state, decision = push(state, {"a": a[:, t], "b": b[:, t]})
    assert_equals_prefix(decision, a[:, : t + 1] + b[:, : t + 1].sum(axis=2), THETA)
  with pytest.raises(
    ValueError, match=r"xs\['b'\] has shape \[4, 2, 3\], but the stream has 5 rows"
  ):
    push(state, {"a": a[:, 0], "b": b[:4, 0]})

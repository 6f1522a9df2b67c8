"""Running to the spike: Algorithm 1 with a real network, its gradients, what is not looked at."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from flax import linen

import rc_jax
from rc_jax.unroll import fill_padding

B, T, F, H, C = 6, 7, 4, 5, 3
THETA = 0.6
LENGTHS = np.array([7, 7, 7, 4, 6, 1], np.int32)
CLASSIFIER = rc_jax.lstm(H, C)
FUNCTIONS = {"encode": CLASSIFIER.encode, "decode": CLASSIFIER.decode}


def weights(seed=1):
  """Weights large enough that rows spike at various steps, one of them never."""
  rng = np.random.default_rng(seed)
  draw = lambda *shape: rng.normal(size=shape)
  return {
    "W": draw(F, 4 * H),
    "U": draw(H, 4 * H),
    "b": 0.3 * draw(4 * H),
    "V": 1.5 * draw(H, C),
    "a": 0.1 * draw(C),
  }


def as_params(w):
  w = jax.tree.map(jnp.asarray, w)
  head = [{"kernel": w["V"], "bias": w["a"]}]
  return {"input": w["W"], "recurrent": w["U"], "bias": w["b"], "head": head}


def inputs(seed=0):
  return np.random.default_rng(seed).normal(size=(B, T, F))


def carries(dtype=jnp.float32, rows=B):
  return jnp.zeros((rows, H), dtype), jnp.zeros((rows, H), dtype)


def to_spike(params, xs, lengths=None, theta=THETA):
  return rc_jax.unroll_to_spike(
    CLASSIFIER.step,
    params,
    carries(xs.dtype, xs.shape[0]),
    xs,
    theta,
    lengths,
    **FUNCTIONS,
  )


@jax.jit
def every_step(xs):
  one = lambda c, x: rc_jax.unroll(CLASSIFIER.step, PARAMS, c, x, **FUNCTIONS)
  return jax.vmap(one)(carries(), xs)


def loss(params, xs, lengths, labels):
  return rc_jax.rc_loss(to_spike(params, xs, lengths).logits, labels, 0.3).mean()


jit_to_spike = jax.jit(to_spike, static_argnames="theta")
jit_loss = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))

PARAMS = as_params(jax.tree.map(np.float32, weights()))
XS = inputs().astype(np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.int32)


def spikes_in_numpy(w=None, xs=None, lengths=LENGTHS):
  w, xs = weights() if w is None else w, inputs() if xs is None else xs
  rows = [oracle.lstm_to_spike(w, x, THETA, n) for x, n in zip(xs, lengths, strict=True)]
  return np.array([r[0] for r in rows]), np.array([r[1] for r in rows])


def test_equals_algorithm_1_with_an_lstm_in_numpy():
  logits, step = spikes_in_numpy()
  spiked = [oracle.confidence(z) >= THETA for z in logits]
  assert len(set(step)) >= 4 and any(spiked) and not all(spiked)  # else the case shows little
  code = jit_to_spike(PARAMS, XS, LENGTHS)
  assert np.array_equal(code.step, step)
  assert np.array_equal(code.spiked, spiked)
  assert np.array_equal(code.label, np.argmax(logits, -1))
  np.testing.assert_allclose(code.logits, logits, atol=1e-5)


def test_a_threshold_a_step():
  theta = np.array([0.9, 0.9, 0.9, 0.4, 0.9, 0.4, 0.4], np.float32)
  logits = np.asarray(every_step(XS))
  assert not oracle.knife_edge(logits, theta)
  step, spiked, _ = oracle.first_spikes(logits, theta, LENGTHS)
  code = jax.jit(lambda xs: to_spike(PARAMS, xs, LENGTHS, theta))(XS)
  assert np.array_equal(code.step, step) and np.array_equal(code.spiked, spiked)


def test_encode_may_be_part_of_the_step():
  whole = lambda params, c, x: CLASSIFIER.step(params, c, CLASSIFIER.encode(params, x))
  run = lambda xs: rc_jax.unroll_to_spike(
    whole, PARAMS, carries(), xs, THETA, LENGTHS, decode=CLASSIFIER.decode
  )
  code = jax.jit(run)(XS)
  expected = jit_to_spike(PARAMS, XS, LENGTHS)
  assert np.array_equal(code.step, expected.step)
  np.testing.assert_allclose(code.logits, expected.logits, atol=1e-6)


def test_the_first_carry_is_used():
  c, h = np.full((B, H), 0.7, np.float32), np.full((B, H), -0.4, np.float32)
  run = lambda carry: rc_jax.unroll_to_spike(
    CLASSIFIER.step, PARAMS, carry, XS, 0.999999, LENGTHS, **FUNCTIONS
  )
  logits = np.asarray(jax.jit(run)((c, h)).logits)
  w = weights()
  for row in range(B):
    state = c[row], h[row]
    for t in range(LENGTHS[row]):
      state = oracle.lstm_step(w, *state, XS[row, t])
    np.testing.assert_allclose(logits[row], state[1] @ w["V"] + w["a"], atol=1e-5)


def test_a_given_length_equals_the_cut_sequence():
  whole = jit_to_spike(PARAMS, XS, np.full(B, 4, np.int32))
  cut = jit_to_spike(PARAMS, XS[:, :4])
  assert np.array_equal(whole.step, cut.step)
  assert np.array_equal(whole.spiked, cut.spiked)
  np.testing.assert_allclose(whole.logits, cut.logits, atol=1e-6)
  assert not all(cut.spiked)


@pytest.mark.parametrize("rows, steps", [(1, T), (B, 1), (1, 1)])
def test_small_shapes(rows, steps):
  lengths = np.minimum(LENGTHS, steps)[:rows]
  logits, step = spikes_in_numpy(xs=inputs()[:rows, :steps], lengths=lengths)
  code = jit_to_spike(PARAMS, XS[:rows, :steps], lengths)
  assert np.array_equal(code.step, step)
  np.testing.assert_allclose(code.logits, logits, atol=1e-5)


def test_gradient_equals_finite_differences_of_numpy():
  def numpy_loss(w, xs):
    logits, _ = spikes_in_numpy(w, xs)
    return np.mean([oracle.rc_loss(z, y, 0.3) for z, y in zip(logits, LABELS, strict=True)])

  def slopes(array, evaluate, eps=1e-5):
    out = np.zeros_like(array)
    for index in np.ndindex(array.shape):
      array[index] += eps
      up = evaluate()
      array[index] -= 2 * eps
      out[index] = (up - evaluate()) / (2 * eps)
      array[index] += eps
    return out

  w, xs = weights(), inputs()
  of_weights = {k: slopes(w[k], lambda: numpy_loss(w, xs)) for k in ("U", "b", "V", "a")}
  of_inputs = slopes(xs, lambda: numpy_loss(w, xs))
  _, (params_gradient, xs_gradient) = jit_loss(PARAMS, XS, LENGTHS, LABELS)
  close = lambda got, expected: np.testing.assert_allclose(got, expected, atol=2e-5)
  close(params_gradient["recurrent"], of_weights["U"])
  close(params_gradient["bias"], of_weights["b"])
  close(params_gradient["head"][0]["kernel"], of_weights["V"])
  close(params_gradient["head"][0]["bias"], of_weights["a"])
  close(xs_gradient, of_inputs)


def test_gradient_in_float64():
  with jax.enable_x64(True):
    w, xs = as_params(weights()), jnp.asarray(inputs())
    assert xs.dtype == jnp.float64

    def scalar(w, xs):
      return jnp.sum(jnp.sin(to_spike(w, xs, LENGTHS).logits))

    jax.test_util.check_grads(
      jax.jit(scalar), (w, xs), 1, modes=["rev"], atol=1e-7, rtol=1e-7, eps=1e-5
    )


def test_gradient_stops_at_the_spike():
  _, step = spikes_in_numpy()
  _, (_, gradient) = jit_loss(PARAMS, XS, LENGTHS, LABELS)
  size = np.abs(np.asarray(gradient)).max(-1)
  for row in range(B):
    assert np.all(size[row, : step[row] + 1] > 0)
    assert np.all(size[row, step[row] + 1 :] == 0)


def test_gradients_reach_the_first_carry():
  def scalar(carry):
    return rc_jax.unroll_to_spike(
      CLASSIFIER.step, PARAMS, carry, XS, THETA, LENGTHS, **FUNCTIONS
    ).logits.sum()

  gradient = jax.jit(jax.grad(scalar))(carries())
  assert all(np.all(np.abs(np.asarray(g)).max(-1) > 0) for g in gradient)


def test_theta_step_spiked_and_label_carry_no_gradient():
  def when(theta, xs):
    code = rc_jax.unroll_to_spike(
      CLASSIFIER.step, PARAMS, carries(), xs, theta, LENGTHS, **FUNCTIONS
    )
    when_and_what = sum(
      leaf.astype(jnp.float32).sum() for leaf in (code.step, code.spiked, code.label)
    )
    return when_and_what, code.logits.sum()

  of_theta, of_xs = jax.jit(jax.jacrev(when, argnums=(0, 1)))(jnp.float32(THETA), XS)[0]
  assert float(of_theta) == 0 and not np.any(of_xs)
  of_theta = jax.jit(jax.grad(lambda theta: when(theta, XS)[1]))(jnp.float32(THETA))
  assert float(of_theta) == 0


@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e30])
def test_padding_changes_neither_loss_nor_gradient(padding):
  padded = np.where(np.arange(T)[None, :, None] < LENGTHS[:, None, None], XS, padding)
  padded = padded.astype(np.float32)
  assert not np.array_equal(padded, XS)
  value, gradient = jit_loss(PARAMS, padded, LENGTHS, LABELS)
  expected, expected_gradient = jit_loss(PARAMS, XS, LENGTHS, LABELS)
  assert np.isfinite(value) and value == expected
  for got, want in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, want, atol=1e-7)
  beyond = np.arange(T)[None] >= LENGTHS[:, None]
  assert not np.any(np.asarray(gradient[1])[beyond])


def test_what_comes_after_the_spike_changes_nothing():
  _, step = spikes_in_numpy()
  other = np.where(np.arange(T)[None, :, None] <= step[:, None, None], XS, 2.5).astype(np.float32)
  value, (gradient, _) = jit_loss(PARAMS, other, LENGTHS, LABELS)
  expected, (expected_gradient, _) = jit_loss(PARAMS, XS, LENGTHS, LABELS)
  assert float(value) == pytest.approx(float(expected), rel=1e-6)
  chex.assert_trees_all_close(gradient, expected_gradient, atol=1e-6)


def test_vmap_equals_a_loop():
  members = jax.tree.map(np.asarray, PARAMS)
  stacked = jax.tree.map(lambda a: np.stack([a, a / 2, -a]), members)
  together = jax.jit(jax.vmap(to_spike, (0, None, None)))(stacked, XS, LENGTHS)
  together = jax.tree.map(np.asarray, together)
  for k in range(3):
    alone = jit_to_spike(jax.tree.map(lambda a, k=k: a[k], stacked), XS, LENGTHS)
    assert np.array_equal(together.step[k], alone.step)
    assert np.array_equal(together.spiked[k], alone.spiked)
    np.testing.assert_allclose(together.logits[k], alone.logits, atol=1e-6)


def test_jit_equals_eager():
  eager, jitted = to_spike(PARAMS, XS, LENGTHS), jit_to_spike(PARAMS, XS, LENGTHS)
  assert np.array_equal(eager.step, jitted.step)
  assert np.array_equal(eager.spiked, jitted.spiked)
  np.testing.assert_allclose(eager.logits, jitted.logits, atol=1e-6)


def test_one_trace_a_shape():
  traced = jax.jit(chex.assert_max_traces(to_spike, n=1))
  steps = [traced(PARAMS, XS * scale, LENGTHS, THETA).step for scale in (1.0, 0.1, 3.0)]
  assert not np.array_equal(steps[1], steps[2])
  with pytest.raises(AssertionError, match="traced"):
    traced(PARAMS, XS[:, :3], np.minimum(LENGTHS, 3), THETA)


def running_mean(params, carry, x):
  """A step that is given to fail in one way at a time."""
  del params
  return carry + x, carry + x


@pytest.mark.parametrize(
  "step, message",
  [
    (lambda p, c, x: (jnp.zeros(4), x), r"step turns a carry float32\[3\] into float32\[4\]"),
    (lambda p, c, x: (c.astype(jnp.bfloat16), x), r"step turns a carry .* into bfloat16\[3\]"),
    (lambda p, c, x: ((c, c), x), "step turns a carry"),
    (lambda p, c, x: (c, x[None]), r"step gives logits of shape \[1, 3\]"),
    (lambda p, c, x: (c, x.sum()), r"step gives logits of shape \[\]"),
    (lambda p, c, x: x, r"step gives float32\[3\]; give a pair \(carry, output\)"),
    (lambda p, c, x: (c, {}["kernel"]), "step cannot take carry .*: KeyError: 'kernel'"),
    (lambda p, c, x: (c + jnp.zeros(4), x), r"step cannot take carry float32\[3\] with .*\[3\]"),
  ],
)
def test_a_step_that_does_not_keep_its_contract(step, message):
  xs = jnp.zeros((2, 4, 3))
  with pytest.raises(ValueError, match=message):
    rc_jax.unroll(step, None, jnp.zeros(3), xs[0])
  with pytest.raises(ValueError, match=message):
    rc_jax.unroll_to_spike(step, None, jnp.zeros((2, 3)), xs, 0.9)


@jax.tree_util.register_pytree_node_class
class Bag:
  """A carry whose class says of no two that they are equal."""

  def __init__(self, h):
    self.h = h

  def tree_flatten(self):
    return (self.h,), None

  @classmethod
  def tree_unflatten(cls, _, leaves):
    return cls(*leaves)


def test_a_carry_of_ones_own_class():
  step = lambda p, c, x: (Bag(c.h + x), c.h + x)
  found = rc_jax.unroll(step, None, Bag(jnp.zeros(3)), jnp.ones((4, 3)))
  np.testing.assert_array_equal(found[:, 0], [1, 2, 3, 4])
  with pytest.raises(ValueError, match=r"carry .*Bag.*float32\[3\].* into .*Bag.*float32\[\]"):
    rc_jax.unroll(lambda p, c, x: (Bag(x[0]), x), None, Bag(jnp.zeros(3)), jnp.ones((4, 3)))


def test_parameters_of_another_flax_network():
  classifier = rc_jax.from_linen(linen.GRUCell(4), linen.Dense(3))
  other = rc_jax.from_linen(linen.LSTMCell(4), linen.Dense(3))
  params = jax.eval_shape(other.init, jax.random.key(0), jnp.zeros(5))
  run = functools.partial(rc_jax.unroll, classifier.step, decode=classifier.decode)
  with pytest.raises(ValueError, match=r"step cannot take carry float32\[4\].*Scope"):
    jax.eval_shape(run, params, jnp.zeros(4), jnp.zeros((4, 5)))


@pytest.mark.parametrize("run", [rc_jax.unroll, rc_jax.unroll_to_spike])
def test_parameters_that_encode_cannot_take(run):
  classifier = rc_jax.lstm(2, 3)
  carry, theta = jax.tree.map(jnp.zeros_like, classifier.initial_carry({})), ()
  xs = jnp.zeros((4, 5))
  if run is rc_jax.unroll_to_spike:
    carry, xs, theta = jax.tree.map(lambda a: a[None], carry), xs[None], (0.9,)
  functions = {"encode": classifier.encode, "decode": classifier.decode}
  with pytest.raises(ValueError, match=r"encode cannot take input float32\[5\]: KeyError"):
    run(classifier.step, {}, carry, xs, *theta, **functions)


def test_an_encode_whose_result_the_step_cannot_take():
  with pytest.raises(ValueError, match=r"step cannot take carry .* encoded input float32\[6\]"):
    rc_jax.unroll(
      running_mean, None, jnp.zeros(3), jnp.zeros((4, 3)), encode=lambda p, x: jnp.tile(x, 2)
    )


@pytest.mark.parametrize(
  "carry, xs, lengths, message",
  [
    ((2, 3), (3, 4, 3), None, r"xs has 3 rows, but carry and lengths have \[\(2,\)\]"),
    ((3, 3), (3, 4, 3), (2,), r"xs has 3 rows, but carry and lengths have \[\(2,\)\]"),
    ((3, 3), (3, 4, 3), (3, 1), "give all of them the same leading axis"),
    ((3,), (3,), None, r"xs has shape \(3,\); give \[B, T, \.\.\.\]"),
    ((), (3, 4, 3), None, r"xs has 3 rows, but carry and lengths have \[\(\)\]"),
  ],
)
def test_rows_that_disagree(carry, xs, lengths, message):
  lengths = None if lengths is None else jnp.ones(lengths, jnp.int32)
  carry = jnp.zeros(carry) if carry else 0.0
  with pytest.raises(ValueError, match=message):
    rc_jax.unroll_to_spike(running_mean, None, carry, jnp.zeros(xs), 0.9, lengths)


def test_padding_is_filled_on_each_device_by_itself(two_devices):
  of_rows = jax.sharding.NamedSharding(two_devices, jax.sharding.PartitionSpec("device"))
  xs, lengths = jax.device_put((XS, LENGTHS), of_rows)
  filled = jax.jit(fill_padding).lower(xs, lengths).compile()
  assert not re.search("all-|collective", filled.as_text())
  expected = [row[np.minimum(np.arange(T), n - 1)] for row, n in zip(XS, LENGTHS, strict=True)]
  np.testing.assert_array_equal(filled(xs, lengths), expected)


def test_a_sequence_without_a_step():
  with pytest.raises(ValueError, match=r"xs has no step; give \[T, \.\.\.\], T >= 1"):
    rc_jax.unroll(running_mean, None, jnp.zeros(3), jnp.zeros((0, 3)))


def test_theta_is_checked():
  with pytest.raises(ValueError, match=r"theta is 0\.2, which the most probable of 3 classes"):
    to_spike(PARAMS, XS, None, 0.2)
  with pytest.raises(ValueError, match=r"theta has shape \(3,\)"):
    to_spike(PARAMS, XS, None, np.full(3, 0.9))

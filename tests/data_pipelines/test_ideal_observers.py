"""The ceilings of the generated tasks against enumeration, quadrature and simulation."""

import itertools

import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

import rc_jax
from data_pipelines import spotting, two_sequence

ROWS = 20_000
COST = 0.003  # of a step, in units of accuracy
COSTS = np.array([1e-4, 0.002, 0.005, COST], np.float32)
# These run for seconds, so that optimizing them gives more than it takes.
OPTIMIZED = {"xla_backend_optimization_level": 1}
POSTERIOR = jax.jit(two_sequence.posterior, compiler_options=OPTIMIZED)


@pytest.mark.parametrize("num_steps", range(5, 13))
def test_spotting_certainty_is_that_of_all_sequences_enumerated(num_steps):
  """Certain at t: all sequences that begin with these t steps have the same label."""
  sequences = list(itertools.product((0, 1), repeat=num_steps))
  runs = [[len(list(run)) for _, run in itertools.groupby(s)] for s in sequences]
  label = np.array([max(r) >= 5 for r in runs])
  belief = spotting.positive_probability(num_steps)
  step = np.full(len(label), num_steps)
  for t in range(num_steps - 1, 0, -1):
    by_prefix = label.reshape(2**t, -1).mean(axis=1)  # in the order of product, a prefix is a block
    for prefix, share in zip(itertools.product((0, 1), repeat=t), by_prefix, strict=True):
      lengths = [len(list(run)) for _, run in itertools.groupby(prefix)]
      assert belief[t, 5 if max(lengths) >= 5 else lengths[-1]] == share
    step[np.repeat(np.isin(by_prefix, (0, 1)), 2 ** (num_steps - t))] = t
  assert spotting.earliest(num_steps) == pytest.approx(
    (label.mean(), step[label].mean(), step[~label].mean(), step.mean()), rel=1e-12
  )


def test_spotting_at_25_steps():
  found = spotting.earliest()
  assert np.round(found, 4).tolist() == [0.5496, 13.2929, 22.6098, 17.4889]
  belief = spotting.positive_probability()
  uncertain = belief[(belief > 0) & (belief < 1)]
  assert max(uncertain.max(), 1 - uncertain.min()) == 15 / 16  # below theta = .95


@pytest.fixture(scope="module")
def sequences():
  """20,000 sequences, and the ideal observer's posterior of "above" at every step."""
  batch = jax.jit(two_sequence.sample, static_argnums=1)(jax.random.key(0), ROWS)
  return batch, np.asarray(POSTERIOR(batch.inputs))


@pytest.fixture(scope="module")
def best():
  """What the best rule of all reaches, for each of `COSTS`."""
  found = jax.jit(two_sequence.optimum, compiler_options=OPTIMIZED)(COSTS)
  return jax.tree.map(np.asarray, found)


def test_two_sequence_posterior_equals_adaptive_quadrature_of_the_densities(sequences):
  batch, posterior = sequences
  for row, steps in itertools.product(range(3), (1, 2, 3, 10, 40)):
    x = np.asarray(batch.inputs[row, :steps, 0], np.float64)

    def density(sigma, mean, x=x):
      return np.exp(scipy.stats.norm.logpdf(x, mean, sigma).sum() - 50 * (len(x) == 40))

    below, above = (
      scipy.integrate.quad(density, 0.05, 0.25, args=(m,), epsabs=0, limit=200)[0]
      for m in (-0.05, 0.05)
    )
    assert posterior[row, steps - 1, 1] == pytest.approx(above / (below + above), abs=2e-5)


def test_two_sequence_posterior_sums_to_one_and_swaps_labels_with_the_sign(sequences):
  batch, posterior = sequences
  swapped = POSTERIOR(-batch.inputs)
  np.testing.assert_allclose(swapped[..., ::-1], posterior, atol=1e-5)
  np.testing.assert_allclose(posterior.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("step", [0, 9, 39])
def test_two_sequence_posterior_is_calibrated(sequences, step):
  batch, posterior = sequences
  label = np.asarray(batch.labels)
  belief = posterior[:, step, 1].astype(np.float64)
  for rows in np.array_split(np.argsort(belief), 10):
    error = np.sqrt((belief[rows] * (1 - belief[rows])).sum()) / len(rows)
    assert label[rows].mean() == pytest.approx(belief[rows].mean(), abs=4 * error + 1e-4)


def test_ideal_observer_says_the_posterior_step_by_step(sequences):
  batch, posterior = sequences
  observer = two_sequence.ideal_observer()
  params = observer.init(jax.random.key(0), batch.inputs[0, 0])
  carry = observer.initial_carry(params)
  logits = jax.vmap(lambda xs: rc_jax.unroll(observer.step, params, carry, xs))(batch.inputs[:50])
  np.testing.assert_allclose(jax.nn.softmax(logits), posterior[:50], atol=1e-5)


def test_ideal_observer_of_two_sequence_at_the_end_and_at_theta_95(sequences):
  batch, _ = sequences
  found = rc_jax.evaluate(two_sequence.ideal_observer(), (), [batch], 0.95)
  assert found.eos_accuracy == pytest.approx(0.969, abs=4 * np.sqrt(0.969 * 0.031 / ROWS))
  assert found.rc_accuracy == pytest.approx(0.949, abs=4 * np.sqrt(0.949 * 0.051 / ROWS))
  assert found.mean_spike_step == pytest.approx(14.95, abs=4 * 11.5 / np.sqrt(ROWS))


def test_optimum_of_two_steps_equals_enumeration_on_a_fine_grid():
  x = np.linspace(-1.3, 1.3, 1001)
  sigma = np.linspace(0.05, 0.25, 401)
  prior = np.r_[0.5, np.ones(399), 0.5] / 400
  given = scipy.stats.norm.pdf(x, [[[-0.05]], [[0.05]]], sigma[:, None]) * (x[1] - x[0])
  joint = 0.5 * np.einsum("s,lsx,lsy->lxy", prior, given, given, optimize=True)
  right_now, right_later, seen = joint.sum(2).max(0), joint.max(0).sum(1), joint.sum((0, 2))
  cost = np.array([0.01, 0.02, 0.04, 0.3])
  found = two_sequence.optimum(cost.astype(np.float32), num_steps=2)
  for k, c in enumerate(cost):
    stop = right_now >= right_later - c * seen
    accuracy, steps = np.where(stop, right_now, right_later).sum(), 1 + seen[~stop].sum()
    assert found.accuracy[k] == pytest.approx(accuracy, abs=1e-3)
    value = float(found.accuracy[k] - c * found.mean_spike_step[k])
    assert value == pytest.approx(accuracy - c * steps, abs=5e-4)


def test_optimum_is_what_simulation_finds_and_no_constant_theta_exceeds(sequences, best):
  """The points are of a rule found by backward induction over 400,000 simulated sequences."""
  np.testing.assert_allclose(best.accuracy[1:3], [0.9632, 0.9502], atol=1e-3)
  np.testing.assert_allclose(best.mean_spike_step[1:3], [17.98, 14.09], atol=0.1)
  batch, _ = sequences
  theta = np.array([0.8, 0.9, 0.93, 0.95, 0.97, 0.98, 0.999])
  constant = rc_jax.frontier(two_sequence.ideal_observer(), (), [batch], theta)
  error = np.sqrt(0.25 / ROWS) / 2
  value = constant.accuracy[:, None] - COSTS * constant.mean_spike_step[:, None]
  assert np.all(value <= best.accuracy - COSTS * best.mean_spike_step + 4 * error)
  on_time = np.interp(best.mean_spike_step[1:], constant.mean_spike_step, constant.accuracy)
  assert np.all(best.accuracy[1:] > on_time)


@pytest.mark.parametrize("steps", [1, 14, 40])
def test_two_sequence_accuracy_after_a_number_of_steps_is_that_of_the_posterior(sequences, steps):
  batch, posterior = sequences
  right = np.mean((posterior[:, steps - 1, 1] > 0.5) == (np.asarray(batch.labels) == 1))
  deviation = np.sqrt(right * (1 - right) / len(batch.labels))
  assert two_sequence.accuracy_after(steps) == pytest.approx(right, abs=3 * deviation)


@pytest.mark.parametrize("surer", [1.0, 2.0])  # 2: a network's log odds are twice what they should
def test_thresholds_learnt_from_2000_sequences_beat_every_constant(sequences, best, surer):
  """By a third of what the best rule of all gains, which also sees how noisy a sequence is."""
  batch, posterior = sequences
  logits = surer * np.log(np.maximum(posterior, 1e-30))
  read = rc_jax.Batch(logits, *(np.asarray(a) for a in batch[1:]))
  learnt = rc_jax.learn_thresholds(jax.tree.map(lambda a: a[:2000], read), COST)
  probabilities = (posterior, np.asarray(jax.nn.softmax(logits)))
  confidence, shown = (p[2000:].max(-1) for p in probabilities)

  def value(theta):
    crossed = shown >= theta
    step = np.where(crossed.any(1), crossed.argmax(1), shown.shape[1] - 1)
    return np.mean(confidence[np.arange(len(step)), step] - COST * (step + 1))

  most = float(best.accuracy[-1] - COST * best.mean_spike_step[-1])
  constant = max(map(value, 1 / (1 + np.geomspace(0.0005, 0.1, 40) ** surer)))
  assert value(learnt) > constant + (most - constant) / 3

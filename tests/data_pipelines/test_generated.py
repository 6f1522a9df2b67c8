"""The generated tasks against plain loops and closed forms."""

import jax
import numpy as np
import pytest

from data_pipelines import spotting, two_sequence

SAMPLE = {task: jax.jit(task.sample, static_argnums=1) for task in (spotting, two_sequence)}


def longest_run_ends(sequence, run=5):
  """The zero-based step at which the first run of `run` equal values is complete, or None."""
  length = 0
  for t, value in enumerate(sequence):
    length = length + 1 if t and value == sequence[t - 1] else 1
    if length >= run:
      return t
  return None


def test_spotting_labels_and_earliest_steps_equal_a_loop():
  batch = jax.tree.map(np.asarray, SAMPLE[spotting](jax.random.key(3), 500))
  earliest = np.asarray(jax.jit(spotting.earliest_step)(batch.inputs))
  for row in range(500):
    end = longest_run_ends(batch.inputs[row, :, 0])
    assert batch.labels[row] == (end is not None)
    assert earliest[row] == (spotting.NUM_STEPS - 1 if end is None else end)


@pytest.mark.parametrize(
  "text, label, earliest",
  [
    ("1111100000000000000000000", 1, 4),
    ("1111000011110000111100001", 0, 24),
    ("0101010101010101010100000", 1, 24),
    ("0101010101010101010101111", 0, 24),
    ("0101111110101010101010101", 1, 7),
  ],
)
def test_spotting_by_hand(text, label, earliest):
  x = np.array([float(c) for c in text], np.float32)[:, None]
  assert bool(spotting.run_complete(x).any()) == bool(label)
  assert int(spotting.earliest_step(x)) == earliest


def test_spotting_share_of_positives_is_that_of_the_exact_count():
  # Sequences of 25 bits whose runs all have length <= 4: compositions of 25 into parts 1..4, twice.
  ways = [1] + [0] * 25
  for n in range(1, 26):
    ways[n] = sum(ways[n - k] for k in range(1, 5) if n >= k)
  exact = 1 - 2 * ways[25] / 2**25
  labels = np.asarray(SAMPLE[spotting](jax.random.key(0), 100_000).labels)
  assert float(labels.mean()) == pytest.approx(exact, abs=4 * np.sqrt(0.25 / 100_000))
  assert 0.54 < exact < 0.56


def test_two_sequence_moments():
  batch = SAMPLE[two_sequence](jax.random.key(1), 50_000)
  x = np.asarray(batch.inputs, np.float64)[..., 0]
  labels = np.asarray(batch.labels)
  assert labels.mean() == pytest.approx(0.5, abs=0.01)
  assert x[labels == 1].mean() == pytest.approx(0.05, abs=0.001)
  assert x[labels == 0].mean() == pytest.approx(-0.05, abs=0.001)
  sigma = x.std(axis=1, ddof=1)
  low, high = two_sequence.SIGMA_RANGE
  assert (sigma**2).mean() == pytest.approx((high**3 - low**3) / (3 * (high - low)), rel=0.02)


@pytest.mark.parametrize("task", [spotting, two_sequence])
def test_samples_are_a_function_of_the_key_under_jit(task):
  sample = SAMPLE[task]
  first, again = sample(jax.random.key(5), 16), sample(jax.random.key(5), 16)
  other = sample(jax.random.key(6), 16)
  assert np.array_equal(first.inputs, again.inputs)
  assert not np.array_equal(first.inputs, other.inputs)
  assert first.inputs.shape == (16, task.NUM_STEPS, 1)
  assert first.labels.dtype == first.lengths.dtype == np.int32
  assert np.all(np.asarray(first.lengths) == task.NUM_STEPS)

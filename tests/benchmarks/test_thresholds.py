"""Curves of accuracy against mean steps, by hand, and the table of the 2-sequence problem."""

import numpy as np
import pytest

from benchmarks import thresholds


def test_accuracy_at_a_mean_number_of_steps():
  curve = thresholds.Curve(np.array([[1, 3], [4, 4]]), np.array([[0, 1], [1, 1]]))
  assert thresholds.accuracy_at(curve, [2, 3, 5])[:2].tolist() == [0.5, 0.75]
  assert np.isnan(thresholds.accuracy_at(curve, [5])[0])
  assert thresholds.accuracy_at(curve, [1, 4], np.array([2, 0])).tolist() == [0, 1]


def test_of_thresholds_chosen_freely_no_other_is_better_alone():
  rng = np.random.default_rng(0)
  p = np.maximum.accumulate(rng.uniform(0.5, 1, (12, 4)), axis=1)
  worth = p - 0.05 * np.arange(1, 5)
  value = lambda theta: np.mean(worth[np.arange(12), [*map(np.argmax, p >= theta)]])
  chosen = thresholds.choose_freely(p, 0.05)
  chosen[-1] = 0.5
  for t in range(3):
    others = [np.where(np.arange(4) == t, one, chosen) for one in [*p[:, t], thresholds.NEVER]]
    assert value(chosen) == pytest.approx(max(map(value, others)))


def test_the_table_of_the_2_sequence_problem(monkeypatch):
  monkeypatch.setattr(thresholds, "TEST", 300)
  monkeypatch.setattr(thresholds, "COSTS", np.array([0.05, 0.2, 0.8]))
  monkeypatch.setattr(thresholds, "OPTIMAL_COSTS", np.array([0.002, 0.008]))
  monkeypatch.setattr(thresholds, "CONSTANTS", np.array([0.6, 0.9, 0.99]))
  monkeypatch.setattr(thresholds, "FREE_COSTS", np.array([0.08, 0.5]))
  lines = thresholds.compare_with_optimum([200], 1, [15], free=200).splitlines()[2:]
  names, cells = zip(*(line.strip("| ").split(" | ") for line in lines), strict=True)
  learnt = ("one a step, from 200 sequences", "one a step, chosen freely, from 200 sequences")
  assert names == ("one threshold", *learnt, "optimum")
  assert all(80 < float(cell.split(" %")[0]) < 100 for cell in cells)

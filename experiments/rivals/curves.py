"""Curves of accuracy against time: read from a network, and what is read from them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.harness.objectives import make_reader
from experiments.harness.run import FRONTIER_ODDS
from experiments.harness.settings import Settings
from experiments.harness.task import Task
from experiments.rivals.records import PATIENCE
from rc_jax import Batch, confidence, evaluate, frontier, learn_thresholds, record
from rc_jax.record import Recorded
from rc_jax.types import Params

COSTS = np.geomspace(0.003, 10, 16)  # of a whole row of T steps, in units of accuracy


class Curve(NamedTuple):
  """Accuracy against mean time.

  Attributes:
    time: `[K]` mean share of a row's own steps that was seen, in (0, 1].
    accuracy: `[K]`.
  """

  time: np.ndarray
  accuracy: np.ndarray


def read_curves(
  task: Task, settings: Settings, params: Params, readings: Sequence[str]
) -> dict[str, dict[str, Any]]:
  """Reads a trained network on the test split; what is chosen is chosen on validation.

  Args:
    task: whose splits are read.
    settings: of the run.
    params: of the network.
    readings: "theta", "thresholds" or "patience".

  Returns:
    For each reading, the test curve as `{"time", "accuracy"}`, the accuracy of a guess there, and
    the validation curve's area; of patience also the number of steps.
  """
  recorded = {
    split: _record(task, settings.objective, params, split) for split in ("validation", "test")
  }
  read: dict[str, dict[str, Any]] = {}
  for reading in readings:
    if reading == "thresholds":
      read[reading] = _learn(task, recorded)
    elif reading == "patience":
      tried = {}
      for steps in PATIENCE:
        objective = f"patience:{steps}"
        patient = {k: _record(task, objective, params, k) for k in ("validation", "test")}
        tried[steps] = _sweep(task, patient) | {"steps": steps}
      read[reading] = max(tried.values(), key=lambda curve: curve["validation_area"])
    else:
      read[reading] = _sweep(task, recorded)
  return read


def _record(task: Task, objective: str, params: Params, split: str) -> Recorded:
  reader = make_reader(task.classifier, objective, task.class_names)
  return record(reader, params, getattr(task, split).batches())


def _sweep(task: Task, recorded: dict[str, Recorded]) -> dict[str, Any]:
  """The curve of one threshold."""
  theta = _choose_thetas(recorded["validation"][1], len(task.class_names))
  curves = {}
  for split, (reader, batches) in recorded.items():
    read = frontier(reader, (), batches, theta)
    curves[split] = Curve(read.earliness, read.accuracy)
  return _describe(task, curves)


def _choose_thetas(validation: Sequence[Batch], classes: int) -> np.ndarray:
  """The thresholds of a curve: a fixed grid, and quantiles of the confidences on validation.

  What a stop head reads lies in a small range that is its own, of which a grid sees little.
  """
  read = [np.asarray(confidence(batch.inputs)) for batch in validation]
  heard = [np.arange(c.shape[1]) < np.asarray(b.lengths)[:, None] for c, b in zip(
    read, validation, strict=True)]  # fmt: skip
  values = np.concatenate([c[h] for c, h in zip(read, heard, strict=True)])
  theta = [*FRONTIER_ODDS / (1 + FRONTIER_ODDS), *np.quantile(values, np.linspace(0, 1, 66))]
  # One number of thresholds for all, so that one program reads them.
  return np.sort(np.clip(theta, 1.0005 / classes, 1 - 1e-6))


def _learn(task: Task, recorded: dict[str, Recorded]) -> dict[str, Any]:
  """The curve of one threshold a step, learnt on validation for each cost."""
  points: dict[str, list[tuple[float, float]]] = {"validation": [], "test": []}
  validation = recorded["validation"][1]
  for cost in COSTS / validation[0].inputs.shape[1]:
    theta = learn_thresholds(validation, float(cost))
    for split, (reader, batches) in recorded.items():
      result = evaluate(reader, (), batches, theta)
      lengths = np.concatenate([batch.lengths for batch in batches])
      points[split].append((float(np.mean((result.step + 1) / lengths)), result.rc_accuracy))
  return _describe(task, {split: Curve(*np.asarray(p).T) for split, p in points.items()})


def _describe(task: Task, curves: dict[str, Curve]) -> dict[str, Any]:
  area = measure_area(curves["validation"], find_chance(task.validation.labels))
  chance = find_chance(task.test.labels)
  return {**curves["test"]._asdict(), "chance": chance, "validation_area": area}


def find_chance(labels: np.ndarray) -> float:
  """The share of the largest class: what an answer without looking is right in."""
  return float(np.max(np.bincount(labels)) / len(labels))


def read_at(curve: Curve, time: np.ndarray | float, chance: float) -> np.ndarray:
  """The best accuracy that a curve reaches within a mean time.

  Between two points a decision can draw which of their thresholds it takes, so that the line
  between them is reached; a slower threshold that is worse is left out; before the first point an
  answer is a guess.

  Args:
    curve: of any order.
    time: mean share of the steps.
    chance: accuracy of a guess.
  """
  order = np.argsort(curve.time, kind="stable")
  x, y = curve.time[order], np.maximum.accumulate(curve.accuracy[order])
  return np.maximum(np.interp(time, x, y, left=chance), chance)


def measure_area(curve: Curve, chance: float) -> float:
  """The mean over all mean times in 0..1 of the accuracy that is reached within them."""
  grid = np.linspace(0, 1, 401)
  return float(np.trapezoid(read_at(curve, grid, chance), grid))


def find_time(curve: Curve, accuracy: float, chance: float) -> float | None:
  """The least mean time at which an accuracy is reached; None where it never is."""
  grid = np.linspace(0, 1, 2001)
  reached = read_at(curve, grid, chance) >= accuracy
  return float(grid[np.argmax(reached)]) if reached.any() else None

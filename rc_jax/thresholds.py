"""One threshold a step, learnt from the recorded outputs of a network that is trained."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from rc_jax.batches import Batches, check_one_length
from rc_jax.checks import check_batch, check_classes
from rc_jax.rank_code import can_be_read
from rc_jax.types import Batch

_ROUNDING = float(np.finfo(np.float32).eps)
_HIGHEST = 1 - _ROUNDING / 2  # nothing but a confidence of 1 reaches it
_MOST_LOG_ODDS = 15.0
# The threshold is free at these shares of the longest row, and lies on a line between them. One for
# each step would follow the few held-out rows that end there.
_KNOTS = (0.0, 0.05, 0.12, 0.25, 0.5, 0.75, 0.9, 1.0)
_MARGIN = 1e-4  # in log odds
_CONSTANTS = 40  # thresholds for all steps, of which the best is where the search begins
_MOVES = (2.0, 1.0, 0.5, 0.25, 0.12)  # of a knot, in log odds
_MOST_SWEEPS = 6  # with moves of one size
_MOST_ERRORS = 3.0  # standard errors between calibrated probabilities and outcomes
_PRIOR = 1.0  # weight of the network's own probabilities in their calibration


def learn_thresholds(batches: Batches, cost: float) -> np.ndarray:
  """Learns one threshold a step for any training, on held-out data.

  It maximizes `accuracy - cost * mean number of steps seen` over theta `[T]`, the problem of Tan et
  al. 2021, who bound the mean latency where this charges for it. The log odds of theta lie on lines
  between eight knots, each of which moves up or down for as long as that gains, from the best
  constant theta on. A row counts with its calibrated probability of being right (logistic
  regression on confidence and step), since the zeros and ones of a few thousand rows are too noisy
  for eight knots. If that calibration is off by more than three standard errors at any constant
  theta, the zeros and ones are used. Costs from small to large give a curve of accuracy against
  time.

  Args:
    batches: batches whose inputs are logits `[B, T, C]`, of one T: the second of the two values
      that `record` gives.
    cost: of a step, in units of accuracy, >= 0.

  Returns:
    `[T]` float32 in (1/C, 1), to be given to `evaluate` as theta.

  Raises:
    ValueError: a negative cost, no row, what is no `Batch` of logits, less than two classes,
      batches of several T, labels or lengths out of range, or outputs that are not finite.
  """
  if not cost >= 0:
    raise ValueError(f"cost is {cost}; a step costs 0 or more")
  rows = _read_rows(batches)
  steps = rows.log_odds.shape[1]
  lines = _interpolate(steps)
  worth = rows.right - cost * np.arange(1, steps + 1)
  value = lambda knots: np.mean(_take(worth, _find_stops(rows, lines @ knots)))
  lowest = 1 / rows.classes + 1e-6  # every confidence reaches it, but for rounding
  theta = _sigmoid(lines @ _search(value, _log_odds_within_lengths(rows), float(_log_odds(lowest))))
  return np.clip(theta, lowest, _HIGHEST).astype(np.float32)


def _interpolate(steps: int) -> np.ndarray:
  """Weights `[T, K]` of the knots at each step."""
  time = np.arange(steps) / max(steps - 1, 1)
  return np.stack([np.interp(time, _KNOTS, one) for one in np.eye(len(_KNOTS))], axis=1)


def _search(
  value: Callable[[np.ndarray], float], log_odds: np.ndarray, lowest: float
) -> np.ndarray:
  """Moves the knots `[K]` one by one, in ever smaller moves, from the best constant on."""
  constants = (np.full(len(_KNOTS), one) for one in _list_constants(log_odds))
  knots = max(constants, key=value)
  reached = value(knots)
  for size in _MOVES:
    for _ in range(_MOST_SWEEPS):
      before = reached
      for k, move in itertools.product(range(len(_KNOTS)), (size, -size)):
        moved = knots.copy()
        moved[k] = np.clip(moved[k] + move, lowest, _MOST_LOG_ODDS)
        if (now := value(moved)) > reached + 1e-9:
          knots, reached = moved, now
      if reached == before:
        break
  return knots


def _list_constants(log_odds: np.ndarray) -> np.ndarray:
  """Quantiles, and a little less: theta is rounded to float32, and its own row is to cross it."""
  return np.quantile(log_odds, np.linspace(0, 1, _CONSTANTS + 1)[1:]) - _MARGIN


class _Rows(NamedTuple):
  """Log odds of the confidence, whether (or how likely) right `[N, T]`, lengths `[N]`, and C."""

  log_odds: np.ndarray
  right: np.ndarray
  lengths: np.ndarray
  classes: int


def _read_rows(batches: Batches) -> _Rows:
  batches = [batches] if isinstance(batches, Batch) else list(batches)
  for batch in batches:
    if not isinstance(batch, Batch) or getattr(batch.inputs, "ndim", None) != 3:
      raise ValueError(
        "batches holds what is no Batch of logits [B, T, C]; give the second of the two values "
        "that rc_jax.record gives"
      )
  batches = [batch for batch in batches if len(batch.labels)]
  if not batches:
    raise ValueError("there is nothing to learn thresholds from: batches is empty")
  for batch in batches:
    check_classes(batch.inputs.shape[-1])
    check_batch(batch, num_classes=batch.inputs.shape[-1], finite_inputs=False)
  check_one_length({batch.inputs.shape[1] for batch in batches})
  logits = np.concatenate([np.asarray(batch.inputs, np.float64) for batch in batches])
  labels = np.concatenate([np.asarray(batch.labels) for batch in batches])
  lengths = np.concatenate([np.asarray(batch.lengths) for batch in batches])
  _check_readable(logits, lengths)
  weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
  log_odds = _log_odds(weights.max(axis=-1) / weights.sum(axis=-1))
  is_right = logits.argmax(axis=-1) == labels[:, None]
  rows = _Rows(log_odds, is_right.astype(np.float64), lengths, logits.shape[-1])
  calibrated = _calibrate(log_odds, is_right, lengths)
  return rows._replace(right=calibrated) if _is_calibrated(rows, calibrated) else rows


def _check_readable(logits: np.ndarray, lengths: np.ndarray) -> None:
  """Raises ValueError for a row of which a step before its length has no most probable class."""
  heard = np.arange(logits.shape[1]) < lengths[:, None]
  bad = np.flatnonzero((heard & ~np.asarray(can_be_read(jnp.asarray(logits)))).any(axis=1))
  if bad.size:
    raise ValueError(
      f"row {bad[0]} of batches has outputs that are not finite: look for NaN in its input, or for "
      "a training that diverged"
    )


def _log_odds_within_lengths(rows: _Rows) -> np.ndarray:
  """The log odds `[n]` of all steps before the rows' lengths."""
  return rows.log_odds[np.arange(rows.log_odds.shape[1]) < rows.lengths[:, None]]


def _is_calibrated(rows: _Rows, calibrated: np.ndarray) -> bool:
  """Whether probabilities `[N, T]` are those of being right where constant thresholds stop.

  Of a network whose confidence rises too late, a row that has just crossed a threshold is right
  more often than one that stays at the same confidence.
  """
  for constant in _list_constants(_log_odds_within_lengths(rows)):
    stops = _find_stops(rows, np.full(calibrated.shape[1], constant))
    error = _take(rows.right - calibrated, stops)
    if abs(np.mean(error)) > _MOST_ERRORS * np.std(error) / np.sqrt(len(error)):
      return False
  return True


def _calibrate(odds: np.ndarray, is_right: np.ndarray, lengths: np.ndarray) -> np.ndarray:
  """The probability `[N, T]` that a row is right, by logistic regression on confidence and step.

  Features are the log odds of the confidence, the step, and their product. The coefficients are
  drawn to those of a calibrated network, as by one row of each feature's unit.
  """
  steps = odds.shape[1]
  time = np.broadcast_to(np.linspace(-1, 1, steps), odds.shape)
  features = np.stack([np.ones_like(odds), odds, time, time * odds], axis=-1)
  heard = np.arange(steps) < lengths[:, None]
  weights = _fit_logistic(features[heard], is_right[heard], np.array([0.0, 1.0, 0.0, 0.0]))
  return _sigmoid(features @ weights)


def _fit_logistic(x: np.ndarray, y: np.ndarray, prior: np.ndarray) -> np.ndarray:
  """Logistic regression of `y` `[n]` on `x` `[n, k]` by Newton's method, from a prior on."""

  def loss(weights: np.ndarray) -> float:
    log_odds = np.where(y, 1, -1) * (x @ weights)
    return np.sum(np.logaddexp(0, -log_odds)) + 0.5 * _PRIOR * np.sum((weights - prior) ** 2)

  weights = prior
  for _ in range(20):
    p = _sigmoid(x @ weights)
    slope = x.T @ (y - p) - _PRIOR * (weights - prior)
    curvature = (x * (p * (1 - p))[:, None]).T @ x + _PRIOR * np.eye(len(prior))
    change = np.linalg.solve(curvature, slope)
    while loss(weights + change) > loss(weights) and np.max(np.abs(change)) > 1e-6:
      change = change / 2
    weights = weights + change
    if np.max(np.abs(change)) <= 1e-6:
      break
  return weights


def _sigmoid(x: np.ndarray) -> np.ndarray:
  return 0.5 * (1 + np.tanh(x / 2))


def _log_odds(p: Any) -> np.ndarray:
  return np.minimum(np.log(p) - np.log(np.maximum(1 - p, 1e-300)), _MOST_LOG_ODDS)


def _find_stops(rows: _Rows, log_odds: np.ndarray) -> np.ndarray:
  """The step `[N]` at which each row stops at thresholds `[T]` on the log odds."""
  within = np.arange(len(log_odds)) < rows.lengths[:, None]
  stops = (rows.log_odds >= log_odds) & within
  return np.where(stops.any(axis=1), stops.argmax(axis=1), rows.lengths - 1)


def _take(worth: np.ndarray, stop: np.ndarray) -> np.ndarray:
  """What each row is worth `[N]` if it stops at these steps."""
  return worth[np.arange(len(stop)), stop]

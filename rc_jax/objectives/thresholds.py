"""One threshold a step, learnt from the recorded outputs of a network that is trained."""

from typing import NamedTuple

import numpy as np

from rc_jax.batches import Batches
from rc_jax.checks import check_batch
from rc_jax.types import Batch

_ROUNDING = float(np.finfo(np.float32).eps)
_HIGHEST = 1 - _ROUNDING / 2  # nothing but a confidence of 1 reaches it
_MOST_SWEEPS = 20  # each one raises the objective or is the last
_CONSTANTS = 66  # quantiles of the confidences, of which the inner ones are tried


def learn_thresholds(recorded: Batches, cost: float) -> np.ndarray:
  """Learns one threshold a step for any training, on held-out data.

  It maximizes `accuracy - cost * mean number of steps seen` over theta `[T]`, by coordinate ascent
  from the best constant theta: from the last step to the first, theta_t is set to its best value
  for the rows that reach step t, with those of all other steps as they are, until a whole sweep
  gains nothing. The problem is that of Tan et al. 2021, who bound the mean latency where this
  charges for it, and descend on a smooth approximation where this is exact in each coordinate.
  Costs from small to large give a curve of accuracy against time.

  Args:
    recorded: batches whose inputs are logits `[B, T, C]`, as `record` gives them, of one T.
    cost: of a step, in units of accuracy, >= 0.

  Returns:
    `[T]` float32 in (1/C, 1), to be given to `evaluate` as theta.

  Raises:
    ValueError: a negative cost, no row, or labels or lengths out of range.
  """
  if not cost >= 0:
    raise ValueError(f"cost is {cost}; a step costs 0 or more")
  rows = _read_rows(recorded)
  steps = rows.confidence.shape[1]
  value = lambda theta: np.mean(_value_of(rows, _find_stops(rows, theta, 0), cost))
  # From the best constant threshold on, so that the result is never worse than that one.
  grid = np.quantile(rows.confidence, np.linspace(0, 1, _CONSTANTS)[1:-1])
  grid = np.clip([*grid, _HIGHEST], _lowest(rows.classes), _HIGHEST)
  theta = max((np.full(steps, constant) for constant in grid), key=value)
  reached = value(theta)
  for _ in range(_MOST_SWEEPS):
    for step in reversed(range(steps)):
      theta[step] = _find_best(rows, theta, step, cost)
    now = value(theta)
    if now <= reached + 1e-9:
      break
    reached = now
  return theta.astype(np.float32)


class _Rows(NamedTuple):
  """Confidence `[N, T]`, whether the class ahead is right `[N, T]`, lengths `[N]`, and C."""

  confidence: np.ndarray
  right: np.ndarray
  lengths: np.ndarray
  classes: int


def _read_rows(recorded: Batches) -> _Rows:
  batches = [recorded] if isinstance(recorded, Batch) else list(recorded)
  if not batches:
    raise ValueError("there is nothing to learn thresholds from: recorded is empty")
  for batch in batches:
    check_batch(batch, num_classes=batch.inputs.shape[-1])
  logits = np.concatenate([np.asarray(batch.inputs, np.float64) for batch in batches])
  labels = np.concatenate([np.asarray(batch.labels) for batch in batches])
  lengths = np.concatenate([np.asarray(batch.lengths) for batch in batches])
  weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
  confidence = weights.max(axis=-1) / weights.sum(axis=-1)
  return _Rows(confidence, logits.argmax(axis=-1) == labels[:, None], lengths, logits.shape[-1])


def _find_stops(rows: _Rows, theta: np.ndarray, first: int) -> np.ndarray:
  """The step `[N]` at which each row stops if it may from step `first` on."""
  time = np.arange(len(theta))
  stops = (rows.confidence >= theta) & (time >= first) & (time < rows.lengths[:, None])
  return np.where(stops.any(axis=1), stops.argmax(axis=1), rows.lengths - 1)


def _value_of(rows: _Rows, stop: np.ndarray, cost: float) -> np.ndarray:
  """What each row is worth `[N]` if it stops at these steps."""
  return rows.right[np.arange(len(stop)), stop] - cost * (stop + 1)


def _lowest(classes: int) -> float:
  """A threshold that every confidence reaches, but for rounding."""
  return 1 / classes + 1e-6


def _find_best(rows: _Rows, theta: np.ndarray, step: int, cost: float) -> float:
  """The best threshold of one step for the rows that reach it, where the others stay."""
  lowest = _lowest(rows.classes)
  reach = (_find_stops(rows, theta, 0) >= step) & (rows.lengths - 1 > step)
  if not reach.any():
    return theta[step]
  waiting = _value_of(rows, _find_stops(rows, theta, step + 1), cost)
  stopping = _value_of(rows, np.full(len(waiting), step), cost)
  confidence, gain = rows.confidence[reach, step], (stopping - waiting)[reach]
  order = np.argsort(-confidence, kind="stable")
  confidence, total = confidence[order], np.cumsum(gain[order])
  # Entry k: the threshold that stops the k most confident rows, halfway to the next one.
  between = np.concatenate([[_HIGHEST], (confidence[:-1] + confidence[1:]) / 2, [lowest]])
  between = np.clip(between, lowest, _HIGHEST)
  stopped = np.searchsorted(-confidence, -between, side="right")  # ties stop together
  total = np.concatenate([[0.0], total])
  best = np.argmax(total[stopped])
  # Of equal ones the present one, or a sweep could move without a gain, past another's best value.
  now = total[np.count_nonzero(confidence >= theta[step])]
  return float(between[best]) if total[stopped[best]] > now + 1e-9 else theta[step]

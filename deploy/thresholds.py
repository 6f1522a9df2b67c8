"""Chooses a threshold for what is asked, from what was read at each of a falling sequence.

All tests go down from thresholds near 1, where the network waits longest, and end at the first that
fails. Of tests in a fixed order each may be made at the full level (learn then test, Angelopoulos
et al. 2021): the chance that a threshold is chosen which breaks the promise is at most
1 - confidence.
"""

import math

import numpy as np

from deploy.scoring import bound_rate


def list_thetas(classes: int, number: int = 60) -> np.ndarray:
  """Thresholds `[K]` that fall from .9999 to just above 1/C, in equal steps of the log-odds."""
  lowest = 1.05 / max(classes - 1, 1)
  odds = np.geomspace(1e4, lowest, number)
  return odds / (1 + odds)


def choose_for_accuracy(
  thetas: np.ndarray, lost: np.ndarray, max_loss: float, confidence: float
) -> float:
  """Lowest threshold whose loss of accuracy is at most `max_loss`, with the confidence asked.

  Args:
    thetas: `[K]`, falling.
    lost: `[K, N]` bool: examples right at their end, but wrong at their spike.
    max_loss: share of examples, in (0, 1).
    confidence: in (0, 1), over the draws of the N examples.

  Returns:
    One of `thetas`.

  Raises:
    ValueError: numbers out of range, or too few examples for any threshold; it says how many are
      needed.
  """
  from scipy.stats import binom

  if not (0 < max_loss < 1 and 0 < confidence < 1):
    raise ValueError(
      f"max_accuracy_loss is {max_loss}, confidence {confidence}; both lie between 0 and 1"
    )
  number = lost.shape[1]
  needed = math.ceil(math.log(1 - confidence) / math.log(1 - max_loss))
  if number < needed:
    raise ValueError(
      f"{number} examples cannot show a loss of at most {max_loss:g} with confidence "
      f"{confidence:g}; give at least {needed}, or ask for less"
    )
  p_values = binom.cdf(lost.sum(axis=1), number, max_loss)
  return _take_last(thetas, p_values <= 1 - confidence, "the loss of accuracy")


def choose_for_time(thetas: np.ndarray, seen: np.ndarray, most: float, unit: str) -> float:
  """Highest threshold at which a decision comes, on average, within `most`.

  Args:
    thetas: `[K]`, falling.
    seen: `[K]`, mean of what was seen until the decision.
    most: that is allowed.
    unit: of both, for messages, with a place for the number: "{:.0f} ms".

  Returns:
    One of `thetas`.

  Raises:
    ValueError: no threshold is as fast.
  """
  fast = np.flatnonzero(seen <= most)
  if not fast.size:
    raise ValueError(
      f"no threshold decides within {unit.format(most)}: the fastest takes "
      f"{unit.format(seen.min())}; train with a smaller --beta, or allow more"
    )
  return float(thetas[fast[0]])


def choose_for_rate(
  thetas: np.ndarray, counts: np.ndarray, hours: float, max_rate: float, confidence: float
) -> float:
  """Lowest threshold whose events an hour are at most `max_rate`, with the confidence asked.

  Args:
    thetas: `[K]`, falling.
    counts: `[K]`, false alarms at each.
    hours: length of the recording, > 0.
    max_rate: false alarms an hour that are allowed, > 0.
    confidence: in (0, 1), of the upper bound on their rate.

  Returns:
    One of `thetas`.

  Raises:
    ValueError: numbers out of range, or a recording that is too short, or too full of false alarms,
      for any threshold.
  """
  if not (max_rate > 0 and 0 < confidence < 1):
    raise ValueError(f"the rate is {max_rate} and confidence {confidence}; give > 0, and 0 to 1")
  needed = -math.log(1 - confidence) / max_rate
  if hours < needed:
    raise ValueError(
      f"{60 * hours:.1f} minutes cannot show at most {max_rate:g} false alarms an hour with "
      f"confidence {confidence:g}; give at least {60 * needed:.0f} minutes without a false alarm"
    )
  bounds = np.array([bound_rate(int(count), hours, confidence) for count in counts])
  return _take_last(thetas, bounds <= max_rate, "the rate of false alarms")


def _take_last(thetas: np.ndarray, passes: np.ndarray, what: str) -> float:
  """Returns the last of the thresholds that pass before the first which does not."""
  failed = np.flatnonzero(~passes)
  number = int(failed[0]) if failed.size else len(thetas)
  if number == 0:
    raise ValueError(
      f"{what} is too large even at theta = {thetas[0]:.4f}; ask for less, or train a better run"
    )
  return float(thetas[number - 1])

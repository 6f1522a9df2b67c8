"""Which training series are held out to choose the checkpoint: a fact of the data, of no seed."""

import numpy as np


def hold_out(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
  """Takes evenly spaced series of each class out of the training split, in the file's order.

  Of a class with n series, `round(n * share)` are taken, at least one; none of a class that has but
  one. Evenly spaced, since neighbours in a file are often alike: of one person, or of one hour.

  Args:
    labels: `[N]` int.
    share: in (0, 0.5].

  Returns:
    The indices that train, and those that are held out, both rising.
  """
  held = np.zeros(len(labels), bool)
  for label in np.unique(labels):
    members = np.flatnonzero(labels == label)
    if len(members) > 1:
      number = max(round(len(members) * share), 1)
      held[members[((np.arange(number) + 0.5) * len(members) / number).astype(int)]] = True
  return np.flatnonzero(~held), np.flatnonzero(held)

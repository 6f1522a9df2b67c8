"""How many rows the loops of early exit hold."""

import math

MOST_WIDTHS = 5


def loop_widths(rows: int, steps: int, most: int = MOST_WIDTHS) -> list[int]:
  """Widths of the loops, from B rows down; the narrower they are, the closer they lie.

  A loop of width w runs until its silent rows fit into the next one, so rows beyond those are
  computed in vain. More widths compute less and compile longer: in a gradient each costs about a
  third of the compile time of a full scan. Where most rows spike at once, as in a trained network,
  the few that go on set the cost; so widths fall as a power of their number
  (docs/decisions/002-loop-widths.md has the comparison).

  Args:
    rows: B.
    steps: T. There are at most two widths for each step after the first: no more loops than steps
      are entered, but the spikes decide which.
    most: the largest number of widths.

  Returns:
    At most `most` widths. A loop has at least 8 rows more than the next on average, so that the
    work of a step outweighs the start of a loop.
  """
  number = max(1, min(most, 2 * (steps - 1), rows // 8))
  return [math.ceil(rows * (k / number) ** 1.6) for k in range(number, 0, -1)]

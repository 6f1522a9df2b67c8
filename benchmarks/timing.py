"""Contenders that take turns in one process, so that what else the machine does hits all alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def alternate(
  contenders: Mapping[str, Callable[[], Any]], repeats: int, calls: int = 1
) -> dict[str, float]:
  """Median milliseconds of a call of each contender, over its turns (see `take_turns`)."""
  return {name: statistics.median(t) for name, t in take_turns(contenders, repeats, calls).items()}


def median_ratio(times: Mapping[str, list[float]], name: str, reference: str) -> float:
  """Median over the rounds of `take_turns` of one contender's time over that of another.

  A machine is slower in some seconds than in others: the two times of a round lie close together,
  those of two medians may not.
  """
  return statistics.median(a / b for a, b in zip(times[name], times[reference], strict=True))


def take_turns(
  contenders: Mapping[str, Callable[[], Any]], repeats: int, calls: int = 1
) -> dict[str, list[float]]:
  """Milliseconds of a call of each contender, a list over the rounds.

  Before its turn a contender is called once untimed: it compiles, finds its own data in the caches,
  and the contender before has come to rest. PyTorch's threads look for work for up to 10 ms after
  their last: whoever came next had one of two cores.

  Args:
    contenders: name -> a call that returns arrays (waited for) or nothing.
    repeats: rounds in which each has one turn.
    calls: of a turn, one on its way while another is computed, as training goes.
  """
  times: dict[str, list[float]] = {name: [] for name in contenders}
  for _ in range(repeats):
    for name, call in contenders.items():
      result = call()
      jax.block_until_ready(result)
      start = time.perf_counter()
      for _ in range(calls):
        result = call()
      jax.block_until_ready(result)
      times[name].append(1e3 * (time.perf_counter() - start) / calls)
  return times

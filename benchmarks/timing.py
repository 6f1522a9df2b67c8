"""Contenders that take turns in one process, so that what else the machine does hits all alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def alternate(contenders: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
  """Median milliseconds of each contender, over the repeats after one warm-up.

  Args:
    contenders: name -> a call that returns arrays (waited for) or nothing.
    repeats: rounds in which each has one turn.
  """
  times: dict[str, list[float]] = {name: [] for name in contenders}
  for repeat in range(repeats + 1):
    for name, call in contenders.items():
      start = time.perf_counter()
      jax.block_until_ready(call())
      if repeat:
        times[name].append(time.perf_counter() - start)
  return {name: 1e3 * statistics.median(values) for name, values in times.items()}

"""What does a threshold a step gain over one threshold for all steps?

  python -m benchmarks.thresholds --free=400000
  python -m benchmarks.thresholds --run=RUN --data_dir=WORDS

The first takes the ideal observer of the 2-sequence problem for a network: thresholds are learnt
from so many of its sequences (`--held_out`, the mean of `--draws`) and read on 200,000 others,
beside the best constant threshold and the optimum of all stopping rules. `--free` adds about
the best that thresholds can do: each step's is the best given the others, from so many sequences
and the probability that each answer is right, which no held-out labels tell. The second learns from
the validation clips of a run of experiments.speech and reads its test clips; the interval of the
gain holds 95 % of 1,000 bootstrap samples of these. What was measured: docs/results/thresholds.md.
"""

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from data_pipelines import two_sequence
from deploy.commands import add_data, data_of, load_speech_run, run_command
from deploy.held_out import record_clips
from experiments.harness.tables import format_table
from rc_jax import confidence, evaluate, learn_thresholds, record
from rc_jax.record import Recorded

CONSTANTS = 1 / (1 + np.geomspace(1e-4, 5, 80))
COSTS = np.geomspace(0.02, 2, 24)  # of a whole row of T steps, in units of accuracy
OPTIMAL_COSTS = np.geomspace(1e-4, 0.05, 40)  # of a step, of the optimum
TEST = 200_000
ROWS = 20_000  # sequences to a batch
FREE_COSTS = np.geomspace(0.04, 0.45, 9)  # of a whole row, of thresholds chosen step by step
SWEEPS = 12
# Below 1, as a theta must be: a confidence that rounds to 1 reaches it.
NEVER = np.nextafter(np.float32(1), np.float32(0))
SAMPLES = 1000  # of the bootstrap


class Curve(NamedTuple):
  """N rows, read at K thresholds.

  Attributes:
    steps: `[K, N]` steps seen.
    right: `[K, N]` whether the answer is right, or the probability of that.
  """

  steps: np.ndarray
  right: np.ndarray


def read(recorded: Recorded, thetas: Sequence[np.ndarray], probable: bool = False) -> Curve:
  """Reads rows at thresholds.

  Args:
    recorded: of `record`.
    thetas: each a number or `[T]`.
    probable: whether a row counts with the probability of its answer: of an ideal observer.
  """
  reader, batches = recorded
  classes = batches[0].inputs.shape[-1]
  read = [evaluate(reader, (), batches, t, eos=False) for t in thetas if np.all(t > 1 / classes)]
  right = [one.predicted == one.label for one in read]
  if probable:
    p = confidences(recorded)
    right = [p[np.arange(len(p)), one.step] for one in read]
  return Curve(np.stack([one.step + 1 for one in read]), np.stack(right))


def confidences(recorded: Recorded) -> np.ndarray:
  """The largest probability `[N, T]` of each row and step."""
  return np.concatenate([confidence(batch.inputs) for batch in recorded[1]])


def accuracy_at(
  curve: Curve, steps: Sequence[float], counts: np.ndarray | None = None
) -> np.ndarray:
  """Accuracy at mean numbers of steps, on the line between two thresholds; NaN beyond the ends.

  Args:
    curve: of K thresholds.
    steps: mean numbers of steps.
    counts: `[N]` how often each row counts; None: once.
  """
  counts = np.ones(curve.steps.shape[1]) if counts is None else counts
  time, accuracy = (a @ counts / counts.sum() for a in curve)
  order = np.argsort(time)
  return np.interp(steps, time[order], accuracy[order], left=np.nan, right=np.nan)


def learn(recorded: Recorded) -> list[np.ndarray]:
  """One threshold a step `[T]` for each cost."""
  batches = recorded[1]
  return [learn_thresholds(batches, float(cost)) for cost in COSTS / batches[0].inputs.shape[1]]


def choose_freely(p: np.ndarray, cost: float) -> np.ndarray:
  """Thresholds `[T]` on the confidence, each the best one given the others.

  Step by step from the best constant on, last step first, until none changes: of the rows that are
  still silent the most confident stop, as many of them as gain by it.

  Args:
    p: `[N, T]` confidence, the probability that the answer is right.
    cost: of a step, in units of accuracy.
  """
  steps = p.shape[1]
  worth = p - cost * np.arange(1, steps + 1)
  theta = np.full(steps, max(CONSTANTS, key=lambda one: _mean_worth(p, worth, one)), p.dtype)
  for _ in range(SWEEPS):
    before = theta.copy()
    silent = np.logical_and.accumulate(p < theta, axis=1)
    later = worth[:, -1]
    for t in reversed(range(steps - 1)):
      rows = np.flatnonzero(silent[:, t - 1]) if t else np.arange(len(p))
      rows = rows[np.argsort(-p[rows, t])]
      gain = np.cumsum((worth[:, t] - later)[rows])
      best = int(np.argmax(gain)) if len(rows) else 0
      theta[t] = p[rows[best], t] if len(rows) and gain[best] > 0 else NEVER
      later = np.where(p[:, t] >= theta[t], worth[:, t], later)
    if np.array_equal(theta, before):
      break
  return theta


def _mean_worth(p: np.ndarray, worth: np.ndarray, theta: float | np.ndarray) -> float:
  crossed = p >= theta
  crossed[:, -1] = True
  return float(np.mean(worth[np.arange(len(p)), crossed.argmax(axis=1)]))


def observe(seed: int, number: int) -> Recorded:
  """The ideal observer of so many sequences of the 2-sequence problem."""
  sizes = [min(ROWS, number - start) for start in range(0, number, ROWS)]
  keys = jax.random.split(jax.random.key(seed), len(sizes))
  batches = (two_sequence.sample(key, size) for key, size in zip(keys, sizes, strict=True))
  return record(two_sequence.ideal_observer(), (), batches)


def compare_with_optimum(
  held_out: Sequence[int], draws: int, steps: Sequence[float], free: int = 0
) -> str:
  """The table of the 2-sequence problem; `free` sequences for thresholds chosen step by step."""
  test = observe(0, TEST)
  best = two_sequence.optimum(OPTIMAL_COSTS)
  time, accuracy = (np.asarray(a)[::-1] for a in (best.mean_spike_step, best.accuracy))
  found = {"one threshold": accuracy_at(read(test, list(CONSTANTS), probable=True), steps)}
  for number in held_out:
    thetas = [learn(observe(draw, number)) for draw in range(1, draws + 1)]
    curves = [accuracy_at(read(test, theta, probable=True), steps) for theta in thetas]
    found[f"one a step, from {number:,} sequences"] = np.mean(curves, axis=0)
  if free:
    p = confidences(observe(draws + 1, free))
    chosen = [choose_freely(p, float(cost)) for cost in FREE_COSTS / p.shape[1]]
    name = f"one a step, chosen freely, from {free:,} sequences"
    found[name] = accuracy_at(read(test, chosen, probable=True), steps)
  found["optimum"] = np.interp(steps, time, accuracy)
  constant, optimum = found["one threshold"], found["optimum"]
  rows = [
    (name, *map(_format, line, (line - constant) / (optimum - constant)))
    for name, line in found.items()
  ]
  return format_table(("accuracy (share of the gap)", *(f"{step:g} steps" for step in steps)), rows)


def _format(accuracy: float, share: float) -> str:
  return f"{100 * accuracy:.2f} % ({100 * share:.0f} %)"


def compare_on_clips(workdir: str, data: dict[str, Any], steps: Sequence[float]) -> str:
  """The table of a run of experiments.speech."""
  run = load_speech_run(workdir, calibrated=False)
  test = record_clips(run, data, "test")
  one = read(test, list(CONSTANTS))
  varying = read(test, learn(record_clips(run, data, "validation")))
  rng, rows = np.random.default_rng(0), one.steps.shape[1]
  gains = [
    accuracy_at(varying, steps, counts) - accuracy_at(one, steps, counts)
    for counts in rng.multinomial(rows, np.full(rows, 1 / rows), SAMPLES)
  ]
  low, high = 100 * np.quantile(gains, (0.025, 0.975), axis=0)
  single, several = (100 * accuracy_at(curve, steps) for curve in (one, varying))
  table = [
    (f"{step:g}", f"{a:.2f} %", f"{b:.2f} %", f"{b - a:+.2f} ({lo:+.2f} to {hi:+.2f})")
    for step, a, b, lo, hi in zip(steps, single, several, low, high, strict=True)
  ]
  return format_table(("mean steps", "one threshold", "one a step", "gain, points"), table)


def main() -> None:
  """Prints the table."""
  numbers = lambda text: [int(word) for word in text.split(",")]
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--held_out", type=numbers, default=[2000, 20_000])
  parser.add_argument("--draws", type=int, default=4)
  parser.add_argument("--free", type=int, default=0, help="sequences for the best thresholds")
  parser.add_argument("--run", help="the --workdir of a run of experiments.speech")
  parser.add_argument(
    "--steps", type=numbers, help="mean numbers of steps at which curves are read"
  )
  add_data(parser)
  given = parser.parse_args()
  if given.run is None:
    steps = given.steps or [10, 12, 15, 20]
    print(compare_with_optimum(given.held_out, given.draws, steps, given.free))
  else:
    print(compare_on_clips(given.run, data_of(given), given.steps or [35, 38, 40, 42]))


if __name__ == "__main__":
  run_command(main)

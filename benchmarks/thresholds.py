"""What does a threshold a step gain over one threshold for all steps?

  python -m benchmarks.thresholds
  python -m benchmarks.thresholds --run=RUN --data_dir=WORDS

The first takes the ideal observer of the 2-sequence problem for a network: thresholds are learnt
from so many of its sequences (`--held_out`, the mean of `--draws`) and read on 200,000 others,
beside the best constant threshold and the optimum of all stopping rules. The second learns from the
validation clips of a run of experiments.speech and reads its test clips; the interval of the gain
holds 95 % of 1,000 bootstrap samples of these. What was measured: docs/results/thresholds.md.
"""

import argparse
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines import speech, two_sequence
from deploy.calibrate import ROWS
from deploy.commands import add_data, data_of, load_data, load_speech_run
from experiments.harness.tables import format_table
from rc_jax import Batch, learn_thresholds, record

CONSTANTS = 1 / (1 + np.geomspace(1e-4, 5, 80))
COSTS = np.geomspace(0.02, 2, 24)  # of a whole row of T steps, in units of accuracy
TEST = 200_000
SAMPLES = 1000  # of the bootstrap


class Read(NamedTuple):
  """N rows, read at K thresholds.

  Attributes:
    steps: `[K, N]` steps seen.
    worth: `[K, N]` whether the answer is right, or the probability of that.
  """

  steps: np.ndarray
  worth: np.ndarray


def read(confidence: np.ndarray, worth: np.ndarray, thetas: Sequence[np.ndarray]) -> Read:
  """Reads rows `[N, T]` at thresholds, each a number or `[T]`."""
  stops = []
  for theta in thetas:
    crossed = confidence >= theta
    stops.append(np.where(crossed.any(axis=1), crossed.argmax(axis=1), confidence.shape[1] - 1))
  rows = np.arange(len(confidence))
  return Read(np.stack(stops) + 1, np.stack([worth[rows, stop] for stop in stops]))


def accuracy_at(
  curve: Read, steps: Sequence[float], counts: np.ndarray | None = None
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


def learn(logits: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
  """One threshold a step for each cost, from rows of logits `[N, T, C]`."""
  rows, steps = logits.shape[:2]
  columns = logits, labels.astype(np.int32), np.full(rows, steps, np.int32)
  batch = Batch(*(jnp.asarray(column) for column in columns))
  return [learn_thresholds(batch, float(cost)) for cost in COSTS / steps]


def observe(seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
  """Posteriors `[N, T, 2]` of the ideal observer, and labels `[N]`."""
  parts = []
  for k, start in enumerate(range(0, number, 20_000)):
    key = jax.random.fold_in(jax.random.key(seed), k)
    batch = two_sequence.sample(key, min(20_000, number - start))
    parts.append((two_sequence.posterior(batch.inputs), batch.labels))
  posterior, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
  return posterior, labels


def compare_with_optimum(held_out: Sequence[int], draws: int, steps: Sequence[float]) -> str:
  """The table of the 2-sequence problem."""
  posterior, _ = observe(0, TEST)
  confidence = posterior.max(axis=-1).astype(np.float64)
  best = two_sequence.optimum(jnp.geomspace(1e-4, 0.05, 40))
  constant = accuracy_at(read(confidence, confidence, list(CONSTANTS)), steps)
  time, accuracy = (np.asarray(a)[::-1] for a in (best.mean_spike_step, best.accuracy))
  optimum = np.interp(steps, time, accuracy)
  found = {"one threshold": constant}
  for number in held_out:
    curves = []
    for draw in range(1, draws + 1):
      thetas = learn(*_log(observe(draw, number)))
      curves.append(accuracy_at(read(confidence, confidence, thetas), steps))
    found[f"one a step, from {number:,} sequences"] = np.mean(curves, axis=0)
  found["optimum"] = optimum
  share = lambda a: (a - constant) / (optimum - constant)
  rows = [
    (name, *(f"{100 * a:.2f} % ({100 * s:.0f} %)" for a, s in zip(line, share(line), strict=True)))
    for name, line in found.items()
  ]
  return format_table(("accuracy (share of the gap)", *(f"{step:g} steps" for step in steps)), rows)


def _log(observed: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  posterior, labels = observed
  return np.log(np.maximum(posterior, 1e-30)), labels


def compare_on_clips(workdir: str, data: dict, steps: Sequence[float]) -> str:
  """The table of a run of experiments.speech."""
  run = load_speech_run(workdir)
  splits = load_data(run, data).splits
  statistics = speech.Statistics(run.statistics["mean"], run.statistics["std"])
  logits = {}
  for name in ("validation", "test"):
    clips = getattr(splits, name)
    batches = (
      speech.prepare(statistics, Batch(*(jnp.asarray(a) for a in clips[start : start + ROWS])))
      for start in range(0, len(clips), ROWS)
    )
    recorded = record(run.classifier, run.params, batches)[1]
    logits[name] = np.concatenate([np.asarray(batch.inputs) for batch in recorded])
  confidence = np.asarray(jax.nn.softmax(logits["test"])).max(axis=-1)
  right = (logits["test"].argmax(axis=-1) == splits.test.labels[:, None]).astype(np.float64)
  one = read(confidence, right, list(CONSTANTS))
  varying = read(confidence, right, learn(logits["validation"], splits.validation.labels))
  rng, rows = np.random.default_rng(0), len(right)
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
  parser.add_argument("--run", help="the --workdir of a run of experiments.speech")
  parser.add_argument(
    "--steps", type=numbers, help="mean numbers of steps at which curves are read"
  )
  add_data(parser)
  given = parser.parse_args()
  if given.run is None:
    print(compare_with_optimum(given.held_out, given.draws, given.steps or [10, 12, 15, 20]))
  else:
    print(compare_on_clips(given.run, data_of(given), given.steps or [25, 30, 35, 40, 45, 50]))


if __name__ == "__main__":
  main()

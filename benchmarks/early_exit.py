"""What early exit saves: time of the engine over time of the masked full scan, against f.

    python -m benchmarks.early_exit --shapes=speech,temporal_mnist --batch=128 --repeats=20

f is the mean share of the steps up to the spike. The spike times are forced through an input
channel that is added to a logit, so that the net itself decides; inputs are arguments of the
compiled functions, so that nothing is known before they run. Contenders alternate in one process;
a time is the median of the repeats after one warm-up.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rc_jax import Classifier, lstm, rc_loss
from rc_jax.unroll import Engine, unroll_and_count

THETA = 0.95
FRACTIONS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # 0: every row spikes at its first step
ALLOWED = {"gradient": 0.15, "forward": 0.12}  # above f
ENGINES: tuple[Engine, ...] = ("full", "early_exit")


class Shape(NamedTuple):
  """One of the paper's models: sizes of the LSTM, its head and its sequences."""

  units: int
  hidden: tuple[int, ...]
  classes: int
  steps: int
  features: int


SHAPES = {
  "spotting": Shape(125, (), 2, 25, 1),
  "two_sequence": Shape(125, (), 2, 40, 1),
  "temporal_mnist": Shape(340, (), 10, 10, 784),
  "speech": Shape(128, (32,), 12, 81, 420),
}


def forced(classifier: Classifier) -> Classifier:
  """The classifier with one input channel more, which is added to its first logit."""

  def encode(params: Any, x: jax.Array) -> Any:
    return classifier.encode(params, x[:-1]), x[-1]

  def step(params: Any, carry: Any, encoded: Any) -> Any:
    carry, logits = classifier.step(params, carry, encoded[0])
    return carry, logits.at[0].add(encoded[1])

  return classifier._replace(encode=encode, step=step)


def spike_steps(rng: np.random.Generator, rows: int, steps: int, fraction: float) -> np.ndarray:
  """Zero-based spike steps `[B]`, Beta-distributed with mean(step + 1) / T near the fraction."""
  if fraction in (0.0, 1.0):
    return np.full(rows, round(fraction * (steps - 1)))
  share = rng.beta(4 * fraction, 4 * (1 - fraction), rows)
  return np.clip(np.ceil(share * steps) - 1, 0, steps - 1).astype(int)


def contenders(classifier: Classifier, kind: str) -> dict[str, Callable]:
  """Compiled functions of `(params, carry, xs, labels)`, one an engine."""

  def loss(params, carry, xs, labels, engine):
    code, computed = unroll_and_count(
      classifier.step,
      params,
      carry,
      xs,
      jnp.float32(THETA),
      None,
      encode=classifier.encode,
      engine=engine,
    )
    return jnp.mean(rc_loss(code.logits, labels)), (code.step, computed)

  function = loss if kind == "forward" else jax.value_and_grad(loss, has_aux=True)
  return {e: jax.jit(lambda *a, e=e, f=function: f(*a, e)) for e in ENGINES}


def measure(shape: Shape, rows: int, kind: str, repeats: int) -> list[dict[str, float]]:
  """One row of results a fraction."""
  classifier = lstm(shape.units, shape.classes, hidden=shape.hidden)
  rng = np.random.default_rng(0)
  params = classifier.init(jax.random.key(0), jnp.zeros(shape.features))
  carry = jax.tree.map(
    lambda a: jnp.zeros((rows, *a.shape), a.dtype), classifier.initial_carry(params)
  )
  labels = jnp.asarray(rng.integers(0, shape.classes, rows), jnp.int32)
  functions = contenders(forced(classifier), kind)
  results = []
  for fraction in FRACTIONS:
    spikes = spike_steps(rng, rows, shape.steps, fraction)
    xs = rng.normal(size=(rows, shape.steps, shape.features + 1)).astype(np.float32)
    xs[..., :-1] *= 0.1
    xs[..., -1] = 30.0 * (np.arange(shape.steps) == spikes[:, None])
    arguments = (params, carry, jnp.asarray(xs), labels)
    times: dict[str, list[float]] = {e: [] for e in ENGINES}
    for repeat in range(repeats + 1):
      for engine, function in functions.items():
        start = time.perf_counter()
        output = jax.block_until_ready(function(*arguments))
        if repeat:
          times[engine].append(time.perf_counter() - start)
    step, computed = (output if kind == "forward" else output[0])[1]
    np.testing.assert_array_equal(step, spikes)  # the net spiked when it was told to
    full, early = (1e3 * statistics.median(times[e]) for e in ENGINES)
    f = float(np.mean(spikes + 1) / shape.steps)
    over = early / full - f - ALLOWED[kind]
    results.append(
      {"f": f, "computed": float(computed), "full_ms": full, "early_exit_ms": early}
      | {"ratio": early / full, "over_target": over}
    )
  return results


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("--shapes", default=",".join(SHAPES), help="of " + ", ".join(SHAPES))
  parser.add_argument("--batch", default="128,512", help="numbers of rows")
  parser.add_argument("--repeats", type=int, default=20)
  parser.add_argument("--json", action="store_true", help="one JSON object a line, no table")
  flags = parser.parse_args()
  names = flags.shapes.split(",")
  if unknown := set(names) - set(SHAPES):
    parser.error(f"unknown shape {sorted(unknown)}; choose of {', '.join(SHAPES)}")
  head = f"{'shape':<15}{'B':>5} {'pass':<9}{'f':>6}{'computed':>10}{'full ms':>10}"
  if not flags.json:
    print(head + f"{'early ms':>10}{'ratio':>8}{'over target':>13}")
  for name in names:
    for rows in map(int, flags.batch.split(",")):
      for kind in ALLOWED:
        for r in measure(SHAPES[name], rows, kind, flags.repeats):
          if flags.json:
            device = jax.devices()[0].device_kind
            print(json.dumps({"shape": name, "batch": rows, "pass": kind, "device": device} | r))
            continue
          print(
            f"{name:<15}{rows:>5} {kind:<9}{r['f']:>6.2f}{r['computed']:>10.2f}"
            f"{r['full_ms']:>10.1f}{r['early_exit_ms']:>10.1f}{r['ratio']:>8.2f}"
            f"{r['over_target']:>+13.2f}",
            flush=True,
          )


if __name__ == "__main__":
  main()

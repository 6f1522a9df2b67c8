"""What early exit saves: time of the engine over time of the masked full scan, against f.

    python -m benchmarks.early_exit --shapes=speech,temporal_mnist --batch=128 --repeats=20

f is the mean share of the steps up to the spike. The spike times are forced through an input
channel that is added to a logit, so that the net itself decides; inputs are arguments of the
compiled functions, so that nothing is known before they run. Contenders alternate in one process,
each once untimed and once timed; a time is the median of the repeats, a ratio the median of those
of the rounds. Memory is what the compiled program holds beside its arguments and results. For a
really trained network see benchmarks.trained.

Contenders: `early_exit`; `full`, the masked full scan; `slowest`, which stops at the slowest row of
a batch; `four` and `twelve`, early exit with so many widths in a gradient; `own`, early exit of an
LSTM as a user may write it, all in one function; `every_step` and `until_spike`, early exit of
losses at every step, and at every step up to the spike.
"""

import argparse
import functools
import json
import statistics
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.shapes import PAPER, SHAPES, Shape, forced, forced_inputs, make_loss
from benchmarks.timing import median_ratio, take_turns
from rc_jax import Classifier, EarlyExit, Engine, objectives
from rc_jax.types import identity

FRACTIONS = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)  # 0: every row spikes at its first step
LOSSES = {
  "every_step": objectives.every_step(),
  "until_spike": objectives.until_spike(objectives.every_step()),
}
CONTENDERS = ("full", "early_exit", "slowest", "four", "twelve", "own", *LOSSES)


def compile_contender(name: str, shape: Shape, kind: str, arguments: tuple) -> Any:
  """The compiled function of `(params, xs, labels)`."""
  classifier = forced(make_own_lstm(shape) if name == "own" else shape.classifier())
  engines: dict[str, Engine] = {
    "early_exit": "early_exit",
    "own": "early_exit",
    **dict.fromkeys(LOSSES, "early_exit"),
    "slowest": EarlyExit(widths=1),
    "four": EarlyExit(widths=4),
    "twelve": EarlyExit(widths=12),
  }
  function = make_loss(classifier, engines.get(name, "full"), LOSSES.get(name, "rc"))
  if kind == "gradient":
    function = jax.value_and_grad(function, has_aux=True)
  return jax.jit(function).lower(*arguments).compile()


def make_own_lstm(shape: Shape) -> Classifier:
  """The same LSTM as a user may write it: all in one function, and nothing marked by `keep`."""
  ours = shape.classifier()

  def step(params: Any, carry: Any, x: Any) -> Any:
    c, h = carry
    i, f, g, o = jnp.split(ours.encode(params, x) + h @ params["recurrent"], 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (c, h), ours.decode(params, {"hidden": h})

  return ours._replace(step=step, encode=identity, decode=identity)


def measure(
  shape: Shape, rows: int, kind: str, names: tuple[str, ...], fractions: list[float], repeats: int
) -> list[dict[str, Any]]:
  """One row of results a fraction."""
  rng = np.random.default_rng(0)
  params = shape.params()
  labels = jnp.asarray(rng.integers(0, shape.classes, rows), jnp.int32)
  arguments = (params, forced_inputs(rng, shape, rows, 0.0)[0], labels)
  functions = {name: compile_contender(name, shape, kind, arguments) for name in names}
  memory = {f"{n}_mb": f.memory_analysis().temp_size_in_bytes / 2**20 for n, f in functions.items()}
  results = []
  for fraction in fractions:
    xs, spikes = forced_inputs(rng, shape, rows, fraction)
    calls = {n: functools.partial(f, params, xs, labels) for n, f in functions.items()}
    computed = {}
    for name, call in calls.items():
      output = call()
      metrics = (output[0] if kind == "gradient" else output)[1]
      # The net spiked when it was told to.
      np.testing.assert_allclose(metrics.mean_spike_step, np.mean(spikes + 1), rtol=1e-6)
      computed[name] = float(metrics.computed_fraction)
    times = take_turns(calls, repeats)
    ratio = functools.partial(median_ratio, times, reference="full")
    f = float(np.mean(spikes + 1) / shape.steps)
    results.append(
      {"f": f, "computed": computed["early_exit"]}
      | {f"{name}_ms": statistics.median(of_rounds) for name, of_rounds in times.items()}
      | memory
      | {"ratio": ratio("early_exit"), "above_f": ratio("early_exit") - f}
      | ({"own_above_f": ratio("own") - f} if "own" in times else {})
    )
  return results


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("--shapes", default=",".join(PAPER), help="of " + ", ".join(SHAPES))
  parser.add_argument("--batch", default="128,512", help="numbers of rows")
  parser.add_argument("--passes", default="gradient,forward")
  parser.add_argument("--contenders", default="full,early_exit", help="of " + ", ".join(CONTENDERS))
  parser.add_argument("--fractions", default=",".join(map(str, FRACTIONS)))
  parser.add_argument("--repeats", type=int, default=20)
  parser.add_argument("--json", action="store_true", help="one JSON object a line, no table")
  flags = parser.parse_args()
  shapes, names = flags.shapes.split(","), tuple(flags.contenders.split(","))
  if unknown := set(shapes) - set(SHAPES):
    parser.error(f"unknown shape {sorted(unknown)}; choose of {', '.join(SHAPES)}")
  if not {"full", "early_exit"} <= set(names) <= set(CONTENDERS):
    parser.error(f"contenders are full, early_exit and some of {', '.join(CONTENDERS)}")
  if unknown := set(flags.passes.split(",")) - {"gradient", "forward"}:
    parser.error(f"unknown pass {sorted(unknown)}; choose of gradient, forward")
  if not flags.json:
    head = f"{'shape':<15}{'B':>5} {'pass':<9}{'f':>6}{'computed':>10}"
    head += "".join(f"{name + ' ms':>15}" for name in names)
    head += f"{'ratio':>8}{'above f':>9}{'MB full':>9}{'early':>7}"
    print(head + (f"{'own above f':>13}" if "own" in names else ""))
  for name in shapes:
    for rows in map(int, flags.batch.split(",")):
      for kind in flags.passes.split(","):
        fractions = [float(f) for f in flags.fractions.split(",")]
        try:
          results = measure(SHAPES[name], rows, kind, names, fractions, flags.repeats)
        except jax.errors.JaxRuntimeError as error:
          if "RESOURCE_EXHAUSTED" not in str(error):
            raise
          sys.exit(f"error: {name}, {kind}, B = {rows}: {error} Give a smaller --batch.")
        for r in results:
          if flags.json:
            device = jax.devices()[0].device_kind
            print(
              json.dumps({"shape": name, "batch": rows, "pass": kind, "device": device} | r),
              flush=True,
            )
            continue
          line = f"{name:<15}{rows:>5} {kind:<9}{r['f']:>6.2f}{r['computed']:>10.2f}"
          line += "".join(f"{r[f'{n}_ms']:>15.1f}" for n in names)
          line += f"{r['ratio']:>8.2f}{r['above_f']:>+9.2f}{r['full_mb']:>9.1f}"
          line += f"{r['early_exit_mb']:>7.1f}"
          print(line + (f"{r['own_above_f']:>+13.2f}" if "own" in names else ""), flush=True)


if __name__ == "__main__":
  main()

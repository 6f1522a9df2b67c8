"""How long an update takes to compile: early exit against the full scan.

    python -m benchmarks.compile --shapes=speech,spotting --widths=5 --repeats=3

Tracing, lowering and compiling one update, Adam included, in fresh processes that take turns, with
the persistent cache off. Times are medians: seconds on the clock, and seconds of the processor over
all threads, which are less moved by what else the machine does.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.shapes import PAPER, SHAPES
from rc_jax import Batch, EarlyExit, Engine, make_train

BATCH = 128


def measure(name: str, widths: int) -> dict[str, float]:
  """Seconds of this process for one update; `widths` 0 is the full scan."""
  shape = SHAPES[name]
  engine: Engine = EarlyExit(widths=widths) if widths else "full"
  train = make_train(shape.classifier(), optax.adam(1e-3), engine=engine)
  state = jax.jit(train.init)(jax.random.key(0), jnp.zeros(shape.features))
  batch = Batch(
    jnp.zeros((BATCH, shape.steps, *shape.features)),
    jnp.zeros(BATCH, jnp.int32),
    jnp.full(BATCH, shape.steps, jnp.int32),
  )
  clock, processor = [time.perf_counter()], [time.process_time()]

  def note() -> None:
    clock.append(time.perf_counter())
    processor.append(time.process_time())

  traced = jax.jit(train.update).trace(state, batch)
  note()
  lowered = traced.lower()
  note()
  lowered.compile()
  note()
  parts = ("trace", "lower", "compile")
  seconds = {part: clock[k + 1] - clock[k] for k, part in enumerate(parts)}
  return seconds | {"total": clock[-1] - clock[0], "processor": processor[-1] - processor[0]}


def measure_in_turn(name: str, widths: list[int], repeats: int) -> list[dict[str, Any]]:
  """Medians of fresh processes, of the full scan and of each number of widths."""
  contenders = [0, *widths]
  found: dict[int, list[dict[str, float]]] = {number: [] for number in contenders}
  environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
  for _ in range(repeats):
    for number in contenders:
      command = [sys.executable, "-m", "benchmarks.compile", f"--shapes={name}"]
      command += [f"--widths={number}", "--alone"]
      output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
      found[number].append(json.loads(output.stdout))
  median = lambda rows: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
  rows = [{"shape": name, "widths": number, **median(found[number])} for number in contenders]
  for row in rows:
    row["ratio"] = row["total"] / rows[0]["total"]
    row["processor_ratio"] = row["processor"] / rows[0]["processor"]
  return rows


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("--shapes", default=",".join(PAPER), help="of " + ", ".join(SHAPES))
  parser.add_argument("--widths", default=str(EarlyExit().widths), help="numbers of widths")
  parser.add_argument("--repeats", type=int, default=3)
  parser.add_argument("--json", action="store_true", help="one JSON object a line, no table")
  parser.add_argument("--alone", action="store_true", help="measure once, in this process")
  given = parser.parse_args()
  names, widths = given.shapes.split(","), [int(number) for number in given.widths.split(",")]
  if unknown := set(names) - set(SHAPES):
    parser.error(f"unknown shape {sorted(unknown)}; choose of {', '.join(SHAPES)}")
  if given.alone:
    print(json.dumps(measure(names[0], widths[0])))
    return
  for name in names:
    for row in measure_in_turn(name, widths, given.repeats):
      if given.json:
        print(json.dumps(row | {"device": jax.devices()[0].device_kind}), flush=True)
        continue
      engine = f"{row['widths']} widths" if row["widths"] else "full scan"
      times = "".join(f"{k:>10}{row[k]:>6.2f} s" for k in ("trace", "lower", "compile", "total"))
      ratios = f"ratio {row['ratio']:.2f}, of processor time {row['processor_ratio']:.2f}"
      print(f"{name:<15}{engine:<10}{times}  {ratios}", flush=True)


if __name__ == "__main__":
  main()

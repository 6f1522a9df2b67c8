"""How much faster more devices make an update: virtual devices of one CPU, a core each.

    python -m benchmarks.scaling --shape=speech --rows=512 --devices=1,2 --repeats=5

The batch stays the same, and its rows are shared. Each number of devices is timed in fresh
processes that take turns, held on as many cores as there are devices; spike times are forced as in
benchmarks.early_exit, with a mean of `--fraction` of the steps.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding

from benchmarks.shapes import SHAPES, forced, forced_inputs
from benchmarks.timing import alternate
from experiments.harness import devices
from rc_jax import Batch, Engine, make_train


def measure(name: str, rows: int, fraction: float, engine: Engine, calls: int) -> float:
  """Median milliseconds of an update in this process, on all of its devices."""
  shape, rng = SHAPES[name], np.random.default_rng(0)
  mesh = devices.make_mesh(jax.device_count())
  train = make_train(
    forced(shape.classifier()),
    optax.adam(1e-3),
    engine=engine,
    axis_name=None if mesh is None else devices.AXIS,
  )
  xs, _ = forced_inputs(rng, shape, rows, fraction)
  labels = jnp.asarray(rng.integers(0, shape.classes, rows), jnp.int32)
  batch = Batch(xs, labels, jnp.full(rows, shape.steps, jnp.int32))
  state = devices.replicate(jax.jit(train.init)(jax.random.key(0), xs[0, 0, ..., :-1]), mesh)
  update = train.update
  if mesh is not None:
    batch = jax.device_put(batch, NamedSharding(mesh, devices.BY_ROWS))
    specs = (devices.EVERYWHERE, devices.BY_ROWS)
    update = jax.shard_map(update, mesh=mesh, in_specs=specs, out_specs=devices.EVERYWHERE)
  compiled = jax.jit(update).lower(state, batch).compile()
  return alternate({"update": lambda: compiled(state, batch)}, calls)["update"]


def measure_in_turn(given: argparse.Namespace, numbers: list[int]) -> dict[int, float]:
  """Median milliseconds for each number of devices, over fresh processes."""
  cores = sorted(os.sched_getaffinity(0))
  times: dict[int, list[float]] = {number: [] for number in numbers}
  for _ in range(given.repeats):
    for number in numbers:
      flags = f"--xla_force_host_platform_device_count={number}"
      command = [sys.executable, "-m", "benchmarks.scaling", *sys.argv[1:], "--alone"]
      output = subprocess.run(
        ["taskset", "--cpu-list", ",".join(map(str, cores[:number])), *command],
        env=os.environ | {"XLA_FLAGS": flags},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
      )
      times[number].append(json.loads(output.stdout))
  return {number: statistics.median(values) for number, values in times.items()}


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("--shape", default="speech", help="of benchmarks.shapes")
  parser.add_argument("--rows", type=int, default=512, help="of the whole batch")
  parser.add_argument("--fraction", type=float, default=0.5, help="mean share of the steps")
  parser.add_argument("--engine", default="early_exit", choices=["early_exit", "full"])
  parser.add_argument("--devices", default="1,2", help="numbers of devices, the first is the base")
  parser.add_argument("--calls", type=int, default=10, help="updates timed in a process")
  parser.add_argument("--repeats", type=int, default=5, help="processes of each number")
  parser.add_argument("--alone", action="store_true", help="measure once, in this process")
  given = parser.parse_args()
  if given.alone:
    print(json.dumps(measure(given.shape, given.rows, given.fraction, given.engine, given.calls)))
    return
  numbers = [int(number) for number in given.devices.split(",")]
  if max(numbers) > len(os.sched_getaffinity(0)):
    parser.error(f"--devices={given.devices}, but there are {len(os.sched_getaffinity(0))} cores")
  times = measure_in_turn(given, numbers)
  for number, time in times.items():
    print(
      f"{given.shape}, {given.engine}, B = {given.rows}, f = {given.fraction:g}: devices {number}, "
      f"{time:.1f} ms, throughput {times[numbers[0]] / time:.2f}"
    )


if __name__ == "__main__":
  main()

"""How much faster more devices make an update: virtual devices of one CPU, a core each.

    python -m benchmarks.scaling --shape=speech --rows=512 --worlds=1x1,1x2,2x1 --repeats=5

A world is `processes x devices of each`. The batch stays the same, and its rows are shared. Each
world is timed in fresh processes, which take turns with those of the others and are held on as many
cores as they have devices; spike times are forced as in benchmarks.early_exit, with a mean of
`--fraction` of the steps.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.shapes import SHAPES, forced, forced_inputs
from benchmarks.timing import alternate
from experiments.harness import devices, processes
from rc_jax import Batch, Engine, make_train

World = tuple[int, int]


def measure(name: str, rows: int, fraction: float, engine: Engine, calls: int) -> float:
  """Median milliseconds of an update on all devices of all processes."""
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
    batch = next(devices.share_rows(iter([batch]), mesh))
    specs = (devices.EVERYWHERE, devices.BY_ROWS)
    update = jax.shard_map(update, mesh=mesh, in_specs=specs, out_specs=devices.EVERYWHERE)
  compiled = jax.jit(update).lower(state, batch).compile()
  return alternate({"update": lambda: compiled(state, batch)}, calls)["update"]


def run_world(world: World) -> float:
  """Median milliseconds of an update, by the first of the world's fresh processes."""
  number, each = world
  cores = [str(core) for core in sorted(os.sched_getaffinity(0))]
  with socket.create_server(("127.0.0.1", 0)) as free:
    address = f"127.0.0.1:{free.getsockname()[1]}"
  started = []
  for index in range(number):
    own = ",".join(cores[index * each : (index + 1) * each])
    command = [sys.executable, "-m", "benchmarks.scaling", *sys.argv[1:]]
    command += ["--alone", f"{address},{number},{index}"]
    flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={each}"}
    started.append(
      subprocess.Popen(
        ["taskset", "--cpu-list", own, *command],
        env=os.environ | flags,
        stdout=subprocess.PIPE,
        text=True,
      )
    )
  outputs = [process.communicate()[0] for process in started]
  if failed := [process.returncode for process in started if process.returncode]:
    raise RuntimeError(f"a process of {number}x{each} ended with status {failed[0]}")
  return json.loads(outputs[0].splitlines()[-1])


def measure_in_turn(worlds: list[World], repeats: int) -> dict[World, float]:
  """Median milliseconds in each world, over fresh processes."""
  times: dict[World, list[float]] = {world: [] for world in worlds}
  for _ in range(repeats):
    for world in worlds:
      times[world].append(run_world(world))
  return {world: statistics.median(values) for world, values in times.items()}


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("--shape", default="speech", help="of benchmarks.shapes")
  parser.add_argument("--rows", type=int, default=512, help="of the whole batch")
  parser.add_argument("--fraction", type=float, default=0.5, help="mean share of the steps")
  parser.add_argument("--engine", default="early_exit", choices=["early_exit", "full"])
  parser.add_argument("--worlds", default="1x1,1x2,2x1", help="the first is what others are over")
  parser.add_argument("--calls", type=int, default=10, help="updates timed in a process")
  parser.add_argument("--repeats", type=int, default=5, help="fresh processes of each world")
  parser.add_argument("--alone", help="measure once, in this process: address,processes,index")
  given = parser.parse_args()
  if given.alone:
    address, number, index = given.alone.split(",")
    processes.join(address, int(number), int(index))
    print(json.dumps(measure(given.shape, given.rows, given.fraction, given.engine, given.calls)))
    return
  worlds = [(int(a), int(b)) for a, b in (world.split("x") for world in given.worlds.split(","))]
  if max(a * b for a, b in worlds) > len(os.sched_getaffinity(0)):
    parser.error(f"--worlds={given.worlds}, but there are {len(os.sched_getaffinity(0))} cores")
  times = measure_in_turn(worlds, given.repeats)
  for (number, each), time in times.items():
    print(
      f"{given.shape}, {given.engine}, B = {given.rows}, f = {given.fraction:g}: {number} x {each} "
      f"devices, {time:.1f} ms, throughput {times[worlds[0]] / time:.2f}"
    )


if __name__ == "__main__":
  main()

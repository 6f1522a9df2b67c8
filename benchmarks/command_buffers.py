"""A gradient in a process of its own, with XLA's flags for command buffers (CUDA graphs).

    python -m benchmarks.command_buffers --shape=speech --engine=full --rows=128

With `WHILE` among the commands, a loop is one graph that the host starts once, instead of kernels
that it starts one by one. XLA reads its flags once, when it starts, and aborts where it does not
know one or where a graph fails; hence the process. It prints a row after each execution, so that
the rows tell how far it came: a second execution has crashed before.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from typing import Any

import jax

from benchmarks.forced_runs import Row, check_spikes, make_data, make_gradient, make_params
from benchmarks.shapes import SHAPES
from benchmarks.timing import alternate
from rc_jax import EarlyExit, Engine

FLAG = "--xla_gpu_enable_command_buffer=+WHILE"
ENGINES: dict[str, Engine] = {"full": "full", "early_exit": EarlyExit(widths=4)}
FRACTION = {"full": 1.0, "early_exit": 0.25}
SECONDS = 120  # after which the process is stopped
TELLING = re.compile("unknown|error|failed|abort|INTERNAL|UNIMPLEMENTED", re.IGNORECASE)


def run_apart(shape: str, engine: str, rows: int, flag: str) -> Row:
  """The last row of a process with this flag, and how the process ended if it did not end well."""
  command = [sys.executable, "-m", "benchmarks.command_buffers", f"--shape={shape}"]
  return watch([*command, f"--engine={engine}", f"--rows={rows}"], flag, SECONDS)


def watch(command: list[str], flag: str, seconds: float) -> Row:
  """Runs a command that prints rows; a crash and the end of its time are told in the row."""
  flags = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
  # This process holds most of the GPU's memory already.
  environment = os.environ | {"XLA_FLAGS": flags, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
  ended: Row = {}
  try:
    done = subprocess.run(command, env=environment, capture_output=True, timeout=seconds)
    out, messages = done.stdout, done.stderr.decode(errors="replace").splitlines()
    if done.returncode:
      ended = {"error": f"exit {done.returncode}: {find_message(messages)}"}
  except subprocess.TimeoutExpired as late:
    out, ended = late.stdout or b"", {"error": f"stopped after {seconds:g} seconds"}
  # A crash may leave half a line behind the last whole one.
  lines = [line for line in out.decode().splitlines(keepends=True) if line.endswith("}\n")]
  row: Row = json.loads(lines[-1]) if lines else {"executions": 0}
  return {"xla_flags": flags} | row | ended


def find_message(lines: list[str]) -> str:
  """The first line that tells of an error, else the last line, cut to 300 characters."""
  lines = [line.strip() for line in lines if line.strip()] or ["no message"]
  return next(filter(TELLING.search, lines), lines[-1])[:300]


def measure(shape: str, engine: str, rows: int, repeats: int) -> None:
  """Prints a row after the first execution, after the second, and with the median time."""
  of, fraction = SHAPES[shape], FRACTION[engine]
  xs, labels, spikes = make_data(of, rows, fraction)
  arguments, gradient = (make_params(of), xs, labels), make_gradient(of, ENGINES[engine])
  row: dict[str, Any] = {}
  for executions in (1, 2):
    start = time.perf_counter()
    (_, metrics), _ = jax.block_until_ready(gradient(*arguments))
    key = "first_ms" if executions == 1 else "second_ms"  # the first compiles
    row |= {"executions": executions, key: 1e3 * (time.perf_counter() - start)}
    check_spikes(metrics, spikes)
    print(json.dumps(row), flush=True)
  row |= alternate({engine: lambda: gradient(*arguments)}, repeats)
  print(json.dumps(row | {"executions": 2 + 2 * repeats}), flush=True)


def main() -> None:
  """Measures in this process, under the flags that it was started with."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("--shape", choices=list(SHAPES), default="speech")
  parser.add_argument("--engine", choices=list(ENGINES), default="full")
  parser.add_argument("--rows", type=int, default=128)
  parser.add_argument("--repeats", type=int, default=8)
  given = parser.parse_args()
  measure(given.shape, given.engine, given.rows, given.repeats)


if __name__ == "__main__":
  main()

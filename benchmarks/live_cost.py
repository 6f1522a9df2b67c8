"""What does it cost to listen, and does memory grow?

  python -m benchmarks.live_cost RUN [--hours=1] [--json]

A spotter hears synthesized noise, made piece by piece, in pieces of half a second and of 10 ms, and
100 streams in pieces of 0.1 s: microseconds a frame of 10 ms of one stream, how many times faster
than real time that is, and the peak of the process's memory after a tenth of the time and at its
end. Where the package onnxruntime is there
(extra `onnx`), the exported graphs hear one frame of it over and over, for a minute. What was
measured: docs/results/live.md.
"""

import argparse
import functools
import json
import pathlib
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from data_pipelines.speech import HOP, SAMPLE_RATE
from deploy.commands import add_run, load_speech_run, make_run_spotter, run_command, with_arguments
from deploy.export.functions import make_front_end_function, make_network_function
from deploy.export.graphs import write_graphs
from deploy.run_files import Run

PIECES = {  # seconds, streams
  "Python, pieces of 0.5 s": (0.5, 1),
  "Python, pieces of 10 ms": (0.01, 1),
  "100 streams, pieces of 0.1 s": (0.1, 100),
}


def listen(run: Run, piece_s: float, streams: int, seconds: float) -> dict[str, float]:
  """Lets a spotter hear so many seconds of noise, in all streams.

  Returns:
    `us_per_frame`, `times_real_time`, and the peak of memory in MiB, early and at the end.
  """
  spotter, rng = make_run_spotter(run), np.random.default_rng(0)
  noise = 0.02 * rng.normal(size=(streams, SAMPLE_RATE)).astype(np.float32)
  size = round(piece_s * SAMPLE_RATE)
  state, _, _ = spotter.push(spotter.init(streams), noise)  # compiles
  state, _, _ = spotter.push(state, noise[:, :size])
  pieces, early, started = int(seconds / piece_s), 0.0, time.perf_counter()
  for k in range(pieces):
    at = k * size % (SAMPLE_RATE - size + 1)
    state, _, _ = spotter.push(state, noise[:, at : at + size])
    if k == pieces // 10:
      early = _peak_mib()
  took = time.perf_counter() - started
  return {
    "us_per_frame": 1e6 * took / (streams * pieces * size / HOP),
    "times_real_time": streams * pieces * piece_s / took,
    "early_mib": early,
    "end_mib": _peak_mib(),
  }


def listen_onnx(run: Run, seconds: float) -> dict[str, float] | None:
  """The same of the exported graphs on ONNX Runtime, on one core; None where it is missing."""
  try:
    import onnxruntime
  except ImportError:
    return None
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = 1
  with tempfile.TemporaryDirectory() as folder:
    write_graphs(folder, run, run.rule, "onnx")
    open_session = lambda name: onnxruntime.InferenceSession(
      str(pathlib.Path(folder) / f"{name}.onnx"), options
    )
    sessions = {name: open_session(name) for name in ("front_end", "network")}
  functions = {"front_end": make_front_end_function(run), "network": make_network_function(run)}
  names = {key: [name for name, _, _ in one.inputs] for key, one in functions.items()}
  states = {key: [first for _, _, first in one.inputs[1:]] for key, one in functions.items()}

  def call(key: str, data: Any) -> Any:
    given = dict(zip(names[key], [data, *states[key]], strict=True))
    output, *states[key] = sessions[key].run(None, given)
    return output

  chunk = 0.02 * np.random.default_rng(0).normal(size=(1, HOP)).astype(np.float32)
  call("network", call("front_end", chunk))
  frames, started = int(100 * seconds), time.perf_counter()
  for _ in range(frames):
    call("network", call("front_end", chunk))
  took = time.perf_counter() - started
  return {"us_per_frame": 1e6 * took / frames, "times_real_time": seconds / took}


def _peak_mib() -> float:
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> int:
  """Reads the command line, measures, and prints a table or JSON; returns the exit status."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  add_run(parser)
  parser.add_argument("--hours", type=float, default=1.0, help="of sound in pieces of 0.5 s")
  parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
  given = parser.parse_args()
  run = with_arguments(load_speech_run(given.run), given)
  seconds = 3600 * given.hours
  measures: dict[str, Callable[[], dict[str, float] | None]] = {
    name: functools.partial(listen, run, piece_s, streams, seconds if piece_s > 0.1 else 60)
    for name, (piece_s, streams) in PIECES.items()
  }
  measures["ONNX Runtime, one core"] = functools.partial(listen_onnx, run, 60)
  rows = {name: measure() for name, measure in measures.items()}
  if given.json:
    print(json.dumps(rows, indent=2))
    return 0
  print(f"{'':28s} us a frame  times real time  peak memory, MiB: early, end")
  for name, row in rows.items():
    if row is None:
      print(f"{name:28s} (not installed)")
      continue
    memory = f"{row['early_mib']:10.0f} {row['end_mib']:6.0f}" if "end_mib" in row else ""
    print(f"{name:28s} {row['us_per_frame']:10.1f} {row['times_real_time']:16.0f} {memory}")
  return 0


if __name__ == "__main__":
  run_command(main)

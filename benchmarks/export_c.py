"""How long does the exported C code take for a frame of 10 ms, and how large is it?

  python -m benchmarks.export_c [--units=128] [--rounds=15] [--json]

The code of `deploy.export.c` is built with the system's compiler, `cc`, for an LSTM with random
parameters and ten classes, float32 and int8, at two settings of the optimizer. Each program hears
one second of noise a round, and the programs take turns: the median and the best round, in
microseconds a frame, all together and the front end alone. One core is used. "code and tables" is
what the object file brings into a program, `-` without the command `size`. What was measured:
docs/results/export_c.md.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import tempfile

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.speech import features
from deploy.export.c import WEIGHTS, write_sound
from deploy.rule import Rule
from rc_jax import lstm

NUM_CLASSES = 10
FLAGS = ("-O2", "-O2 -march=native")
Row = dict[str, str | int | float | None]

# Includes the code, so that it can call the front end alone, which is private there.
MAIN = r"""
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "rc_model.c"
enum { SECOND = 16000, FRAMES = 100, ALONE = 98 };
static float samples[SECOND];
static double microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e6 * (double)now.tv_sec + 1e-3 * (double)now.tv_nsec;
}
static void hear(rc_state *state) {
  rc_event event;
  int used;
  for (int at = 0; at < SECOND; at += used)
    rc_push(state, samples + at, SECOND - at, &event, &used);
}
int main(void) {
  static rc_state state;
  float frame[RC_NUM_BANDS];
  volatile float kept; /* so that no frame is left out */
  unsigned random = 1;
  for (int i = 0; i < SECOND; i++) {
    random = random * 1664525u + 1013904223u;
    samples[i] = 0.1f * ((float)(random >> 8) / 8388608.0f - 1.0f);
  }
  rc_init(&state);
  hear(&state);
  const double start = microseconds();
  hear(&state);
  const double heard = microseconds();
  for (int k = 0; k < ALONE; k++) {
    rc_compute_frame(samples + RC_HOP * k, frame);
    kept = frame[0];
  }
  (void)kept;
  printf("%f %f\n", (heard - start) / FRAMES, (microseconds() - heard) / ALONE);
  return 0;
}
"""


def build(folder: pathlib.Path, flags: str) -> tuple[pathlib.Path, int | None]:
  """Builds a program that prints its microseconds a frame; returns it and the code's bytes.

  Args:
    folder: of `rc_model.c`.
    flags: of the compiler, separated by blanks.

  Raises:
    subprocess.CalledProcessError: the compiler fails.
  """
  compiler = ["cc", "-std=c99", *flags.split(), f"-I{folder}"]
  program = folder / f"run{flags.replace(' ', '')}"
  command = [*compiler, "-x", "c", "-", "-o", str(program), "-lm"]
  subprocess.run(command, input=MAIN, text=True, check=True)
  if shutil.which("size") is None:
    return program, None
  source, part = str(folder / "rc_model.c"), str(folder / "rc_model.o")
  subprocess.run([*compiler, "-c", source, "-o", part], check=True)
  done = subprocess.run(["size", part], capture_output=True, text=True, check=True)
  text, data, _ = done.stdout.splitlines()[1].split()[:3]
  return program, int(text) + int(data)


def measure(units: int, rounds: int) -> list[Row]:
  """Measures each kind of weights at each setting of the optimizer.

  Raises:
    ValueError: fewer than one unit or round.
  """
  if rounds < 1:
    raise ValueError(f"rounds is {rounds}; give at least one")
  params = lstm(units, NUM_CLASSES, hidden=(32,)).init(
    jax.random.key(0), jnp.zeros(features.STEP_SIZE)
  )
  with tempfile.TemporaryDirectory() as place:
    rows: list[Row] = []
    programs = []
    for weights in WEIGHTS:
      folder = pathlib.Path(place) / weights
      sizes = write_sound(
        folder,
        constructor="lstm",
        params=params,
        class_names=[f"class {i}" for i in range(NUM_CLASSES)],
        rule=Rule(0.95),
        mean=np.full(features.NUM_BANDS, -5),
        std=np.full(features.NUM_BANDS, 3),
        weights=weights,
      )
      for flags in FLAGS:
        program, size = build(folder, flags)
        programs.append(program)
        row: Row = {"weights": weights, "flags": flags, "code_and_tables_bytes": size}
        rows.append(row | {key: sizes[key] for key in ("state_bytes", "source_bytes")})
    return [row | times for row, times in zip(rows, _take_turns(programs, rounds), strict=True)]


def _take_turns(programs: list[pathlib.Path], rounds: int) -> list[Row]:
  turns = [[_run(program) for program in programs] for _ in range(rounds)]
  return [
    {
      "us_per_frame": statistics.median(total for total, _ in each),
      "best_us_per_frame": min(total for total, _ in each),
      "front_end_us": statistics.median(alone for _, alone in each),
    }
    for each in zip(*turns, strict=True)
  ]


def _run(program: pathlib.Path) -> tuple[float, float]:
  done = subprocess.run([program], capture_output=True, text=True, check=True)
  total, alone = map(float, done.stdout.split())
  return total, alone


def main() -> None:
  """Reads the command line and prints the measurements as a table or as JSON."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--units", type=int, default=128)
  parser.add_argument("--rounds", type=int, default=15)
  parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
  arguments = parser.parse_args()
  if shutil.which("cc") is None:
    parser.error("there is no C compiler, cc")
  try:
    rows = measure(arguments.units, arguments.rounds)
  except ValueError as error:
    parser.error(str(error))
  if arguments.json:
    print(json.dumps({"rows": rows}, indent=2))
    return
  print(f"{'weights':8s} {'flags':18s} us a frame  best  front end  code and tables  source")
  for row in rows:
    size = row["code_and_tables_bytes"]
    print(
      f"{row['weights']:8s} {row['flags']:18s} {row['us_per_frame']:10.1f} "
      f"{row['best_us_per_frame']:5.1f} {row['front_end_us']:10.1f} "
      f"{'-' if size is None else size:>16} {row['source_bytes']:>7}"
    )


if __name__ == "__main__":
  main()

"""What does the exported C code of a run of series decide, what does int8 cost, and how long is it?

  python -m benchmarks.export_series RUN --dataset=JapaneseVowels [--theta=0.9] [--json]

Every test series is given to the exported C code, with float32 and with int8 weights, until its
first decision or its end: the share that is decided right, the share for which the network is never
sure, the mean share of a series that is seen, the share decided like float32, and the microseconds
of a step (median of the rounds, in alternation, one core). Python's are those of the run's
report. A C compiler, `cc`, is needed; the data is named as for experiments.series. What was
measured: docs/results/export_c.md.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import tempfile
from typing import Any

import numpy as np

from data_pipelines import series
from deploy.commands import add_run, run_command, with_arguments
from deploy.export.c import WEIGHTS, write_run
from deploy.run_files import Run, load_run
from deploy.series import check_series_run

# Reads series, their numbers of samples first, and prints of each label, whether the network was
# sure, and samples seen; then the microseconds a step, all series together.
MAIN = r"""
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "rc_model.h"
static double microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e6 * (double)now.tv_sec + 1e-3 * (double)now.tv_nsec;
}
int main(void) {
  static rc_state state;
  double length, took = 0.0;
  long steps = 0;
  while (fread(&length, sizeof length, 1, stdin)) {
    const int n = (int)length;
    double *samples = malloc(n * RC_NUM_CHANNELS * sizeof(double));
    if (fread(samples, RC_NUM_CHANNELS * sizeof(double), n, stdin) != (size_t)n) return 1;
    rc_decision decision;
    const double start = microseconds();
    int said = 0;
    rc_init(&state);
    for (int t = 0; t < n && !said; t++)
      said = rc_push(&state, samples + t * RC_NUM_CHANNELS, &decision);
    said = rc_end(&state, &decision);
    took += microseconds() - start;
    steps += decision.step + 1;
    printf("%d %d %lld\n", decision.label, said, decision.samples);
    free(samples);
  }
  printf("%f\n", took / steps);
  return 0;
}
"""


def build(run: Run, weights: str, folder: pathlib.Path) -> tuple[pathlib.Path, dict[str, int]]:
  """Builds the program of a run; returns it and the sizes of its code.

  Args:
    run: of series.
    weights: one of WEIGHTS.
    folder: where to.

  Raises:
    ValueError: a run that cannot be written.
    subprocess.CalledProcessError: the compiler fails.
  """
  sizes = write_run(folder, run, weights=weights)
  (folder / "main.c").write_text(MAIN)
  sources = [str(folder / name) for name in ("main.c", "rc_model.c")]
  command = ["cc", "-std=c99", "-O2", *sources, "-o", str(folder / "run"), "-lm"]
  subprocess.run(command, check=True)
  return folder / "run", sizes


def measure(run: Run, file: series.SeriesFile, rounds: int) -> dict[str, dict[str, float]]:
  """Measures the code with each kind of weights on a file's series.

  Args:
    run: of series.
    file: of series with labels.
    rounds: of decisions about all series; their microseconds a step are a median over the rounds.

  Returns:
    Shares in 0..1, microseconds and bytes, by the kind of weights.
  """
  told = [
    np.concatenate([[len(rows)], np.asarray(rows, np.float64).ravel()]) for rows in file.values
  ]
  given = np.concatenate(told).tobytes()
  with tempfile.TemporaryDirectory() as place:
    built = {w: build(run, w, pathlib.Path(place) / w) for w in WEIGHTS}
    turns = [
      {w: _decide(program, given) for w, (program, _) in built.items()} for _ in range(rounds)
    ]
  true = [series.find_class(label, run.class_names) for label in file.labels]
  lengths = np.array([len(rows) for rows in file.values])
  rows: dict[str, dict[str, float]] = {}
  for weights, (_, sizes) in built.items():
    said = turns[0][weights][0]
    rows[weights] = {
      "series": len(true),
      "right": float(
        np.mean([run.class_names[k] == t for k, t in zip(said[:, 0], true, strict=True)])
      ),
      "never_sure": float(np.mean(said[:, 1] == 0)),
      "earliness": float(np.mean(said[:, 2] / lengths)),
      "as_float32": float(np.mean(said[:, 0] == turns[0]["float32"][0][:, 0])),
      "us_per_step": statistics.median(turn[weights][1] for turn in turns),
      "constant_bytes": sizes["constant_bytes"],
      "state_bytes": sizes["state_bytes"],
    }
  return rows


def _decide(program: pathlib.Path, given: bytes) -> tuple[np.ndarray, float]:
  done = subprocess.run([program], input=given, capture_output=True, check=True)
  *said, took = done.stdout.decode().splitlines()
  return np.array([line.split() for line in said], int), float(took)


def main() -> int:
  """Reads the command line, measures, and prints a table or JSON; returns the exit status."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  add_run(parser, of="experiments.series")
  for name in ("data_dir", "train", "test", "dataset"):
    parser.add_argument(f"--{name}", help="as of experiments.series")
  parser.add_argument("--rounds", type=int, default=9)
  parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
  given = parser.parse_args()
  if shutil.which("cc") is None:
    parser.error("there is no C compiler, cc")
  run = with_arguments(check_series_run(load_run(given.run), given.run), given)
  named: dict[str, Any] = {n: getattr(given, n) for n in ("data_dir", "train", "test", "dataset")}
  rows = measure(run, series.read_files(series.find_files(**named))[1], given.rounds)
  if given.json:
    print(json.dumps({**run.rule._asdict(), "rows": rows}, indent=2))
    return 0
  print(f"theta {run.theta:.4f}, patience {run.rule.patience}, {rows['float32']['series']} series")
  print("weights    right    never sure  seen     as float32  us a step  constants  state")
  for weights, row in rows.items():
    shares = [row[name] for name in ("right", "never_sure", "earliness", "as_float32")]
    text = "  ".join(f"{100 * share:6.2f} %" for share in shares)
    sizes = f"{row['constant_bytes']:>9}  {row['state_bytes']:>5}"
    print(f"{weights:8s} {text}  {row['us_per_step']:11.1f}  {sizes}")
  return 0


if __name__ == "__main__":
  run_command(main)

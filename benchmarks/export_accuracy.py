"""What do int8 weights cost a trained run in accuracy?

  python -m benchmarks.export_accuracy RUN --data_dir=WORDS [--theta=0.9] [--json]

Every clip of a split is heard by the exported C code, with float32 and with int8 weights, until its
first decision: the shares of clips that are decided right, wrong, and not at all, the mean time
heard, and the share of clips for which both say the same. A C compiler, `cc`, is needed. What was
measured: docs/results/live.md.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import tempfile

import numpy as np

from data_pipelines.speech import NUM_SAMPLES
from deploy.commands import (
  add_data,
  add_run,
  data_of,
  load_data,
  load_speech_run,
  run_command,
  with_arguments,
)
from deploy.export.c import WEIGHTS, write_run
from deploy.front_end import HALF
from deploy.rule import Rule
from deploy.run_files import Run

# Reads clips of CLIP samples and prints, for each, label and milliseconds heard, or -1 and 0.
MAIN = r"""
#include <stdio.h>
#include "rc_model.h"
static float clip[CLIP];
static rc_state state;
int main(void) {
  while (fread(clip, sizeof(float), CLIP, stdin) == CLIP) {
    rc_event event;
    int used, at = 0, said = 0;
    rc_init(&state);
    while (at < CLIP && !said) {
      said = rc_push(&state, clip + at, CLIP - at, &event, &used);
      at += used;
    }
    printf("%d %f\n", said ? event.label : -1, said ? event.sample / 16.0 : 0.0);
  }
  return 0;
}
"""


def hear(run: Run, rule: Rule, weights: str, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Decides clips `[N, n]` by the C code: label or -1, and milliseconds heard."""
  with tempfile.TemporaryDirectory() as place:
    folder = pathlib.Path(place)
    write_run(folder, run._replace(rule=rule), not_reported=(), weights=weights)
    program, code = folder / "hear", folder / "hear.c"
    code.write_text(MAIN)
    define = f"-DCLIP={clips.shape[1]}"
    command = ["cc", "-std=c99", "-O2", define, str(code), str(folder / "rc_model.c")]
    subprocess.run([*command, "-o", str(program), "-lm"], check=True)
    done = subprocess.run([program], input=clips.tobytes(), capture_output=True, check=True)
  said = np.array([line.split() for line in done.stdout.decode().splitlines()], np.float64)
  return said[:, 0].astype(int), said[:, 1]


def main() -> None:
  """Reads the command line, measures, and prints a table or JSON."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  add_run(parser)
  add_data(parser)
  parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
  given = parser.parse_args()
  if shutil.which("cc") is None:
    parser.error("there is no C compiler, cc")
  run = with_arguments(load_speech_run(given.run), given)
  rule = run.rule
  data = load_data(run, data_of(given))
  labels = getattr(data.splits, given.split).labels
  clips = np.zeros((len(labels), NUM_SAMPLES + HALF), np.float32)
  for k in range(len(labels)):
    clips[k, :NUM_SAMPLES] = data.audio(given.split, k)
  heard = {weights: hear(run, rule, weights, clips) for weights in WEIGHTS}
  rows = {
    weights: {
      "clips": len(labels),
      "right": float(np.mean(said == labels)),
      "wrong": float(np.mean((said >= 0) & (said != labels))),
      "silent": float(np.mean(said < 0)),
      "mean_ms": float(np.mean(ms[said >= 0])),
      "as_float32": float(np.mean(said == heard["float32"][0])),
    }
    for weights, (said, ms) in heard.items()
  }
  if given.json:
    print(json.dumps({**rule._asdict(), "rows": rows}, indent=2))
    return
  print(f"theta {rule.theta:.4f}, patience {rule.patience}, {len(labels)} clips")
  print("weights   right    wrong    silent   heard, ms  same as float32")
  for weights, row in rows.items():
    shares = "  ".join(f"{100 * row[name]:5.2f} %" for name in ("right", "wrong", "silent"))
    print(f"{weights:8s} {shares}  {row['mean_ms']:9.1f}  {100 * row['as_float32']:13.2f} %")


if __name__ == "__main__":
  run_command(main)

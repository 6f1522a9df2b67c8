"""Section 3 again, in one table: the paper's numbers, ours over seeds, and the ceilings.

  python -m experiments.reproduce --workdir=runs/reproduce --seeds=5 --only=spotting,two_sequence

Each run is one of the binaries, by the command that its own report shows, in
`WORKDIR/BUDGET/RUN/SEED`. A run that is done is not run again, one that was stopped goes on, and
report.md is written anew after each. Flags of the data go to the parts that read some:

  --mnist_flags='--data_dir=MNIST'
  --speech_flags='--dataset=folder --data_dir=WORDS --keywords=zero,one,two,three,four,five'

`--budget=smoke` runs every part for a moment, without a download: its numbers mean nothing.
"""

import argparse
import json
import pathlib
import shlex
import statistics
import subprocess
import sys
from typing import Any, NamedTuple

from experiments.workdir import write_text


class Run(NamedTuple):
  """A binary with its flags."""

  part: str
  binary: str
  flags: tuple[str, ...] = ()


class Row(NamedTuple):
  """A quantity: of which run, its key in result.json, and what stands beside it.

  `ceiling` is a key in result.json too, or a text.
  """

  run: str
  measure: str
  text: str
  paper: str
  ceiling: str = ""


RUNS = {
  "spotting": Run("spotting", "spotting"),
  "spotting-eos": Run("spotting", "spotting", ("--objective=eos",)),
  "two_sequence": Run("two_sequence", "two_sequence"),
  "two_sequence-eos": Run("two_sequence", "two_sequence", ("--objective=eos",)),
  "mnist-lstm": Run(
    "mnist", "temporal_mnist", ("--beta=0,6:0.165", "--choose=last", "--epochs=30")
  ),
  "mnist-lstm-shift": Run(
    "mnist", "temporal_mnist", ("--beta=0", "--shift=2", "--choose=last", "--epochs=40")
  ),
  "speech": Run("speech", "speech", ("--beta=0.2", "--epochs=40")),
  "speech-eos": Run("speech", "speech", ("--objective=eos", "--beta=0", "--epochs=40")),
  "speech-ours": Run(
    "speech",
    "speech",
    (
      *("--beta=0.2", "--epochs=60", "--weight_decay=0.01", "--schedule=cosine", "--average=0.999"),
      *("--shift_frames=10", "--stretch=0.1", "--gain=1", "--noise=0.3"),
      *("--mask_frames=10", "--mask_bands=3"),
    ),
  ),
}
SMOKE = {
  "spotting": ("--num_examples=6400",),
  "two_sequence": ("--num_examples=6400",),
  "mnist": ("--dataset=digits", "--epochs=1", "--units=16"),
  "speech": ("--dataset=synthetic", "--epochs=1", "--units=16"),
}
PARTS = tuple(SMOKE)

AT_SPIKE, STEP, AT_END = "rc_accuracy", "mean_spike_step", "eos_accuracy"
IN_STEPS = (STEP, "positive_mean_spike_step", "negative_mean_spike_step")  # others are shares
ROWS = (
  Row("spotting", AT_SPIKE, "spotting: accuracy at the first spike", "100 %", "100 %"),
  Row(
    "spotting",
    "positive_spikes_at_earliest_step",
    "spotting: positive spikes at the earliest step",
    "almost all",
    "100 %",
  ),
  Row(
    "spotting",
    "positive_mean_spike_step",
    "spotting: mean step, positives",
    "",
    "ideal_positive_mean_spike_step",
  ),
  Row(
    "spotting",
    "negative_mean_spike_step",
    "spotting: mean step, negatives",
    "before the last",
    "ideal_negative_mean_spike_step",
  ),
  Row("spotting-eos", AT_SPIKE, "spotting, eos: accuracy at the first spike", ""),
  Row("spotting-eos", AT_END, "spotting, eos: accuracy at the end", "", "100 %"),
  Row(
    "two_sequence", AT_SPIKE, "2-sequence: accuracy at the first spike", "95.45 %", "ideal_accuracy"
  ),
  Row("two_sequence", STEP, "2-sequence: mean step", "14"),
  Row("two_sequence", "regret", "2-sequence: regret to the ideal observer at that step", "", "0 %"),
  Row(
    "two_sequence-eos", AT_SPIKE, "2-sequence, eos: at the first spike", "96.32 %", "ideal_accuracy"
  ),
  Row("two_sequence-eos", STEP, "2-sequence, eos: mean step", "23"),
  Row("two_sequence-eos", AT_END, "2-sequence, eos: at the end", "96.84 %", "96.95 %"),
  Row("mnist-lstm", AT_SPIKE, "temporal MNIST, LSTM-340: at the first spike", "98.14 %"),
  Row("mnist-lstm", STEP, "temporal MNIST, LSTM-340: mean step", "< 1.5"),
  Row("mnist-lstm-shift", AT_SPIKE, "temporal MNIST, LSTM-340, ours: shifted images", "98.14 %"),
  Row("mnist-lstm-shift", STEP, "temporal MNIST, LSTM-340, ours: mean step", "< 1.5"),
  Row("speech", AT_SPIKE, "speech: accuracy at the first spike", "curves", AT_END),
  Row("speech", STEP, "speech: mean step of 81", "curves"),
  Row("speech-eos", AT_SPIKE, "speech, eos: accuracy at the first spike", "curves"),
  Row("speech-eos", STEP, "speech, eos: mean step of 81", "curves"),
  Row("speech-eos", AT_END, "speech, eos: accuracy at the end", "curves"),
  Row("speech-ours", AT_SPIKE, "speech, ours: augmented clips, at the first spike", "", AT_END),
  Row("speech-ours", STEP, "speech, ours: mean step of 81", ""),
)


def main(argv: list[str] | None = None) -> int:
  """Runs what is not done, and writes the report; returns the exit status."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/reproduce"))
  parser.add_argument("--only", default=",".join(PARTS), help="parts, of " + ", ".join(PARTS))
  parser.add_argument("--seeds", type=int, default=1, help="seeds 0..N-1 of every run")
  parser.add_argument("--budget", choices=["paper", "smoke"], default="paper")
  parser.add_argument("--mnist_flags", default="", help="of experiments.temporal_mnist")
  parser.add_argument("--speech_flags", default="", help="of experiments.speech")
  given = parser.parse_args(argv)
  only = given.only.split(",")
  if unknown := set(only) - set(PARTS):
    parser.error(f"unknown part {sorted(unknown)}; choose of {', '.join(PARTS)}")
  if given.seeds < 1:
    parser.error(f"--seeds is {given.seeds}; it must be 1 or more")
  folder = given.workdir / given.budget
  for seed in range(given.seeds):
    for name, run in RUNS.items():
      workdir = folder / name / str(seed)
      if run.part not in only or (workdir / "result.json").exists():
        continue
      flags = [*run.flags, *(SMOKE[run.part] if given.budget == "smoke" else ())]
      flags += shlex.split(vars(given).get(f"{run.part}_flags", ""))
      print(f"{name}, seed {seed}: {workdir}", flush=True)
      if status := _wait(run.binary, [*flags, f"--seed={seed}", f"--workdir={workdir}"]):
        print(f"error: {name} ended with status {status}; see above", file=sys.stderr)
        return status
      write_text(folder / "report.md", report(folder))
  write_text(folder / "report.md", report(folder))
  print(report(folder))
  return 0


def _wait(binary: str, flags: list[str]) -> int:
  """Runs a binary to its end; an interrupt is its own, which it survives with all it has."""
  process = subprocess.Popen([sys.executable, "-m", f"experiments.{binary}", *flags])
  while True:
    try:
      return process.wait()
    except KeyboardInterrupt:
      continue


def report(folder: pathlib.Path) -> str:
  """The table of what is done, as Markdown.

  Args:
    folder: `WORKDIR/BUDGET`, with a result.json in `RUN/SEED`.
  """
  lines = [
    "# The paper's numbers, and ours",
    "",
    "Test data; mean ± standard deviation over seeds. Parameters: the checkpoint that each run's",
    "own report names. The ceiling of 2-sequence is the ideal observer at the same mean step.",
    "",
    "| | the paper | ours | best seed | ceiling | seeds | trained |",
    "| --- | --- | --- | --- | --- | --- | --- |",
  ]
  for row in ROWS:
    paths = sorted((folder / row.run).glob("*/result.json"))
    results = [json.loads(path.read_text()) for path in paths]
    if not results:
      continue
    values = [result[row.measure] for result in results]
    is_share = row.measure not in IN_STEPS
    best = max(values) if is_share and row.measure != "regret" else min(values)
    spread = f" ± {_text(statistics.stdev(values), is_share)}" if len(values) > 1 else ""
    ours = f"{_text(statistics.mean(values), is_share)}{spread}"
    ceiling = row.ceiling
    if ceiling in results[0]:
      ceiling = _text(statistics.mean(result[ceiling] for result in results), is_share)
    cells = [row.text, row.paper, ours, _text(best, is_share), ceiling, str(len(values))]
    lines.append(f"| {' | '.join([*cells, _trained(results[0])])} |")
  return "\n".join(lines) + "\n"


def _text(value: float, is_share: bool) -> str:
  return f"{100 * value:.2f} %" if is_share else f"{value:.2f}"


def _trained(result: dict[str, Any]) -> str:
  trained = result["trained"]
  if "epoch" in trained:
    return f"{trained['epoch']:g} epochs"
  return f"{trained['examples']:,} examples"


if __name__ == "__main__":
  sys.exit(main())

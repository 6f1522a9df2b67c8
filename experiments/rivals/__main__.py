"""Compares rank coding with other ways to train a network that answers early, on equal terms.

  python -m experiments.rivals --dataset=two_sequence,spotting --seeds=5 --workdir=runs/rivals
  python -m experiments.rivals --dataset=two_sequence --flags=--num_examples=200000 --trials=1
  python -m experiments.rivals --dataset=GunPoint,ItalyPowerDemand --seeds=5 --trials=1
  python -m experiments.rivals --dataset=series --flags=--data_dir=FOLDER --seeds=5 --trials=1

Each objective gets the network, optimizer and number of examples of the experiment, and the same
number of trials: candidates of its own value (or of the learning rate), trained on a seed that is
not reported, of which the largest area under the curve on validation is taken. Each run lies in
WORKDIR/DATASET/OBJECTIVE/SEED as a run of the binary does, with its curves in result.json; one that
is done is not run again, one that was stopped goes on. At the end, or at a stop, rivals.md and
figures/rivals.png are made of all that is there, in WORKDIR; `--seeds=0` only does that.

`--budget=smoke` runs all for a moment, without a download: its numbers mean nothing.
"""

import argparse
import os
import pathlib
import shlex
import sys

from experiments.harness.flags import guard, keep_compiled
from experiments.rivals import page
from experiments.rivals.records import DATASETS, MOST_TRIALS, TRAININGS, experiment_of
from experiments.rivals.train import make_base, refuse_other_amounts, train
from experiments.series import find_files


def main(argv: list[str] | None = None) -> int:
  """Runs what is not done, and writes the page.

  Args:
    argv: the command line without its first word; None takes that of the process.

  Returns:
    Exit status: 0, or 130 if a signal ended a run.

  Raises:
    ValueError: bad flags of a run, or a run that cannot go on.
  """
  given = _parse(argv)
  smoke, own = given.budget == "smoke", shlex.split(given.flags)
  bases = {name: make_base(name, own, smoke=smoke) for name in given.dataset}  # all errors first
  for name, base in bases.items():
    if given.seeds and experiment_of(name) == "series":
      find_files(base)
    if given.seeds:
      refuse_other_amounts(given.workdir / name, base)
  # One objective of all data sets after the other, so that a stop leaves a comparison.
  for training in given.objectives if given.seeds else ():
    for dataset, base in bases.items():
      folder = given.workdir / dataset / training
      amount = {"seeds": given.seeds, "trials": given.trials}
      if status := train(dataset, training, base, folder, **amount):
        page.write(given.workdir)
        return status
  print(page.write(given.workdir))
  return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m experiments.rivals",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  names = lambda text: text.split(",")
  folder = lambda text: pathlib.Path(os.path.expanduser(text))
  parser.add_argument("--dataset", type=names, required=True, help="of " + ", ".join(DATASETS))
  parser.add_argument("--objectives", type=names, default=list(TRAININGS), help="default: all")
  parser.add_argument("--seeds", type=int, default=1, help="seeds 0..N-1; 0 only writes the page")
  parser.add_argument(
    "--trials", type=int, default=MOST_TRIALS, help=f"1 (no search) to {MOST_TRIALS}"
  )
  parser.add_argument("--budget", choices=["paper", "smoke"], default="paper")
  parser.add_argument("--flags", default="", help="of the experiment, for every objective")
  parser.add_argument("--workdir", type=folder, default=pathlib.Path("runs/rivals"))
  given = parser.parse_args(argv)
  for flag, values, known in (
    ("dataset", given.dataset, DATASETS),
    ("objectives", given.objectives, TRAININGS),
  ):
    if unknown := sorted(set(values) - set(known)):
      parser.error(f"--{flag} has {unknown}; choose of {', '.join(known)}")
  if not 1 <= given.trials <= MOST_TRIALS:
    parser.error(f"--trials is {given.trials}; it must lie in 1..{MOST_TRIALS}")
  if given.seeds < 0:
    parser.error(f"--seeds is {given.seeds}; it must be 0 (only the page) or more")
  return given


if __name__ == "__main__":
  keep_compiled(None)
  sys.exit(guard(main))

"""Kills runs and damages their files, and prints what came of it: minutes to an hour.

python -m tests.survival kills --kills=200 --seed=0
python -m tests.survival damage
"""

import argparse
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

from absl import flags, logging

from experiments.harness import compile_cache
from tests.survival import damage
from tests.survival.kills import KINDS, draw_kinds, run_kills
from tests.survival.starts import make_context

COMMAND = (
  *("--dataset=digits", "--units=16", "--batch_size=64", "--checkpoint_seconds=1", "--beta=0"),
  *("--learning_rate=0.01", "--progress=false", "--engine=full"),
)


def main():
  """Reads the command line, and returns the exit status: 1 if there was a fault."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("what", choices=("kills", "damage"))
  parser.add_argument("--kills", type=int, default=200)
  parser.add_argument("--damages", type=int, help="damages, drawn at random; default: all")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--epochs", type=int, default=50, help="of a run that is killed")
  given = parser.parse_args()
  os.environ.setdefault("MPLBACKEND", "Agg")
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  logging.set_verbosity(logging.FATAL)  # Orbax tells of each file that it misses
  begun = time.monotonic()
  with tempfile.TemporaryDirectory(prefix="rc_jax_survival_") as name:
    root = pathlib.Path(name)
    faults = _report_kills(given, root) if given.what == "kills" else _report_damage(given, root)
  print(f"{time.monotonic() - begun:.0f} s")
  return 1 if faults else 0


def _report_damage(given, root):
  """Damages, prints the tally, and returns the faults."""
  flags.FLAGS(["survival", "--devices=1"])
  compile_cache.turn_on(str(root / "compiled"))
  return damage.report(damage.damage_all(root, given.seed, given.damages))


def _report_kills(given, root):
  """Kills, prints the tally, and returns the faults."""
  arguments = [*COMMAND, f"--epochs={given.epochs}", f"--compile_cache={root / 'compiled'}"]
  rng = random.Random(given.seed)
  tally = run_kills(make_context(), root, arguments, draw_kinds(rng, given.kills), rng)
  for kind in KINDS:
    print(f"{tally.kills[kind]:6d}  {kind}")
  print(f"{tally.saved[0]:6d}  of them left half a checkpoint")
  print(f"{tally.ends[0]:6d}  ends, compared bit by bit with the undisturbed one")
  print(f"{len(tally.faults):6d}  faults")
  for fault in tally.faults:
    print(fault)
  return tally.faults


if __name__ == "__main__":
  sys.exit(main())

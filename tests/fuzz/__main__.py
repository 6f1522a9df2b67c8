"""Reads mutated data of every kind, and prints what came of it.

python -m tests.fuzz --files=22000 --seed=0
"""

import argparse
import collections
import os
import pathlib
import sys
import tempfile
import time

from tests.fuzz.cases import KINDS, kind_of
from tests.fuzz.workers import run_cases

SHOWN = 20  # faults


def main():
  """Reads the command line, runs the cases, and returns 1 if there was a fault."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--files", type=int, default=22_000, help="cases; 46 of 50 are sounds")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--only", type=int, help="the number of one case")
  parser.add_argument("--kind", choices=KINDS, help="cases of this kind alone")
  parser.add_argument("--processes", type=int, default=os.cpu_count())
  parser.add_argument("--keep", help="folder in which the files of faults stay")
  given = parser.parse_args()
  numbers = range(given.files) if given.only is None else [given.only]
  numbers = [n for n in numbers if given.kind in (None, kind_of(n))]
  begun, counts, faults = time.monotonic(), collections.Counter(), []
  slowest, largest = 0.0, 0
  with tempfile.TemporaryDirectory(prefix="rc_jax_fuzz_") as temporary:
    folder = pathlib.Path(given.keep or temporary).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for done in run_cases(given.seed, numbers, folder, given.processes):
      counts[kind_of(done.number), done.outcome] += 1
      slowest, largest = max(slowest, done.seconds), max(largest, done.memory)
      if done.outcome == "fault":
        faults.append(done)
        if len(faults) <= SHOWN:
          print(f"case {done.number}, {kind_of(done.number)}: {done.what}\n", flush=True)
  for kind in KINDS:
    row = {outcome: counts[kind, outcome] for outcome in ("read", "refused", "fault")}
    print(f"{kind:6}  " + "  ".join(f"{outcome} {count:6d}" for outcome, count in row.items()))
  print(f"slowest {slowest:.2f} s of processor time, at most {largest / 2**20:.0f} MiB more memory")
  print(f"{len(faults)} faults in {len(numbers)} cases, {time.monotonic() - begun:.0f} s")
  return 1 if faults else 0


if __name__ == "__main__":
  sys.exit(main())

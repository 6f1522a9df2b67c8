"""Runs section 3 of the paper, and writes its table and figures from our runs.

  python -m experiments.reproduce --workdir=runs/reproduce --seeds=5 --only=spotting,two_sequence

Each run is one of the binaries, in `WORKDIR/BUDGET/RUN/SEED`; the seeds of a generated task and the
betas of the sweep train together, as experiments.population does. A run that is done is not run
again, one that was stopped goes on. At the end, or at a stop, a page a part, report.html of all
pages and figures/ are made from the files of all runs, in `WORKDIR/BUDGET`; `--seeds=0` only does
that. Of a run they read config.json, result.json, metrics.jsonl and examples.npz: to keep these is
to keep the run. Flags of data go to the parts that read some:

  --mnist_flags='--data_dir=MNIST'
  --speech_flags='--dataset=folder --data_dir=WORDS --keywords=zero,one,two,three,four,five'

`--budget=smoke` runs every part for a moment, without a download: its numbers mean nothing. Runs
that differ from others by a number are left out.
"""

import argparse
import os
import pathlib
import shlex
import signal
import subprocess
import sys

from experiments.harness import large_pages
from experiments.harness.flags import guard
from experiments.harness.signals import is_heard
from experiments.reproduce import page
from experiments.reproduce.records import GENERATED, PARTS
from experiments.reproduce.runs import RUNS, is_done, list_members


def main(argv: list[str] | None = None) -> int:
  """Runs what is not done, and writes the report.

  Args:
    argv: the command line without its first word; None takes that of the process.

  Returns:
    Exit status: 0, or that of the run that did not come to its end.
  """
  given = _parse(argv)
  folder = given.workdir / given.budget
  smoke = given.budget == "smoke"
  names = [
    name
    for name, run in RUNS.items()
    if run.part in given.only and (run.smoke is not None or not smoke)
  ]
  flags = {name: _list_flags(name, given) for name in names}
  for name, betas, seeds in _find_missing(folder, flags, given.seeds):
    command = _make_command(name, flags[name], betas, seeds, folder / name)
    print(f"{name}: {shlex.join(command)}", flush=True)
    environment = large_pages.make_environment() | (_smoke_environment(folder) if smoke else {})
    binary = [sys.executable, "-m", f"experiments.{command[0]}", *command[1:]]
    if status := _wait(binary, environment):
      page.write(folder)
      print(f"error: {name} ended with status {status}; see above", file=sys.stderr)
      return status
  print(page.write(folder))
  return 0


def _list_flags(name: str, given: argparse.Namespace) -> tuple[str, ...]:
  """Returns the flags of one of RUNS, of a smoke run, and the user's; of two the last counts."""
  run = RUNS[name]
  smoke = (run.smoke or ()) if given.budget == "smoke" else ()
  return (*run.flags, *smoke, *getattr(given, f"{run.part}_flags", ()))


def _make_command(
  name: str, flags: tuple[str, ...], betas: list[str], seeds: list[int], workdir: pathlib.Path
) -> list[str]:
  """Returns the binary and its flags that train a run with these seeds, and betas if any."""
  command = [RUNS[name].binary, *flags]
  if not betas and len(seeds) == 1:
    return [*command, f"--seed={seeds[0]}", f"--workdir={workdir / str(seeds[0])}"]
  together = [f"--betas={','.join(betas)}"] if betas else []
  together += [f"--seeds={','.join(map(str, seeds))}", f"--workdir={workdir}"]
  return ["population", *command, *together]


def _find_missing(
  folder: pathlib.Path, flags: dict[str, tuple[str, ...]], seeds: int
) -> list[tuple[str, list[str], list[int]]]:
  """Finds runs without a result: name, betas and seeds to train at once; first seeds come first.

  A run that was trained with other flags counts as missing: its binary then goes on to the new
  length, or refuses the folder and says which flags differ.
  """
  found = []
  for first in range(seeds):
    for name in flags:
      run = RUNS[name]
      most = min(seeds, run.most_seeds or seeds)
      if run.part in GENERATED:
        wanted = range(most) if first == 0 else range(0)
      else:
        wanted = range(first, min(first + 1, most))
      own = flags[name]
      lacks = lambda member, seed, own=own: not is_done(folder / member / str(seed), own)
      todo = [seed for seed in wanted if any(lacks(member, seed) for member in list_members(name))]
      betas = [b for b in run.betas if any(lacks(f"{name}/beta-{b}", seed) for seed in todo)]
      found += [(name, betas, todo)] if todo else []
  return found


def _parse(argv: list[str] | None) -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m experiments.reproduce",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  folder = lambda text: pathlib.Path(os.path.expanduser(text))
  parser.add_argument("--workdir", type=folder, default=pathlib.Path("runs/reproduce"))
  parser.add_argument("--only", default=",".join(PARTS), help="parts, of " + ", ".join(PARTS))
  parser.add_argument("--seeds", type=int, default=1, help="seeds 0..N-1; ceilings have one")
  parser.add_argument("--budget", choices=["paper", "smoke"], default="paper")
  for part, name in (("mnist", "temporal_mnist"), ("speech", "speech")):
    parser.add_argument(f"--{part}_flags", default="", help=f"of experiments.{name}")
  given = parser.parse_args(argv)
  given.only = given.only.split(",")
  if unknown := set(given.only) - set(PARTS):
    parser.error(f"unknown part {sorted(unknown)}; choose of {', '.join(PARTS)}")
  if given.seeds < 0:
    parser.error(f"--seeds is {given.seeds}; it must be 0 (only draw) or more")
  for name in ("mnist_flags", "speech_flags"):
    try:
      setattr(given, name, tuple(shlex.split(getattr(given, name))))
    except ValueError as error:
      parser.error(f"--{name} cannot be parsed: {error}")
    if bad := [word for word in getattr(given, name) if not word.startswith("-")]:
      parser.error(f"--{name} has {bad[0]!r}; give each flag as --name=value")
  return given


def _smoke_environment(folder: pathlib.Path) -> dict[str, str]:
  """Returns what a smoke run is started with: it is short but for compiling, which is cut down."""
  defaults = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
    "JAX_COMPILATION_CACHE_DIR": str((folder / "compiled").absolute()),
  }
  return {name: value for name, value in defaults.items() if name not in os.environ}


def _wait(command: list[str], environment: dict[str, str]) -> int:
  """Runs a command to its end; signals that ask for one are sent on, and it saves all it has.

  It has a session of its own, so that none reaches it twice, from the terminal and from here: a
  second one would kill it.
  """
  process = subprocess.Popen(command, env=os.environ | environment, start_new_session=True)
  send_on = lambda number, frame: process.send_signal(number)
  heard = filter(is_heard, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
  before = {number: signal.signal(number, send_on) for number in heard}
  try:
    return process.wait()
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


if __name__ == "__main__":
  sys.exit(guard(main))

"""A run that is killed again and again, by every kind of kill, and gone on with to its end."""

import collections
import shutil
import signal
import time
from typing import NamedTuple

from tests.survival.ends import list_differences, read_end
from tests.survival.starts import Start

# Of how a start ends: SIGKILL at any time, while it trains, and in the midst of a save; SIGTERM,
# also with a SIGKILL while it saves what it has.
KINDS = ("kill at any time", "kill in training", "kill in a save", "term", "term, then kill")
WEIGHTS = (2, 3, 3, 2, 1)
MOST_FAULTS = 10
# An exit status by a signal is its negative number; 130 is a run that has stopped in order.
EXPECTED = {-signal.SIGKILL, -signal.SIGTERM, 130}


class Tally(NamedTuple):
  """What came of many kills.

  Attributes:
    kills: by kind.
    ends: of runs that came to their end, each compared with the undisturbed one.
    saved: kills after which a half-written checkpoint lay in the folder.
    faults: one line for each start or end that was not as it must be.
  """

  kills: collections.Counter
  ends: list[int]
  saved: list[int]
  faults: list[str]


def kill_until_the_end(folder, start, kinds, rng, tally, longest_s):
  """Starts a run anew after each kill, and lets it end when no kinds are left.

  Args:
    folder: workdir of the run, which does not exist.
    start: begins a process of the run's command.
    kinds: of the kills in all runs, after which this one may end. One that comes too late, since
      the run has ended, is the first of the next run.
    rng: of the moments.
    tally: is added to.
    longest_s: into the training, of a kill there.

  Returns:
    Whether the run has come to its end.
  """
  while True:
    process, kind = start(), "no kill"
    if (done := sum(tally.kills.values())) < len(kinds):
      kind = kinds[done]
      _kill(process, folder, kind, rng, longest_s)
    status = process.wait()
    output = process.read_output()
    if "Traceback" in output or status not in {0, *EXPECTED}:
      tally.faults.append(f"{kind}: status {status}: {output[-2000:]}")
      return False
    if status == 0:
      return True
    if kind == "no kill":
      tally.faults.append(f"status {status} without a kill: {output[-2000:]}")
      return False
    tally.kills[kind] += 1
    tally.saved[0] += has_half_a_save(folder)
    if sum(tally.kills.values()) % 10 == 0:
      print(tally, flush=True)


def _kill(process, folder, kind, rng, longest_s):
  """Kills a start; one that ends before is left alone."""
  if kind == "kill at any time":
    moment = time.monotonic() + rng.uniform(0, _STARTED[0] + longest_s)
    process.wait_until(lambda: time.monotonic() > moment)
    process.send(signal.SIGKILL)
    return
  before, begun = list_checkpoints(folder), time.monotonic()
  if not process.wait_until(lambda: list_checkpoints(folder) - before):
    return
  _STARTED[0] = 0.7 * _STARTED[0] + 0.3 * (time.monotonic() - begun)
  if kind != "kill in a save":
    moment = time.monotonic() + rng.uniform(0, longest_s)
    process.wait_until(lambda: time.monotonic() > moment)
    process.send(signal.SIGTERM if "term" in kind else signal.SIGKILL)
  if kind in ("kill in a save", "term, then kill"):
    process.wait_until(lambda: has_half_a_save(folder), every=0.0005)
    time.sleep(rng.expovariate(100))
    process.send(signal.SIGKILL)


_STARTED = [3.0]  # seconds from a start to its first checkpoint, as seen so far


def list_checkpoints(folder):
  """Names of the finished checkpoints of a run."""
  checkpoints = folder / "checkpoints"
  return (
    {p.name for p in checkpoints.iterdir() if p.name.isdigit()} if checkpoints.is_dir() else set()
  )


def has_half_a_save(folder):
  """Whether a checkpoint lies there half written, as Orbax names it."""
  return any("tmp" in path.name for path in (folder / "checkpoints").glob("*"))


def draw_kinds(rng, kills):
  """Kinds of so many kills."""
  return rng.choices(KINDS, WEIGHTS, k=kills)


def run_kills(context, root, arguments, kinds, rng, longest_s=2.5):
  """Kills runs in these ways, and compares every end with that of an undisturbed run.

  Args:
    context: of `make_context`.
    root: an empty folder for the runs.
    arguments: of the command, but for the workdir.
    kinds: one for each kill.
    rng: of their moments.
    longest_s: into the training, of a kill there.
  """
  tally = Tally(collections.Counter(), [0], [0], [])
  make = lambda folder: (
    lambda: Start(context, [*arguments, f"--workdir={folder}"], folder.with_suffix(".log"))
  )
  undisturbed = make(root / "undisturbed")()
  if undisturbed.wait() != 0:
    raise RuntimeError(undisturbed.read_output())
  expected = read_end(root / "undisturbed")
  while sum(tally.kills.values()) < len(kinds) and len(tally.faults) < MOST_FAULTS:
    folder = root / f"killed{tally.ends[0] + len(tally.faults)}"
    if kill_until_the_end(folder, make(folder), kinds, rng, tally, longest_s):
      tally.ends[0] += 1
      if differences := list_differences(read_end(folder), expected):
        tally.faults.append(f"{folder.name} ended otherwise: {', '.join(differences)}")
        continue
      shutil.rmtree(folder)
  return tally

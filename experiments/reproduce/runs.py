"""The runs of all parts: which there are, which are done, and what their files hold."""

import os
import pathlib
from typing import Any

from experiments.harness.settings import FREE_FLAGS
from experiments.harness.workdir import read_config
from experiments.reproduce import runs_generated, runs_mnist, runs_speech
from experiments.reproduce.records import Run
from experiments.reproduce.results import Done, Runs, read_done
from experiments.reproduce.runs_speech import EOS_BETAS, RC_BETAS

# Flags that change no number.
_INDIFFERENT = {*FREE_FLAGS} - {"epochs", "num_examples", "num_test", "choose"}
RUNS: dict[str, Run] = runs_generated.RUNS | runs_mnist.RUNS | runs_speech.RUNS


def list_members(name: str) -> list[str]:
  """Lists the runs that one of RUNS is; each has a folder of that name, with one a seed in it."""
  return [f"{name}/beta-{beta}" for beta in RUNS[name].betas] or [name]


def part_of(member: str) -> str:
  """Returns the part that a run belongs to, by the name of its folder."""
  return RUNS[member.partition("/")[0]].part


def list_command(member: str) -> list[str]:
  """Lists binary and flags of a run, without the seed, the workdir and where the data is."""
  name, _, beta = member.partition("/beta-")
  return [RUNS[name].binary, *RUNS[name].flags, *([f"--beta={beta}"] if beta else [])]


def is_done(workdir: pathlib.Path, flags: tuple[str, ...]) -> bool:
  """Says whether a run has ended that had these flags.

  Args:
    workdir: of the run.
    flags: each `--name=value`; of a name that stands twice, the last counts.
  """
  if not (workdir / "result.json").exists():
    return False
  config = read_config(workdir)
  if config is None:
    return False
  had = config["flags"]
  wanted = dict(map(_read_flag, flags))
  return all(
    _is_same(had.get(name), value) for name, value in wanted.items() if name not in _INDIFFERENT
  )


def _read_flag(flag: str) -> tuple[str, str]:
  """Name and value of a flag as it is typed; --name and --noname are those of a truth value."""
  name, given, value = flag.lstrip("-").partition("=")
  if given:
    return name, value
  return (name.removeprefix("no"), "false") if name.startswith("no") else (name, "true")


def read_finished(folder: pathlib.Path) -> Runs:
  """Reads the runs under `folder/RUN/SEED` that have ended, in the order of RUNS and of seeds."""
  found: Runs = {}
  for member in (member for name in RUNS for member in list_members(name)):
    names = [path.parent.name for path in (folder / member).glob("*/result.json")]
    for seed in sorted(int(name) for name in names if name.isdigit()):
      found.setdefault(member, []).append(read_done(folder / member / str(seed), seed))
  return found


def pick_speech_runs(runs: Runs) -> dict[str, list[tuple[float, list[Done]]]]:
  """Picks the runs with the paper's network and data: of "RC" and "eos", `[(beta, seeds)]`."""
  rc = {0.1: "speech-early", 0.15: "speech-middle", 0.2: "speech"}
  rc |= {float(beta): f"speech-betas/beta-{beta}" for beta in RC_BETAS}
  eos = {0.0: "speech-eos", **{float(beta): f"speech-eos-betas/beta-{beta}" for beta in EOS_BETAS}}
  there = lambda names: [(b, runs[names[b]]) for b in sorted(names) if names[b] in runs]
  return {"RC": there(rc), "eos": there(eos)}


def _is_same(had: Any, wanted: str) -> bool:
  """Whether a value of config.json is that of a flag as it is typed."""
  if isinstance(had, bool):
    return had == (wanted.lower() in ("true", "t", "1"))
  if isinstance(had, list):
    several = wanted.split(",")
    return len(had) == len(several) and all(map(_is_same, had, several))
  try:
    return float(had) == float(wanted)
  except (TypeError, ValueError):
    return os.path.expanduser(str(had)) == os.path.expanduser(wanted)

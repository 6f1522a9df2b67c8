"""Several seeds and betas of one experiment in one program, each as if it had run alone.

  python -m experiments.population spotting --seeds=0,1,2,3,4 --workdir=runs/spotting
  python -m experiments.population speech --seeds=0,1 --betas=0.1,0.2,0.4 --dataset=synthetic

All flags of the experiment apply, but --seeds stands in the place of --seed, and --betas in that of
--beta. Each member leaves the files of a run, in WORKDIR/SEED, or with --betas in
WORKDIR/beta-BETA/SEED; WORKDIR/population.md has one table of all, with mean and standard deviation
over the seeds. The same command goes on after a kill. What is compiled is compiled once; within an
update early exit takes one member after the other, the full scan (a GPU's default) all.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from experiments.harness import processes
from experiments.harness.flags import FLAGS, read_settings
from experiments.harness.report import MEASURES
from experiments.harness.run import run_together
from experiments.harness.settings import Settings
from experiments.harness.tables import format_mean, format_table
from experiments.harness.task import Task, share_stored_data
from experiments.harness.workdir import read_result, write_text
from experiments.registry import Binary, load_binary, run_command

flags.DEFINE_list("seeds", None, "Seeds of the members. Default: --seed.")
flags.DEFINE_list("betas", None, "Betas of the members, each with every seed. Default: --beta.")

# The columns of the table, and the unit of each; what is in % here is a share in result.json.
UNITS = {
  "rc_accuracy": " %",
  "mean_spike_step": "",
  "no_spike_fraction": " %",
  "eos_accuracy": " %",
}
CHOSEN = {
  "best": "at the checkpoint of the best validation accuracy at the first spike",
  "last": "at the end of the training",
}


def main(experiment: str) -> int:
  """Trains all members and reports each, then all in one table.

  Args:
    experiment: whose flags are parsed.

  Returns:
    Exit status: 0, or 130 if a signal ended the training; then there is no table.

  Raises:
    ValueError: --seed beside --seeds or --beta beside --betas; or as `make_members`, or as
      `run_together`.
  """
  binary = load_binary(experiment)
  for one, several in (("seed", "seeds"), ("beta", "betas")):
    if FLAGS[one].present and FLAGS[several].present:
      raise ValueError(f"--{one} and --{several} are both given; leave one of them out")
  settings = read_settings(binary.EXPERIMENT)
  root = pathlib.Path(os.path.expanduser(FLAGS.workdir or f"runs/{experiment}-population"))
  seeds = [str(settings.seed)] if FLAGS.seeds is None else FLAGS.seeds
  members = make_members(binary, settings, seeds, FLAGS.betas, root)
  status = run_together(members)
  if status == 0 and processes.is_writer():
    text = summarize([own for _, own in members])
    write_text(root / "population.md", text)
    if len(members) > 1:  # the tables of the members have one and the same head
      order = "; ".join(_name(own, FLAGS.betas) for _, own in members)
      print(f"The tables above are those of {order}, in this order.\n")
    print(text)
  return status


def make_members(
  binary: Binary,
  settings: Settings,
  seeds: Sequence[str],
  betas: Sequence[str] | None,
  root: pathlib.Path,
) -> list[tuple[Task, Settings]]:
  """Makes the task and the settings of each member.

  Args:
    binary: of the experiment.
    settings: what the members share.
    seeds: as typed.
    betas: as typed; None where all members have that of the settings.
    root: folder of the members' folders.

  Raises:
    ValueError: no seed, one that is not a number, or one given twice; or bad flags of a member.
  """
  for name, values in (("seeds", seeds), ("betas", betas)):
    if values is not None and len(set(map(_to_number, values))) < max(len(values), 1):
      raise ValueError(f"--{name} is {','.join(values)!r}; give one or more, each once")
  settings_of_members = []
  for beta in [None] if betas is None else betas:
    for seed in seeds:
      if not seed.isdigit():
        raise ValueError(f"--seeds has {seed!r}; give whole numbers, as 0,1,2")
      folder = root / seed if beta is None else root / f"beta-{beta}" / seed
      own = settings.replace(
        seed=int(seed),
        workdir=str(folder),
        beta=settings.flags["beta"] if beta is None else beta,
      )
      settings_of_members.append(own)
  tasks = share_stored_data(binary.setup(own) for own in settings_of_members)
  return list(zip(tasks, settings_of_members, strict=True))


def _to_number(text: str) -> float | str:
  """The number that a text is, since 0.2 and 0.20 are one; else the text, which others refuse."""
  try:
    return float(text)
  except ValueError:
    return text


def summarize(members: Sequence[Settings]) -> str:
  """Returns one table of the members that have a result, with mean ± standard deviation over seeds.

  Args:
    members: their settings; those of one beta stand together. One at least has a result.

  Raises:
    ValueError: a result.json is damaged.
  """
  done = [own for own in members if (pathlib.Path(own.workdir) / "result.json").exists()]
  results = [read_result(pathlib.Path(own.workdir)) for own in done]
  betas = list(dict.fromkeys(own.flags["beta"] for own in done))
  rows = []
  for beta in betas:
    of_beta = [(o.seed, r) for o, r in zip(done, results, strict=True) if o.flags["beta"] == beta]
    named = [(str(seed), [result]) for seed, result in of_beta]
    if len(of_beta) > 1:
      named.append(("mean ± sd", [result for _, result in of_beta]))
    rows += [(beta, name, *_format_results(several)) for name, several in named]
  columns = ["beta", "seed", *(MEASURES[name] for name in UNITS)]
  skipped = 0 if len(betas) > 1 else 1  # where all have one beta, it needs no column
  table = format_table(columns[skipped:], [row[skipped:] for row in rows], padded=2 - skipped)
  tests = " or ".join(dict.fromkeys(f"{result['num_test']:,}" for result in results))
  chosen = " or ".join(dict.fromkeys(CHOSEN[result["chosen"]] for result in results))
  text = f"Each member was read on {tests} test examples, {chosen}."
  if len(done) > len(betas):
    text += " sd is the sample standard deviation over seeds."
  number = f"{len(done)} member{'s' if len(done) > 1 else ''}"
  return f"# {results[0]['experiment']}: {number}\n\n{text}\n\n{table}\n"


def _format_results(results: Sequence[dict[str, Any]]) -> list[str]:
  """Returns the cells of one result, or of the mean and standard deviation of several."""
  cells = []
  for name, unit in UNITS.items():
    values = [(100 if unit else 1) * result[name] for result in results]
    cells.append(format_mean(values) + unit)
  return cells


def _name(member: Settings, betas: Sequence[str] | None) -> str:
  """Names a member by its seed, and by its beta where --betas is given."""
  seed = f"seed {member.seed}"
  return seed if betas is None else f"beta {member.flags['beta']}, {seed}"


if __name__ == "__main__":
  run_command(main)

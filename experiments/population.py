"""Several seeds and betas of one experiment in one program, each as if it had run alone.

  python -m experiments.population spotting --seeds=0,1,2,3,4 --workdir=runs/spotting
  python -m experiments.population speech --seeds=0,1 --betas=0.1,0.2,0.4 --dataset=synthetic

All flags of the experiment apply. Each member leaves the files of a run, in WORKDIR/SEED, or with
--betas in WORKDIR/beta-BETA/SEED. The same command goes on after a kill. What is compiled is
compiled once; within an update early exit takes one member after the other, the full scan (a GPU's
default) all.
"""

import os
import pathlib
from collections.abc import Sequence

from absl import flags

from experiments.harness.flags import FLAGS, read_settings
from experiments.harness.run import run_together
from experiments.harness.settings import Settings
from experiments.harness.task import Task, share_stored_data
from experiments.registry import Binary, load_binary, run_command

flags.DEFINE_list("seeds", None, "Seeds of the members. Default: --seed.")
flags.DEFINE_list("betas", None, "Betas of the members, each with every seed. Default: --beta.")


def main(experiment: str) -> int:
  """Trains all members and reports each.

  Args:
    experiment: whose flags are parsed.

  Returns:
    Exit status: 0, or 130 if a signal ended the training.

  Raises:
    ValueError: as `make_members`, or as `run_together`.
  """
  binary = load_binary(experiment)
  settings = read_settings(binary.EXPERIMENT)
  root = pathlib.Path(os.path.expanduser(FLAGS.workdir or f"runs/{experiment}-population"))
  seeds = [str(settings.seed)] if FLAGS.seeds is None else FLAGS.seeds
  return run_together(make_members(binary, settings, seeds, FLAGS.betas, root))


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
    if values is not None and len(set(values)) < max(len(values), 1):
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


if __name__ == "__main__":
  run_command(main)

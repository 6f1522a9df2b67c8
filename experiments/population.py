"""Several seeds and betas of one experiment in one program, each as if it had run alone.

  python -m experiments.population spotting --seeds=0,1,2,3,4 --workdir=runs/spotting
  python -m experiments.population speech --seeds=0,1 --betas=0.1,0.2,0.4 --dataset=synthetic

All flags of the experiment apply. Each member leaves the files of a run, in WORKDIR/SEED, or with
--betas in WORKDIR/beta-BETA/SEED. The same command goes on after a kill. What is compiled is
compiled once; within an update early exit takes one member after the other, the full scan (a GPU's
default) all.
"""

import pathlib

from absl import flags

from experiments.flags import FLAGS, Settings, experiment_module, run_experiment
from experiments.run import run_together
from experiments.task import Task

flags.DEFINE_list("seeds", ["0"], "Seeds of the members.")
flags.DEFINE_list("betas", None, "Betas of the members, each with every seed. Default: --beta.")


def members(experiment: str) -> list[tuple[Task, Settings]]:
  """The task and settings of each member, from the flags.

  Args:
    experiment: whose flags are parsed.

  Raises:
    ValueError: no seed, one that is not a number, or one given twice; or bad flags of a member.
  """
  setup = experiment_module(experiment).setup
  seeds, betas = FLAGS.seeds, FLAGS.betas or [None]
  root = pathlib.Path(FLAGS.workdir or f"runs/{experiment}-population")
  for name, values in (("seeds", seeds), ("betas", FLAGS.betas)):
    if values is not None and len(set(values)) < max(len(values), 1):
      raise ValueError(f"--{name} is {','.join(values)!r}; give one or more, each once")
  found: list[tuple[Task, Settings]] = []
  for beta in betas:
    for seed in seeds:
      if not seed.isdigit():
        raise ValueError(f"--seeds has {seed!r}; give whole numbers, as 0,1,2")
      FLAGS["seed"].value = int(seed)
      FLAGS["workdir"].value = str(root / seed if beta is None else root / f"beta-{beta}" / seed)
      if beta is not None:
        FLAGS["beta"].value = beta
      task, settings = setup()
      if found and task.updates_per_epoch is not None:
        task = task._replace(data=found[0][0].data)  # stored data is the same for every seed
      found.append((task, settings))
  return found


def main(experiment: str) -> int:
  """Trains all members and reports each; returns the exit status."""
  return run_together(members(experiment))


if __name__ == "__main__":
  run_experiment(main)

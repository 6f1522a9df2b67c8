"""Trains what is not trained yet: the trials of a search, then the seeds."""

import pathlib
from collections.abc import Sequence
from typing import Any

from experiments.harness.flags import FLAGS, read_defaults
from experiments.harness.run import run_together
from experiments.harness.settings import FREE_FLAGS, Settings, make_settings
from experiments.harness.task import Task, share_stored_data
from experiments.harness.workdir import LENGTHS, read_config, read_result, to_plain
from experiments.registry import load_binary
from experiments.rivals.curves import read_curves
from experiments.rivals.records import (
  COMMON,
  RATE_FACTOR,
  SEARCH_SEED,
  SMOKE,
  SMOKE_DATA,
  TRAININGS,
  Flags,
  experiment_of,
  list_candidates,
)
from rc_jax import Evaluation
from rc_jax.types import Params

# Flags that change no number of a run that has ended.
INDIFFERENT = set(FREE_FLAGS) - LENGTHS - {"num_test", "choose"}


def make_base(dataset: str, given: Sequence[str], *, smoke: bool) -> Settings:
  """Makes the settings that all objectives share on a data set.

  Args:
    dataset: one of DATASETS.
    given: flags of its binary, each `--name=value`.
    smoke: whether the runs are as short as can be.

  Raises:
    ValueError: a flag that the binary does not have, or a value that it does not take.
  """
  experiment = load_binary(experiment_of(dataset)).EXPERIMENT
  defaults = read_defaults(experiment)
  values = defaults | COMMON
  if smoke:
    other = {"epochs": "num_examples", "num_examples": "epochs"}[experiment.length]
    left_out = {other, "num_test"} if experiment.length == "epochs" else {other}
    for name, text in SMOKE.items():
      if name not in left_out:
        values[name] = FLAGS[name].parser.parse(text)
    if experiment.name == "series":
      values["epochs"] = 1.0  # of some dozen series, less is no update
    values["dataset"] = SMOKE_DATA.get(dataset)
  if experiment.name != dataset:
    values["dataset"] = dataset
  for text in given:
    name, equals, value = text.removeprefix("--").partition("=")
    if name not in defaults or not equals or not text.startswith("--"):
      raise ValueError(
        f"{text!r} in --flags is no flag of experiments.{experiment.name}; give --name=value"
      )
    values[name] = FLAGS[name].parser.parse(value)
  if experiment.name != dataset:
    _refuse_other_data(dataset, values)
  if values.get("validation_share") == 0:
    raise ValueError("--validation_share is 0, but validation is what is chosen on; give more")
  return make_settings(experiment, values, defaults)


def _refuse_other_data(dataset: str, values: dict[str, Any]) -> None:
  given = [name for name in ("data_dir", "train", "test") if values[name] is not None]
  given += ["dataset"] if values["dataset"] != dataset else []
  if given:
    raise ValueError(
      f"--flags has --{given[0]}, but {dataset} is data of its own; leave it out, or compare "
      "--dataset=series alone"
    )


def change(base: Settings, candidate: Flags, **more: Any) -> Settings:
  """Returns the settings of a candidate; its rate is a factor of the shared one.

  Args:
    base: what all objectives share.
    candidate: values of flags, or RATE_FACTOR.
    **more: values of other flags.
  """
  values: dict[str, Any] = {"beta": "0"} | dict(candidate)
  if factor := values.pop(RATE_FACTOR, None):
    values["learning_rate"] = base.learning_rate * float(factor)
  return base.replace(**values, **more)


def refuse_other_amounts(folder: pathlib.Path, base: Settings) -> None:
  """Raises ValueError where runs of a data set were trained for more or less than is asked.

  Alone, a run may go on for longer. In a comparison all have the same amount.

  Args:
    folder: of the data set, with a folder for each objective.
    base: settings that all objectives share.
  """
  for path in sorted(folder.glob("*/*/config.json")):
    flags = (read_config(path.parent) or {"flags": {}})["flags"]
    for name in LENGTHS:
      if name in flags and flags[name] != base.flags[name]:
        raise ValueError(
          f"{path.parent} was trained with --{name}={flags[name]}, and --flags asks for "
          f"{base.flags[name]}; a comparison has one length, so give that one or another --workdir"
        )


def train(
  dataset: str, training: str, base: Settings, folder: pathlib.Path, *, seeds: int, trials: int
) -> int:
  """Makes the runs of an objective that are missing.

  Args:
    dataset: one of DATASETS.
    training: one of TRAININGS.
    base: settings that all objectives share.
    folder: of the objective; trials lie in `trial-K`, seeds in `SEED`.
    seeds: how many, from 0 on.
    trials: candidates to choose from on validation; 1 takes the first.

  Returns:
    Exit status: 0, or 130 if a signal ended a run.
  """
  candidates = list_candidates(training, dataset)[:trials]
  if trials > 1:
    for k, candidate in enumerate(candidates):
      more = {"seed": SEARCH_SEED, "workdir": str(folder / f"trial-{k}")}
      if status := _run(dataset, training, [change(base, candidate, **more)]):
        return status
  chosen = candidates[choose(folder, training, trials)]
  members = [
    change(base, chosen, seed=seed, workdir=str(folder / str(seed))) for seed in range(seeds)
  ]
  return _run(dataset, training, members)


def choose(folder: pathlib.Path, training: str, trials: int) -> int:
  """Returns the number of the candidate with the largest area on validation, at one threshold.

  Args:
    folder: of the objective, with all trials done.
    training: one of TRAININGS.
    trials: how many there are; 1 is no search.
  """
  if trials == 1:
    return 0
  results = [read_result(folder / f"trial-{k}") for k in range(trials)]
  areas = [result["curves"]["theta"]["validation_area"] for result in results]
  return areas.index(max(areas))


def _run(dataset: str, training: str, members: list[Settings]) -> int:
  """Runs in one program what is not done of these settings, which differ by the seed."""
  missing = [own for own in members if not _is_done(own)]
  if not missing:
    return 0
  print(f"{dataset}, {training}: {', '.join(own.workdir for own in missing)}", flush=True)
  binary = load_binary(experiment_of(dataset))
  readings = TRAININGS[training].readings
  tasks = share_stored_data(binary.setup(own) for own in missing)
  return run_together(
    [(_add_curves(task, own, readings), own) for task, own in zip(tasks, missing, strict=True)]
  )


def _is_done(own: Settings) -> bool:
  """Whether a run has ended that had these flags; of another, `run_together` says what differs.

  Whether its files of data have changed since is not looked at.
  """
  folder = pathlib.Path(own.workdir)
  config = read_config(folder)
  if config is None or not (folder / "result.json").exists():
    return False
  had, wanted = to_plain(own.flag_defaults) | config["flags"], to_plain(own.flags)
  return all(had.get(name) == value for name, value in wanted.items() if name not in INDIFFERENT)


def _add_curves(task: Task, settings: Settings, readings: Sequence[str]) -> Task:
  """Returns the task with its curves among the measures of the test split."""

  def measure(running: Task, split: str, evaluation: Evaluation, params: Params) -> dict[str, Any]:
    own = task.measure(running, split, evaluation, params)
    if split != "test":
      return own
    return own | {"curves": read_curves(running, settings, params, readings)}

  return task._replace(measure=measure)

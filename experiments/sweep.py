"""A random search of beta, chosen on validation data (A.3: beta in [0.15, 2]), on Optuna.

  python -m experiments.sweep speech --trials=20 --epochs=40 --workdir=runs/sweep
  python -m experiments.sweep speech --trials=20 --storage=postgresql://HOST/STUDIES

All flags of the experiment apply but --beta. A trial is a run, in WORKDIR/trial-NNN; sweep.md and
sweep.png are made anew after each. The same command goes on: trials that are done count, those that
diverged too; one that was stopped is taken up. Several machines share the trials through --storage,
any URL that Optuna takes, or through a WORKDIR on a disk that they share.

Most of the paper's range lies above the limit 1 / (theta (log(theta / (1 - theta)) + log(C - 1))),
0.205 for ten classes and theta .95. Above it networks learn not to reach theta and wait for the end
(docs/idea.md): for early answers give a range below it, as --beta_range=0,0.2. sweep.md says so
where the best beta lies above it.
"""

import math
import os
import pathlib
import socket
import sys
from typing import Any

import matplotlib.pyplot as plt
from absl import flags

from data_pipelines.processes import is_alive
from experiments.harness.figures import BLUE, COLUMN, RED, STYLE
from experiments.harness.flags import FLAGS, read_settings
from experiments.harness.objectives import is_rival
from experiments.harness.run import check_fit, run
from experiments.harness.run_state import DivergedError
from experiments.harness.settings import FREE_FLAGS, LOCAL_FLAGS, Settings
from experiments.harness.tables import format_table
from experiments.harness.task import Task
from experiments.harness.workdir import LENGTHS, find_validation, read_result, to_plain, write_text
from experiments.registry import load_binary, run_command
from rc_jax import beta_limit

try:
  import optuna
  from optuna.storages.journal import JournalFileBackend
except ImportError as error:
  raise SystemExit("error: the sweep needs Optuna; pip install 'rc-jax[sweep]'") from error

flags.DEFINE_integer(
  "trials", 20, "Trials in all, those of earlier calls and machines included.", 1
)
flags.DEFINE_list("beta_range", ["0.15", "2"], "Lowest and highest beta.")
flags.DEFINE_string("storage", None, "URL of Optuna's database. Default: WORKDIR/study.log.")

State = optuna.trial.TrialState
MOST_DIVERGED = 3  # one after another at the beginning, before the sweep is given up
ENDED = (State.COMPLETE, State.PRUNED)  # with a result; diverged


def main(experiment: str) -> int:
  """Makes the trials that are missing, and writes sweep.md and sweep.png.

  Args:
    experiment: whose flags are parsed.

  Returns:
    Exit status: 0, or 130 if a signal ended a trial.

  Raises:
    ValueError: --beta is given, a range that is none, a storage that cannot be opened, settings
      other than those of the trials that are there, or bad flags or data of a run.
  """
  if FLAGS["beta"].present:
    raise ValueError("--beta is what the sweep draws; leave it out, or give --beta_range=LOW,HIGH")
  root = pathlib.Path(os.path.expanduser(FLAGS.workdir or f"runs/{experiment}-sweep"))
  low, high = _parse_range(FLAGS.beta_range)
  binary = load_binary(experiment)
  settings = read_settings(binary.EXPERIMENT)
  _check_searchable(settings)
  # No task depends on beta, so that all trials share this one. It comes before the study, so that a
  # missing data set leaves no folder and no trial behind.
  task = binary.setup(settings)
  check_fit(task, settings)
  limit = math.inf  # of training at the end there is none
  if settings.objective == "rc":
    limit = beta_limit(settings.theta, len(task.class_names))
  study = _open(experiment, root, FLAGS.storage)
  _refuse_other(study, settings, (low, high))
  _take_up(study)
  while len(study.get_trials(states=(*ENDED, State.RUNNING))) < FLAGS.trials:
    # A trial that was stopped does not count, so that those after it draw what they would have.
    number = sum(trial.state != State.FAIL for trial in study.trials)
    study.sampler = optuna.samplers.RandomSampler(settings.seed * 10_000 + number)
    if status := _make_trial(study, task, settings, root, (low, high)):
      return status
    _refuse_divergence(study, MOST_DIVERGED)
    _report(study, root, limit)
  if not study.get_trials(states=(State.RUNNING,)):
    _refuse_divergence(study, 1)
  _report(study, root, limit)
  if (root / "sweep.md").exists():
    print((root / "sweep.md").read_text(encoding="utf-8"))
  else:
    print("all trials run in other processes, and none is done yet; the same command reports them")
  return 0


def _make_trial(
  study: optuna.Study,
  task: Task,
  settings: Settings,
  root: pathlib.Path,
  beta_range: tuple[float, float],
) -> int:
  """Draws a beta, or takes up that of a stopped trial, and runs it; returns the exit status."""
  trial = study.ask()
  trial.set_user_attr("process", _name_process(os.getpid()))
  folder = trial.user_attrs.get("folder", f"trial-{trial.number:03}")
  trial.set_user_attr("folder", folder)
  beta = f"{trial.suggest_float('beta', *beta_range):.4f}"
  print(f"{folder}: beta {beta}", flush=True)
  try:
    status = run(task, settings.replace(beta=beta, workdir=str(root / folder)))
  except DivergedError as error:
    study.tell(trial, state=State.PRUNED)  # it is done, without a value
    print(f"{folder}: {error}", file=sys.stderr)
    return 0
  except BaseException as error:
    if isinstance(error, KeyboardInterrupt | OSError) or isinstance(error.__cause__, OSError):
      _give_up(study, trial.number)  # the same command goes on with this trial
    else:
      study.tell(trial, state=State.FAIL)
    raise
  if status:
    _give_up(study, trial.number)
  else:
    study.tell(trial, _read_validation(trial, root / folder))
  return status


def _refuse_divergence(study: optuna.Study, most: int) -> None:
  """Raises ValueError if so many trials have diverged, and none has come to its end."""
  diverged = len(study.get_trials(states=(State.PRUNED,)))
  if diverged >= most and not study.get_trials(states=(State.COMPLETE,)):
    raise ValueError(
      f"all {diverged} trials that have ended have diverged; look for NaN in the data, or take a "
      "lower --learning_rate or a --clip, and search in another --workdir"
    )


def _check_searchable(settings: Settings) -> None:
  """Raises ValueError where there is no beta, or what chooses it would be a part of what trains."""
  if is_rival(settings.objective):
    raise ValueError(
      f"--objective={settings.objective} has no beta that could be searched; give rc or eos"
    )
  for name in ("holdout", "validation_share"):
    if settings.flags.get(name) == 0:
      raise ValueError(
        f"--{name} is 0, and the sweep chooses beta on what is held out; leave it out"
      )


def _refuse_other(study: optuna.Study, settings: Settings, beta_range: tuple[float, float]) -> None:
  """Keeps what all trials share, and raises ValueError if the study was begun with something else.

  Raises:
    ValueError: other settings, or another range of beta.
  """
  free = {*FREE_FLAGS, *LOCAL_FLAGS, "beta"} - LENGTHS
  shared = to_plain({k: v for k, v in settings.flags.items() if k not in free})
  shared["beta_range"] = list(beta_range)
  before = study.user_attrs.get("settings")
  if before is None:
    study.set_user_attr("settings", shared)
    return
  names = sorted(k for k in {**before, **shared} if before.get(k) != shared.get(k))
  if names:
    difference = ", ".join(f"{k} was {before.get(k)!r}, is {shared.get(k)!r}" for k in names)
    raise ValueError(
      f"the study has trials with other settings ({difference}); choose another --workdir"
    )


def _parse_range(given: list[str]) -> tuple[float, float]:
  """Parses --beta_range.

  Raises:
    ValueError: not two numbers, or the first is negative or not below the second.
  """
  try:
    low, high = (float(text) for text in given)
  except ValueError:
    low, high = 1.0, 0.0
  if not 0 <= low < high:
    raise ValueError(
      f"--beta_range is {','.join(given)!r}; give the lowest and the highest, as 0.15,2"
    )
  return low, high


def _open(experiment: str, root: pathlib.Path, url: str | None) -> optuna.Study:
  """Opens the study, or makes it; `url` None keeps it in a file of the workdir.

  Raises:
    ValueError: the storage cannot be opened.
  """
  optuna.logging.set_verbosity(optuna.logging.WARNING)
  root.mkdir(parents=True, exist_ok=True)
  storage: Any = url
  try:
    if storage is None:
      file = JournalFileBackend(str(root / "study.log"))
      storage = optuna.storages.JournalStorage(file)
    return optuna.create_study(
      storage=storage, study_name=experiment, direction="maximize", load_if_exists=True
    )
  except Exception as error:  # each database has errors of its own
    reason = str(error).splitlines()[0]
    raise ValueError(f"--storage={url} cannot be opened: {reason}") from error


def _name_process(number: int) -> str:
  """Names a process of this machine so that others can tell it from their own."""
  return f"{socket.gethostname()}:{number}"


def _take_up(study: optuna.Study) -> None:
  """Puts trials that a killed process of this machine left behind back into the queue."""
  for trial in study.get_trials(states=(State.RUNNING,)):
    host, _, number = trial.user_attrs.get("process", ":0").rpartition(":")
    if host == socket.gethostname() and not is_alive(int(number)):
      _give_up(study, trial.number)


def _give_up(study: optuna.Study, number: int) -> None:
  """Ends a trial without a value and queues its beta and folder, for the next call to go on."""
  trial = study.trials[number]
  study.tell(number, state=State.FAIL)
  if "beta" in trial.params:
    study.enqueue_trial(trial.params, user_attrs={"folder": trial.user_attrs["folder"]})


def _read_validation(trial: optuna.Trial, workdir: pathlib.Path) -> float:
  """Returns what a trial is judged by: validation accuracy at the checkpoint that is reported.

  Raises:
    ValueError: the trial's metrics are damaged.
  """
  result = read_result(workdir)
  step = result["chosen_at"]["step"]
  line = find_validation(workdir, step)
  if line is None:
    raise ValueError(
      f"{workdir / 'metrics.jsonl'} has no line of update {step}; delete that folder and run the "
      "same command again"
    )
  trial.set_user_attr("mean_spike_step", line["mean_spike_step"])
  trial.set_user_attr("test_accuracy", result["rc_accuracy"])
  trial.set_user_attr("test_mean_spike_step", result["mean_spike_step"])
  trial.set_user_attr("test_no_spike_fraction", result["no_spike_fraction"])
  return line["rc_accuracy"]


def _report(study: optuna.Study, root: pathlib.Path, limit: float) -> None:
  """Writes sweep.md and sweep.png from the trials that are done.

  Args:
    study: of the trials.
    root: folder of the two files.
    limit: `rc_jax.beta_limit` of all trials, or infinity.
  """
  done = sorted(study.get_trials(states=(State.COMPLETE,)), key=lambda trial: trial.params["beta"])
  if not done:
    return  # all trials run elsewhere
  best = study.best_trial
  columns = (
    *("beta", "validation accuracy", "mean step", "test accuracy", "mean step"),
    *("test without a spike", "folder"),
  )
  text = [
    f"# {study.study_name}: {len(done)} values of beta",
    f"Best on validation: beta {best.params['beta']:.4f}, {best.user_attrs['folder']}: "
    f"{best.value:.2%}. The test columns chose nothing.",
    format_table(columns, [_format_trial(trial) for trial in done]),
    "![sweep](sweep.png)",
  ]
  if diverged := study.get_trials(states=(State.PRUNED,)):
    named = (f"beta {t.params['beta']:.4f} ({t.user_attrs['folder']})" for t in diverged)
    text[1] += f" Diverged: {', '.join(named)}."
  if best.params["beta"] > limit:
    text[1] += (
      f" The best beta lies above {limit:.3f}, the limit for this theta and number of classes, so "
      "the network learns not to reach theta and waits for the end (see docs/idea.md)."
    )
  _draw(done, best, root / "sweep.png")
  write_text(root / "sweep.md", "\n\n".join(text) + "\n")


def _format_trial(trial: Any) -> tuple[str, ...]:
  """Returns the cells of a trial's row."""
  of = trial.user_attrs
  silent = of.get("test_no_spike_fraction")  # trials from before this column do not have it
  return (
    f"{trial.params['beta']:.4f}",
    f"{trial.value:.2%}",
    f"{of['mean_spike_step']:.2f}",
    f"{of['test_accuracy']:.2%}",
    f"{of['test_mean_spike_step']:.2f}",
    "" if silent is None else f"{silent:.2%}",
    of["folder"],
  )


def _draw(done: list[Any], best: Any, path: pathlib.Path) -> None:
  """Draws validation accuracy and mean spike step over beta."""
  with plt.rc_context(STYLE):
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(COLUMN, 3.2))
    betas = [trial.params["beta"] for trial in done]
    steps = [trial.user_attrs["mean_spike_step"] for trial in done]
    top.plot(betas, [100 * trial.value for trial in done], "o", color=BLUE, markersize=3)
    bottom.plot(betas, steps, "o", color=BLUE, markersize=3)
    of_best = {"color": RED, "markersize": 5, "markerfacecolor": "none"}
    top.plot(best.params["beta"], 100 * best.value, "o", **of_best)
    bottom.plot(best.params["beta"], best.user_attrs["mean_spike_step"], "o", **of_best)
    top.set_ylabel("validation accuracy, %")
    bottom.set_ylabel("mean spike step")
    bottom.set_ylim(bottom=0)
    bottom.set_xlabel("beta (red: the best on validation)")
    figure.align_ylabels()
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
  run_command(main)

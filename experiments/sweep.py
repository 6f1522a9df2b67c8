"""A random search of beta, chosen on validation data (section 3.4: beta in [0.15, 2]), on Optuna.

  python -m experiments.sweep speech --trials=20 --epochs=40 --workdir=runs/sweep
  python -m experiments.sweep speech --trials=20 --storage=postgresql://HOST/STUDIES

All flags of the experiment apply but --beta. A trial is a run, in WORKDIR/trial-NNN; sweep.md and
sweep.png are made anew after each. The same command goes on: trials that are done count, one that
was stopped is taken up. Several machines share the trials through --storage, any URL that Optuna
takes, or through a WORKDIR on a disk that they share.
"""

import json
import os
import pathlib
import socket
from typing import Any

import matplotlib.pyplot as plt
from absl import flags

from experiments.figures import BLUE, COLUMN, RED, STYLE
from experiments.flags import FLAGS, experiment_module, run_experiment
from experiments.run import run
from experiments.workdir import read_metrics, write_text

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


def main(experiment: str) -> int:
  """Makes the trials that are missing; returns the exit status.

  Args:
    experiment: whose flags are parsed.

  Raises:
    ValueError: a range that is none, a storage that cannot be opened, or bad flags of a run.
  """
  root = pathlib.Path(FLAGS.workdir or f"runs/{experiment}-sweep")
  low, high = _beta_range()
  study = _open(experiment, root)
  _take_up(study)
  while len(study.get_trials(states=(State.COMPLETE, State.RUNNING))) < FLAGS.trials:
    study.sampler = optuna.samplers.RandomSampler(FLAGS.seed * 10_000 + len(study.trials))
    trial = study.ask()
    trial.set_user_attr("process", _process(os.getpid()))
    folder = trial.user_attrs.get("folder", f"trial-{trial.number:03}")
    trial.set_user_attr("folder", folder)
    FLAGS["beta"].value = f"{trial.suggest_float('beta', low, high):.4f}"
    FLAGS["workdir"].value = str(root / folder)
    print(f"{folder}: beta {FLAGS.beta}", flush=True)
    try:
      status = run(*experiment_module(experiment).setup())
    except BaseException:
      study.tell(trial, state=State.FAIL)
      raise
    if status:
      _give_up(study, trial.number)
      return status
    study.tell(trial, _validation(trial, root / folder))
    _report(study, root)
  _report(study, root)
  print((root / "sweep.md").read_text())
  return 0


def _beta_range() -> tuple[float, float]:
  try:
    low, high = (float(text) for text in FLAGS.beta_range)
  except ValueError:
    low, high = 1.0, 0.0
  if not 0 <= low < high:
    given = ",".join(FLAGS.beta_range)
    raise ValueError(f"--beta_range is {given!r}; give the lowest and the highest, as 0.15,2")
  return low, high


def _open(experiment: str, root: pathlib.Path) -> optuna.Study:
  optuna.logging.set_verbosity(optuna.logging.WARNING)
  root.mkdir(parents=True, exist_ok=True)
  storage: Any = FLAGS.storage
  try:
    if storage is None:
      file = JournalFileBackend(str(root / "study.log"))
      storage = optuna.storages.JournalStorage(file)
    return optuna.create_study(
      storage=storage, study_name=experiment, direction="maximize", load_if_exists=True
    )
  except Exception as error:  # each database has errors of its own
    reason = str(error).splitlines()[0]
    raise ValueError(f"--storage={FLAGS.storage} cannot be opened: {reason}") from error


def _process(number: int) -> str:
  return f"{socket.gethostname()}:{number}"


def _take_up(study: optuna.Study) -> None:
  """Trials that a killed process of this machine left behind wait to be gone on with."""
  for trial in study.get_trials(states=(State.RUNNING,)):
    host, _, number = trial.user_attrs.get("process", ":0").rpartition(":")
    if host == socket.gethostname() and not pathlib.Path(f"/proc/{number}").exists():
      _give_up(study, trial.number)


def _give_up(study: optuna.Study, number: int) -> None:
  trial = study.trials[number]
  study.tell(number, state=State.FAIL)
  if "beta" in trial.params:
    study.enqueue_trial(trial.params, user_attrs={"folder": trial.user_attrs["folder"]})


def _validation(trial: optuna.Trial, workdir: pathlib.Path) -> float:
  """The accuracy that a trial is judged by: on validation, at the checkpoint that is reported."""
  result = json.loads((workdir / "result.json").read_text())
  (line,) = [m for m in read_metrics(workdir) if m["step"] == result["chosen_at"]["step"]]
  trial.set_user_attr("mean_spike_step", line["mean_spike_step"])
  trial.set_user_attr("test_accuracy", result["rc_accuracy"])
  trial.set_user_attr("test_mean_spike_step", result["mean_spike_step"])
  return line["rc_accuracy"]


def _report(study: optuna.Study, root: pathlib.Path) -> None:
  done = sorted(study.get_trials(states=(State.COMPLETE,)), key=lambda trial: trial.params["beta"])
  best = study.best_trial
  lines = [
    f"# {study.study_name}: {len(done)} values of beta",
    "",
    f"Best on validation: beta {best.params['beta']:.4f}, {best.user_attrs['folder']}: "
    f"{best.value:.2%}. The test columns chose nothing.",
    "",
    "| beta | validation accuracy | mean step | test accuracy | mean step | folder |",
    "| --- | --- | --- | --- | --- | --- |",
  ]
  for trial in done:
    of = trial.user_attrs
    lines.append(
      f"| {trial.params['beta']:.4f} | {trial.value:.2%} | {of['mean_spike_step']:.2f} | "
      f"{of['test_accuracy']:.2%} | {of['test_mean_spike_step']:.2f} | {of['folder']} |"
    )
  _draw(done, best, root / "sweep.png")
  write_text(root / "sweep.md", "\n".join([*lines, "", "![sweep](sweep.png)", ""]))


def _draw(done: list[Any], best: Any, path: pathlib.Path) -> None:
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
  run_experiment(main)

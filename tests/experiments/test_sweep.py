"""The search of beta: chosen on validation, gone on with after a stop, shared by its storage."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import optuna
import pytest
from absl.testing import flagsaver

from experiments import sweep, temporal_mnist
from experiments.harness import run_state, workdir

pytestmark = pytest.mark.usefixtures("no_pictures", "shared_programs")
GIVEN = {
  "dataset": "digits", "epochs": "1", "units": "4", "batch_size": "512", "engine": "full",
  "progress": "false",
}  # fmt: skip


def search(folder, **given):
  assert temporal_mnist  # its flags are defined
  with flagsaver.as_parsed(workdir=str(folder), **(GIVEN | given)):
    return sweep.main("temporal_mnist")


def test_stopped_and_taken_up(tmp_path, monkeypatch, capsys):
  """SIGINT in the second trial: the same command ends that one, with its beta, and no more."""
  append = workdir.Workdir.append_metrics

  def append_and_kill(self, line):
    append(self, line)
    if self.path.name == "trial-001":
      os.kill(os.getpid(), signal.SIGINT)

  with monkeypatch.context() as patch:  # with an epoch left, so that the run is not at its end
    patch.setattr(workdir.Workdir, "append_metrics", append_and_kill)
    assert search(tmp_path, trials="2", epochs="2") == 130
  stopped = json.loads((tmp_path / "trial-001" / "config.json").read_text())["flags"]["beta"]
  assert search(tmp_path, trials="2", epochs="2") == 0
  report = (tmp_path / "sweep.md").read_text()
  rows = re.findall(r"^\| ([\d.]+) \| ([\d.]+)% \|.* (trial-\d+) \|$", report, re.M)
  assert {row[2] for row in rows} == {"trial-000", "trial-001"}
  assert {row[2]: float(row[0]) for row in rows}["trial-001"] == float(stopped)
  best = max(rows, key=lambda row: float(row[1]))
  assert f"Best on validation: beta {best[0]}, {best[2]}" in report
  assert ("lies above 0.205, the limit" in report) == (float(best[0]) > 0.205)
  silent = json.loads((tmp_path / best[2] / "result.json").read_text())["no_spike_fraction"]
  assert f"| {silent:.2%} | {best[2]} |" in report
  assert (tmp_path / "sweep.png").stat().st_size > 5_000
  capsys.readouterr()
  assert search(tmp_path, trials="2", epochs="2") == 0  # no more to do
  assert "trial-002" not in capsys.readouterr().out
  with pytest.raises(ValueError, match=r"other settings \(units was 4, is 5\); choose another"):
    search(tmp_path, trials="2", epochs="2", units="5")
  drawn = {row[2]: float(row[0]) for row in rows}
  for number, name in enumerate(("trial-000", "trial-001")):  # as if nobody had stopped it
    sampler = optuna.samplers.RandomSampler(number)
    beta = optuna.create_study(sampler=sampler).ask().suggest_float("beta", 0.15, 2)
    assert drawn[name] == pytest.approx(beta, abs=1e-4)


def test_a_trial_that_diverges_is_done_and_named(tmp_path, monkeypatch, capsys):
  validate = run_state.RunState.validate

  def diverge(self, tell):
    if pathlib.Path(self.settings.workdir).name == "trial-000":
      raise run_state.DivergedError(self, "validation split: a row is not finite")
    validate(self, tell)

  monkeypatch.setattr(run_state.RunState, "validate", diverge)
  assert search(tmp_path, trials="2") == 0
  report = (tmp_path / "sweep.md").read_text()
  assert re.search(r"Diverged: beta [\d.]+ \(trial-000\)\.", report) and "| trial-001 |" in report
  assert "trial-000: the training in" in capsys.readouterr().err
  with pytest.raises(ValueError, match="all 1 trials that have ended have diverged; look for NaN"):
    search(tmp_path / "other", trials="1")


def test_trials_of_a_process_that_is_gone_are_taken_up(tmp_path):
  storage = f"sqlite:///{tmp_path}/study.db"
  study = optuna.create_study(storage=storage, study_name="temporal_mnist", direction="maximize")
  trial = study.ask()
  trial.suggest_float("beta", 0.15, 2)
  trial.set_user_attr("folder", "trial-000")
  trial.set_user_attr("process", sweep._name_process(2**22 + 1))  # no process has so high a number
  assert search(tmp_path, trials="1", storage=storage) == 0
  beta = json.loads((tmp_path / "trial-000" / "config.json").read_text())["flags"]["beta"]
  assert float(beta) == pytest.approx(trial.params["beta"], abs=1e-4)


@pytest.mark.parametrize(
  "given, message",
  [
    ({"beta_range": "2,0.15"}, "--beta_range is '2,0.15'; give the lowest and the highest"),
    ({"beta_range": "high"}, "--beta_range is 'high'; give"),
    ({"holdout": "0"}, "--holdout is 0, and the sweep chooses beta on what is held out"),
    ({"beta": "0.3"}, "--beta is what the sweep draws; leave it out, or give --beta_range"),
    ({"objective": "sprt"}, "--objective=sprt has no beta that could be searched; give rc or eos"),
    ({"dataset": "mnist", "data_dir": "/nowhere"}, "/nowhere"),
    ({"theta": "0.05"}, "theta is 0.05, which the most probable of 10 classes always reaches"),
    ({"epochs": "0.1"}, "0.1 is too little for one update of 512"),
    ({"init_from": "/nowhere"}, "/nowhere"),
  ],
)
def test_bad_input_is_told_before_anything_is_written(given, message, tmp_path):
  with pytest.raises((ValueError, OSError), match=message):
    search(tmp_path / "sweep", **given)
  assert not (tmp_path / "sweep").exists()


def test_a_storage_that_cannot_be_opened(tmp_path):
  with pytest.raises(ValueError, match="--storage=nothing cannot be opened"):
    search(tmp_path, storage="nothing")


def make_study(*trials):
  """A study with trials that are done: `(beta, validation accuracy, share without a spike)`."""
  study = optuna.create_study(direction="maximize")
  for number, (beta, accuracy, silent) in enumerate(trials):
    user = {"mean_spike_step": 3.0, "test_accuracy": accuracy, "test_mean_spike_step": 4.0}
    user |= {"folder": f"trial-{number:03}"}
    user |= {} if silent is None else {"test_no_spike_fraction": silent}
    distributions = {"beta": optuna.distributions.FloatDistribution(0.15, 2)}
    trial = optuna.trial.create_trial(
      params={"beta": beta}, distributions=distributions, value=accuracy, user_attrs=user
    )
    study.add_trial(trial)
  return study


@pytest.mark.parametrize("best, warned", [(0.204, False), (0.206, True)])
def test_the_table_says_where_the_best_beta_lies_above_the_limit(best, warned, tmp_path):
  """The limit is that of ten classes and theta .95; a worse beta does not count."""
  study = make_study((best, 0.9, 0.125), (1.5, 0.8, None))  # a trial from before the column
  sweep._report(study, tmp_path, 0.2047)
  report = (tmp_path / "sweep.md").read_text()
  assert ("lies above 0.205, the limit" in report) == warned
  assert f"| {best:.4f} | 90.00% | 3.00 | 90.00% | 4.00 | 12.50% | trial-000 |" in report
  assert "| 1.5000 | 80.00% | 3.00 | 80.00% | 4.00 |  | trial-001 |" in report


@pytest.mark.slow  # it imports everything anew
def test_help_is_quiet_where_nobody_reads_it_to_the_end():
  """As before `| head`."""
  reader, writer = os.pipe()
  os.close(reader)
  command = [sys.executable, "-m", "experiments.sweep", "--help"]
  done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
  os.close(writer)
  assert done.stderr == ""

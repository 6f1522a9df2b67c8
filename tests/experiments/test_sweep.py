"""The search of beta: chosen on validation, gone on with after a stop, shared by its storage."""

import json
import os
import re
import signal

import optuna
import pytest
from absl.testing import flagsaver

from experiments import sweep, temporal_mnist
from experiments.harness import workdir

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
    ({"storage": "nothing"}, "--storage=nothing cannot be opened"),
  ],
)
def test_bad_input(given, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    search(tmp_path, **given)

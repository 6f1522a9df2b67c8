"""The table of the paper's numbers: from real runs, and its arithmetic from made results."""

import json
import re

import pytest

from experiments import reproduce


def made(folder, run, seed, **result):
  path = folder / run / str(seed)
  path.mkdir(parents=True)
  (path / "result.json").write_text(json.dumps({"trained": {"examples": 128}} | result))


def cells(report, start):
  (line,) = [line for line in report.splitlines() if line.startswith(f"| {start}")]
  return [cell.strip() for cell in line.split("|")[1:-1]]


def test_mean_deviation_and_best(tmp_path):
  shared = {"mean_spike_step": 14.0, "ideal_accuracy": 0.95}
  made(tmp_path, "two_sequence", 0, rc_accuracy=0.94, regret=0.01, **shared)
  made(tmp_path, "two_sequence", 1, rc_accuracy=0.96, regret=-0.01, **shared)
  report = reproduce.report(tmp_path)
  assert cells(report, "2-sequence: accuracy")[1:] == [
    "95.45 %",
    "95.00 % ± 1.41 %",
    "96.00 %",
    "95.00 %",
    "2",
    "128 examples",
  ]
  assert cells(report, "2-sequence: regret")[2:4] == ["0.00 % ± 1.41 %", "-1.00 %"]
  assert cells(report, "2-sequence: mean step")[2:4] == ["14.00 ± 0.00", "14.00"]
  assert "spotting" not in report


@pytest.mark.slow
def test_a_part_runs_once(tmp_path, capfd):
  given = [f"--workdir={tmp_path}", "--budget=smoke", "--only=spotting"]
  assert reproduce.main(given) == 0
  first = capfd.readouterr().out
  assert "spotting, seed 0" in first and "spotting-eos, seed 0" in first
  assert cells(first, "spotting: mean step, negatives")[4] == "22.61"
  assert cells(first, "spotting, eos: accuracy at the end")[-1] == "6,400 examples"
  assert reproduce.main(given) == 0
  assert "seed 0" not in capfd.readouterr().out
  assert "spotting: accuracy" in (tmp_path / "smoke" / "report.md").read_text()


def test_a_run_that_fails_ends_it(tmp_path, capfd):
  given = ["--budget=smoke", "--only=mnist", "--mnist_flags=--data_dir=nowhere"]
  assert reproduce.main([f"--workdir={tmp_path}", *given]) == 2
  assert "mnist-lstm ended with status 2" in capfd.readouterr().err


@pytest.mark.parametrize(
  "given, message",
  [
    (["--only=spoting"], "unknown part .*spoting.*; choose of spotting, two_sequence"),
    (["--seeds=0"], "--seeds is 0; it must be 1 or more"),
  ],
)
def test_bad_flags(given, message, capsys):
  with pytest.raises(SystemExit):
    reproduce.main(given)
  assert re.search(message, capsys.readouterr().err)

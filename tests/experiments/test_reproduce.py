"""The reproduction: its arithmetic on made results, and the whole pipeline on real runs."""

import re

import pytest

from experiments import reproduce
from experiments.reproduce import rows
from experiments.reproduce.__main__ import main
from experiments.reproduce.runs import PARTS, RUNS, Done

CURVE = {"mean_spike_step": [1.2, 1.4, 9.0], "accuracy": [0.90, 0.96, 0.98]}


def done(seed=0, **result):
  return Done(seed, {}, {"trained": {"examples": 128}, "num_test": 1000, **result}, [], {})


def cells(table, start):
  (line,) = [line for line in table if line[0].startswith(start)]
  return list(line[1:])


def test_mean_deviation_and_best():
  shared = {"mean_spike_step": 14.0, "ideal_accuracy": 0.95}
  table = rows.table(
    {
      "two_sequence": [
        done(0, rc_accuracy=0.94, regret=0.01, **shared),
        done(1, rc_accuracy=0.96, regret=-0.01, **shared),
      ]
    }
  )
  assert cells(table, "2-sequence: at the first spike") == [
    *("95.45 %", "95.00 % ± 1.41 %", "96.00 %", "95.00 %", "2", "128 examples", "1,000")
  ]
  assert cells(table, "2-sequence: regret")[1:3] == ["0.00 points ± 1.41 points", "-1.00 points"]
  assert cells(table, "2-sequence: mean step")[1:3] == ["14.00 ± 0.00", "14.00"]
  assert not any(line[0].startswith("spotting") for line in table)


def test_the_ceiling_is_read_at_the_same_mean_step():
  ours = done(rc_accuracy=0.92, mean_spike_step=1.3)
  runs = {"mnist-lstm": [ours], "mnist-cnn": [done(frontier=CURVE, eos_accuracy=0.99)]}
  table = rows.table(runs)
  assert cells(table, "temporal MNIST, LSTM-340: at the first")[3] == "93.00 %"
  assert cells(table, "temporal MNIST, a CNN: all ten steps")[1] == "99.00 %"
  beyond = done(rc_accuracy=0.92, mean_spike_step=1.1)
  assert cells(rows.table(runs | {"mnist-lstm": [beyond]}), "temporal MNIST, LSTM-340: at")[3] == ""


def test_a_curve_is_not_read_beyond_its_ends():
  assert rows.at_mean_step(1.3)(done(frontier=CURVE).result) == pytest.approx(0.93)
  assert rows.at_mean_step(1.1)(done(frontier=CURVE).result) is None
  assert rows.at_mean_step(9.5)(done(frontier=CURVE).result) is None


def test_every_row_names_a_run_and_every_run_a_part():
  assert {row.run for row in rows.ROWS} <= set(RUNS)
  assert {run.part for run in RUNS.values()} == set(PARTS)


def test_the_whole_pipeline(tmp_path, capfd):
  given = [f"--workdir={tmp_path}", "--budget=smoke"]
  assert main(given) == 0
  folder = tmp_path / "smoke"
  assert {path.parent.parent.name for path in folder.glob("*/0/result.json")} == set(RUNS)
  report, page = (folder / "report.md").read_text(), (folder / "report.html").read_text()
  assert len(rows.table(reproduce.runs.finished(folder))) == report.count("| 1 |")
  names = [f"figure_{n}.png" for n in range(1, 6)]
  assert sorted(path.name for path in (folder / "figures").iterdir()) == names
  assert all(f"](figures/{name})" in report for name in names)
  assert page.count("data:image/png;base64,") == 5 and "figures/" not in page
  assert "<td>spotting: mean step, negatives</td>" in page
  capfd.readouterr()
  assert main(given) == 0
  assert "seed 0" not in capfd.readouterr().out  # nothing is trained twice


def test_a_run_that_fails_ends_it(tmp_path, capfd):
  given = ["--budget=smoke", "--only=mnist", "--mnist_flags=--data_dir=nowhere"]
  assert main([f"--workdir={tmp_path}", *given]) == 2
  assert "mnist-lstm ended with status 2" in capfd.readouterr().err


@pytest.mark.parametrize(
  "given, message",
  [
    (["--only=spoting"], "unknown part .*spoting.*; choose of spotting, two_sequence"),
    (["--seeds=-1"], "--seeds is -1; it must be 0 .* or more"),
  ],
)
def test_bad_flags(given, message, capsys):
  with pytest.raises(SystemExit):
    main(given)
  assert re.search(message, capsys.readouterr().err)

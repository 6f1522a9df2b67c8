"""The threshold of a run of series: against what `deploy.decide` says of the same series."""

import json

import numpy as np
import pytest
from series_files import write_csv
from small_series_run import CHANNELS, NAMES, save_run, some_series

from data_pipelines.series import find_files, hold_out, load
from deploy import calibrate
from deploy.run_files import load_run
from deploy.series import decide_file
from deploy.thresholds import list_thetas

SERIES = some_series()[5:] * 2
LABELS = [NAMES[i % 3] for i in range(len(SERIES))]
SHARE = 0.3
READING = {"channels": CHANNELS, "missing": "hold", "samples_per_step": 3}


def write(path, index):
  write_csv(path, [SERIES[i] for i in index], [LABELS[i] for i in index])
  _, *lines = path.read_text().splitlines()
  names = ",".join(["id", "time", *(f'"{name}"' for name in CHANNELS), "label"])
  path.write_text("\n".join([names, *lines]) + "\n")


@pytest.fixture
def folder(tmp_path):
  """A run, the files that it was trained on, and `held.csv` with what it held out."""
  write(tmp_path / "train.csv", range(len(SERIES)))
  write(tmp_path / "test.csv", range(9))
  _, held = hold_out(np.array([NAMES.index(label) for label in LABELS]), SHARE)
  write(tmp_path / "held.csv", held)
  data = load(find_files(data_dir=str(tmp_path)), validation_share=SHARE)
  statistics = {name: values.tolist() for name, values in data.statistics._asdict().items()}
  names = data.class_names
  changes = {"statistics": statistics, "class_names": names}
  save_run(tmp_path / "run", reading=READING | {"validation_share": SHARE}, **changes)
  save_run(tmp_path / "old", reading=READING, **changes)
  save_run(tmp_path / "none held", reading=READING | {"validation_share": 0.0}, **changes)
  return tmp_path


def call(monkeypatch, folder, *arguments, run="run"):
  monkeypatch.setattr("sys.argv", ["calibrate", str(folder / run), *arguments])
  assert calibrate.main() == 0
  return json.loads((folder / run / "calibration.json").read_text())


def read(run, path, theta=None):
  """Accuracy and earliness of the decisions about a file."""
  rule = run.rule if theta is None else run.rule._replace(theta=float(theta))
  decisions, _ = decide_file(run._replace(rule=rule), path)
  right = np.mean([one.label == one.true for one in decisions])
  return right, np.mean([one.samples / one.length for one in decisions])


def test_the_highest_threshold_that_is_early_enough_is_written_and_used(folder, monkeypatch):
  found = call(monkeypatch, folder, "--max_earliness=0.6", f"--data_dir={folder}")
  run = load_run(folder / "run")
  accuracy, earliness = read(run, folder / "held.csv")
  assert run.theta == found["theta"] and found["max_earliness"] == 0.6
  assert earliness == pytest.approx(found["earliness"]) and earliness <= 0.6
  assert accuracy == pytest.approx(found["accuracy"])
  thetas = list_thetas(len(NAMES))
  higher = thetas[np.flatnonzero(thetas == found["theta"])[0] - 1]
  assert read(run, folder / "held.csv", higher)[1] > 0.6
  assert found["eos_accuracy"] == pytest.approx(read(run, folder / "held.csv", 0.9999999)[0])


def test_accuracy_is_read_on_other_series_too(folder, monkeypatch):
  where = [f"--train={folder / 'train.csv'}", f"--test={folder / 'test.csv'}", "--split=test"]
  found = call(monkeypatch, folder, "--max_accuracy_loss=0.5", *where)
  assert (found["series"], found["split"], found["confidence"]) == (9, "test", 0.95)
  accuracy, earliness = read(load_run(folder / "run"), folder / "test.csv")
  assert (found["accuracy"], found["earliness"]) == pytest.approx((accuracy, earliness))


REFUSED = {
  "held nothing out": ("none held", ["--max_earliness=0.5"], "held no series out .*--split=test"),
  "an old run": ("old", ["--max_earliness=0.5"], "which series it held out: an older version"),
  "too early": ("run", ["--max_earliness=0.01"], "the fastest takes 0.[0-9]+ of a series"),
  "too few": ("run", ["--max_accuracy_loss=0.01"], "15 examples cannot show .* at least 299"),
  "percent": ("run", ["--max_earliness=50"], "--max_earliness is 50.0; it is a share"),
  "data of sound": (
    "run",
    ["--max_earliness=0.5", "--dataset=synthetic"],
    "--dataset=synthetic is of sound; .* is a run of series",
  ),
  "of sound": ("run", ["--max_mean_ms=500"], "--max_mean_ms is for sound; .* is a run of series"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_promised(why, folder, monkeypatch):
  run, arguments, message = REFUSED[why]
  with pytest.raises(ValueError, match=message):
    call(monkeypatch, folder, *arguments, f"--data_dir={folder}", run=run)
  assert not (folder / run / "calibration.json").exists()


def test_files_that_the_run_was_not_trained_on(folder, monkeypatch):
  write(folder / "train.csv", range(1, len(SERIES)))
  with pytest.raises(ValueError, match=r"was not trained on .*train.csv; give the files of its"):
    call(monkeypatch, folder, "--max_earliness=0.5", f"--data_dir={folder}")


def test_a_run_of_speech_has_no_earliness(run_folder, monkeypatch):
  with pytest.raises(ValueError, match=r"--max_earliness is for series; .* is a run of speech"):
    call(monkeypatch, run_folder.parent, "--max_earliness=0.5", run=run_folder.name)

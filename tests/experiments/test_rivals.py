"""The comparison of objectives: its curves by hand, its flags, its page, and a run of it."""

import json
import pathlib
import re
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pytest
from series_files import write_ts

import deploy
from data_pipelines.series import PACKAGED
from experiments.harness import figures
from experiments.harness.objectives import NAMES, make_objective
from experiments.reproduce.results import Done
from experiments.rivals import page, train
from experiments.rivals.__main__ import main
from experiments.rivals.curves import Curve, find_time, measure_area, read_at
from experiments.rivals.methods import Method
from experiments.rivals.records import (
  DATASETS,
  MOST_TRIALS,
  TRAININGS,
  experiment_of,
  list_candidates,
)
from experiments.rivals.train import change, choose, make_base
from rc_jax import Objective

SHAPE = Curve(np.array([0.5, 0.25, 0.75]), np.array([0.8, 0.6, 0.7]))  # slower is worse at last


def test_a_curve_by_hand():
  """A guess is right in half; then .6 at .25, a line to .8 at .5, and no more."""
  assert read_at(SHAPE, np.array([0.1, 0.25, 0.375, 0.5, 1.0]), 0.5).tolist() == pytest.approx(
    [0.5, 0.6, 0.7, 0.8, 0.8]
  )
  expected = 0.25 * 0.5 + 0.25 * 0.7 + 0.5 * 0.8
  assert measure_area(SHAPE, 0.5) == pytest.approx(expected, abs=2e-4)
  assert find_time(SHAPE, 0.7, 0.5) == pytest.approx(0.375, abs=1e-3)
  assert find_time(SHAPE, 0.4, 0.5) == 0 and find_time(SHAPE, 0.81, 0.5) is None


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("smoke", [False, True])
def test_every_candidate_has_flags_of_its_binary(dataset, smoke):
  base = make_base(dataset, [], smoke=smoke)
  assert base.choose == "last" and not base.early_stop
  assert dataset not in PACKAGED or base.flags["dataset"] == dataset
  for name in TRAININGS:
    candidates = list_candidates(name, dataset)
    assert len(candidates) >= MOST_TRIALS
    own = [change(base, candidate, workdir=name) for candidate in candidates]
    if name == "rc" and experiment_of(dataset) != "series":
      assert own[0].betas == base.betas  # what the paper has
    tried = {(one.objective, one.betas, one.thetas, one.learning_rate) for one in own}
    assert len(tried) == len(own)
    for one in own:
      assert one.objective.startswith(name) and (name == "rc" or one.betas == ((0, 0),))
      made = make_objective(one.objective, ("negative", "positive"))
      assert isinstance(made, Objective) or made in ("rc", "eos")
    alike = {"objective": "", "betas": (), "thetas": (), "learning_rate": 0, "flags": {}}
    same = [one._replace(**alike) for one in own]
    assert all(one == same[0] for one in same)


def test_all_objectives_are_compared():
  assert {*TRAININGS, "patience"} == set(NAMES)


@pytest.mark.parametrize(
  "given, message",
  [
    (["--dataset=spoting"], r"--dataset has \['spoting'\]; choose of two_sequence"),
    (["--dataset=spotting", "--objectives=rcc"], r"--objectives has \['rcc'\]"),
    (["--dataset=spotting", "--trials=9"], r"--trials is 9; it must lie in 1\.\.3"),
    (["--dataset=spotting", "--seeds=-1"], r"--seeds is -1; it must be 0"),
  ],
)
def test_bad_flags(given, message, capsys):
  with pytest.raises(SystemExit):
    main(given)
  assert re.search(message, capsys.readouterr().err)


def test_bad_flags_of_the_binary(tmp_path):
  given = ["--dataset=spotting", f"--workdir={tmp_path / 'none'}"]
  for flags, message in (
    ("--unit=3", "'--unit=3' in --flags is no flag of experiments.spotting"),
    ("units=3", "'units=3' in --flags is no flag"),
    ("--theta=2", r"theta is 2\.0; a threshold on a probability"),
  ):
    with pytest.raises(ValueError, match=message):
      main([*given, f"--flags={flags}"])
  for dataset, flag, message in (
    ("GunPoint", "--dataset=Trace", "--flags has --dataset, but GunPoint is data of its own"),
    ("GunPoint", "--data_dir=here", "--flags has --data_dir, but GunPoint is data of its own"),
    ("series", "--validation_share=0", "--validation_share is 0, but validation is what is chosen"),
  ):
    with pytest.raises(ValueError, match=message):
      make_base(dataset, [flag], smoke=False)
  with pytest.raises(ValueError, match="the data is named in one of three ways"):
    main(["--dataset=spotting,series", f"--workdir={tmp_path / 'none'}"])
  assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
  "change_flags, done",
  [
    ({}, True),
    ({"epochs": 200}, True),  # a float there
    ({"weight_decay": 0.1}, False),
    ({"samples_per_step": 3}, False),
    ({"data_dir": "elsewhere"}, False),
    ({"num_test": 7}, False),
    ({"choose": "best"}, False),
    ({"epochs": 3}, False),
    ({"progress": True, "engine": "full", "workdir": "moved"}, True),
  ],
)
def test_a_run_of_other_flags_is_not_done(change_flags, done, tmp_path):
  own = make_base("series", ["--data_dir=here"], smoke=False).replace(workdir=str(tmp_path))
  assert not train._is_done(own)
  had = json.loads(json.dumps(own.flags | change_flags)) | {"a_flag_of_later": 1}
  del had["missing"]  # as before there was this flag
  (tmp_path / "config.json").write_text(json.dumps({"flags": had}))
  assert not train._is_done(own)
  (tmp_path / "result.json").write_text("{}")
  assert train._is_done(own) == done


def write_run(folder, curves, seconds=10.0, objective="rc"):
  """The files of a run that has ended, with these curves: (time, accuracy) by reading."""
  folder.mkdir(parents=True)
  flags = {"objective": objective, "beta": "0", "learning_rate": 1e-3, "units": 8}
  config = {
    "flags": flags | {"batch_size": 32, "model": "lstm"},
    "packages": {"jax": "1.2.3"},
    "device": "a cpu",
    "cpu_count": 2,
    "git_revision": "abc",
  }
  more = {"chance": 0.5, "validation_area": max(curves["theta"][1])}
  result = {
    "curves": {
      name: {"time": time, "accuracy": accuracy} | more | ({"steps": 3} if "pat" in name else {})
      for name, (time, accuracy) in curves.items()
    },
    "trained": {"examples": 6400},
    "num_test": 100,
    "computed_fraction": 0.5,
    "seconds": seconds,
  }
  (folder / "config.json").write_text(json.dumps(config))
  (folder / "result.json").write_text(json.dumps(result))
  (folder / "metrics.jsonl").write_text("")


def test_the_page_by_hand(tmp_path):
  """Two seeds of rank coding at .9 and .7 all the time, one of the stop head, five data sets."""
  for dataset in ("spotting", "speech", "series", "GunPoint", "Trace"):
    for seed, accuracy in ((0, 0.9), (1, 0.7)):
      flat = ([0.0, 1.0], [accuracy, accuracy])
      write_run(tmp_path / dataset / "rc" / str(seed), {"theta": flat, "thresholds": flat})
    late = ([0.5, 1.0], [0.6, 0.6])
    write_run(tmp_path / dataset / "stop_head" / "0", {"theta": late}, objective="stop_head:0.8")
  text = page.write(tmp_path)
  assert text == (tmp_path / "rivals.md").read_text()
  assert text.count("## ") == 5 and "6,400 training examples, 100 test" in text
  mean = "| rank coding | 80.00 ± 14.14 % | 80.00 ± 14.14 % | 80.00 ± 14.14 % | 80.00 ± 14.14 % "
  assert mean in text
  # Half of the time a guess, half of it .6; 95 % of .8 is out of reach.
  assert "| stop head | 55.0" in text
  read = (
    "| 50.00 % | 60.00 % | 60.00 % | 60.00 % | not reached | 50 % | 10 | 1 | objective stop_head"
  )
  assert read in text
  height, width = plt.imread(tmp_path / "figures" / "rivals.png").shape[:2]
  assert height / width == pytest.approx(2 / 4, abs=0.05)  # two rows of four


def test_kept_runs_give_the_page_that_is_reported(tmp_path):
  """From the runs in docs/results: no change of the code changes a number without a word."""
  kept = pathlib.Path(__file__).parents[2] / "docs" / "results" / "rivals"
  shutil.copytree(kept, tmp_path / "rivals", ignore=shutil.ignore_patterns("*.md", "*.png"))
  given = ["--dataset=two_sequence", "--seeds=0", f"--workdir={tmp_path / 'rivals'}"]
  assert main(given) == 0
  assert (tmp_path / "rivals" / "rivals.md").read_text() == (kept / "rivals.md").read_text()


def test_the_regret_is_the_area_to_the_optimum():
  done = [Done(0, {"flags": {"objective": "rc", "beta": "0"}}, {}, [], {})]
  done[0].result.update({"computed_fraction": 1, "seconds": 1})
  flat = lambda accuracy: Curve(np.array([0.0, 1.0]), np.array([accuracy, accuracy]))
  method = Method("rank coding", done, [flat(0.7)], [0.5], [])
  columns, rows = page.tabulate([method], flat(0.75))
  assert columns[2] == "regret" and rows[0][2] == "5.00 %"


def test_the_search_takes_the_largest_area_on_validation(tmp_path):
  for k, accuracy in enumerate((0.7, 0.9, 0.8)):
    write_run(tmp_path / f"trial-{k}", {"theta": ([0.0, 1.0], [accuracy, accuracy])})
  assert choose(tmp_path, "rc", 3) == 1 and choose(tmp_path, "rc", 1) == 0


def test_a_smoke_run(tmp_path, capsys, monkeypatch):
  """Two seeds of an objective with an output of its own: never trained twice, refused by deploy.

  On series of two classes, of 6 to 9 steps.
  """
  monkeypatch.setattr(figures, "draw_all", lambda *given, **named: [])
  random = np.random.default_rng(0)
  for name in ("TRAIN", "TEST"):
    lengths = random.integers(6, 10, 20)
    values = [i % 2 + random.normal(size=(n, 1)) for i, n in enumerate(lengths)]
    write_ts(tmp_path / f"Levels_{name}.ts", values, [("low", "high")[i % 2] for i in range(20)])
  given = ["--dataset=series", "--objectives=stop_head", "--budget=smoke", "--trials=1"]
  given += [f"--workdir={tmp_path}", "--seeds=2"]
  few = "--batch_size=8 --epochs=10 --engine=early_exit"  # one loop
  given += [f"--flags=--devices=1 --data_dir={tmp_path} {few}"]
  assert main(given) == 0
  folder = tmp_path / "series" / "stop_head" / "0"
  result = json.loads((folder / "result.json").read_text())
  curve = result["curves"]["theta"]
  assert len(curve["time"]) == len(curve["accuracy"]) > 10
  assert all(0 < time <= 1 for time in curve["time"]) and curve["chance"] == 0.5
  assert curve["time"][0] < curve["time"][-1] == 1
  assert "| stop head |" in capsys.readouterr().out
  with pytest.raises(ValueError, match=r"was trained with --objective=stop_head:0\.5, whose"):
    deploy.load_run(folder)
  before = (folder / "result.json").stat().st_mtime_ns
  shutil.rmtree(tmp_path / "figures")
  assert main(given) == 0 and (folder / "result.json").stat().st_mtime_ns == before
  assert "series, stop_head" not in capsys.readouterr().out
  assert (tmp_path / "figures" / "rivals.png").exists()
  with pytest.raises(
    ValueError, match=r"stop_head/0 was trained with --epochs=.*; a comparison has"
  ):
    main([*given[:-1], f"{given[-1]} --epochs=7"])
  with pytest.raises(ValueError, match=r"with other settings \(weight_decay was 0.0, is 0.1\)"):
    main([*given[:-1], f"{given[-1]} --weight_decay=0.1"])

"""The benchmark of series, with a stand-in where aeon is absent."""

import argparse
import json
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import series
from deploy.models import Model, build
from deploy.run_files import save_model

MEASURED = {
  "accuracy": 0.8, "earliness": 0.5, "harmonic_mean": 0.6, "train_s": 2.0, "decide_ms": 0.1
}  # fmt: skip


class Peer:
  """Answers with the sign of the first value; decides at once."""

  estimators_ = (None, None)

  def fit(self, X, y):
    assert X.shape == (4, 2, 6) and y.shape == (4,)  # as aeon keeps arrays: [N, F, T]

  def score(self, X, y):
    accuracy = np.mean((X[:, 0, 0] > 0) == (y == "up"))
    return 2 * accuracy * 0.75 / (accuracy + 0.75), accuracy, 0.25

  def predict(self, X):
    assert X.shape == (1, 2, 6)


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """The arrays of a made-up set, as the packages would give them."""
  X = np.ones((4, 6, 2)) * np.array([1, -1, 1, -1])[:, None, None]
  arrays = {"X": X, "y": np.array(["up", "down", "up", "up"])}
  monkeypatch.setattr(series, "load_arrays", lambda name: {"train": arrays, "test": arrays})
  series.save_arrays("Made", tmp_path / "data")
  return tmp_path


def test_a_peer_is_read_on_the_test_split(folder, monkeypatch):
  monkeypatch.setattr(series, "make_peer", lambda name, seed: Peer())
  measured = series.measure_peer("teaser", folder, 0)
  assert set(measured) == set(series.MEASURES)
  assert (measured["accuracy"], measured["earliness"]) == (0.75, 0.25)
  assert measured["harmonic_mean"] == pytest.approx(0.75)
  sizes = {"train": 4, "test": 4, "steps": 6, "channels": 2, "classes": 2}
  assert series.describe_set(folder / "data") == sizes


def test_a_run_of_ours_is_read_and_its_steps_are_timed(folder):
  workdir = folder / "ours" / "3"
  workdir.mkdir(parents=True)
  model = Model("lstm", {"units": 3, "num_classes": 2, "layers": 1})
  shapes = jax.eval_shape(build(model).init, jax.random.key(0), jnp.zeros(4))
  params = jax.tree.map(lambda a: np.zeros(a.shape, a.dtype), shapes)
  save_model(
    workdir, experiment="series", model=model, input_shape=(4,), class_names=("down", "up"),
    params=params, theta=0.9,
    statistics={"mean": [0.0, 0.0], "std": [1.0, 1.0]},
  )  # fmt: skip
  result = {"rc_accuracy": 0.8, "earliness": 0.5, "harmonic_mean": 0.6, "seconds": 2.0}
  (workdir / "result.json").write_text(json.dumps(result))
  measured = series.measure_ours(folder / "data", workdir)
  assert measured.pop("decide_ms") > 0
  assert measured == {k: v for k, v in MEASURED.items() if k != "decide_ms"}


def given_for(tmp_path):
  (tmp_path / "Made").mkdir()
  return argparse.Namespace(workdir=str(tmp_path), limit_s=1.0, flags="", seeds=1)


def test_runs_of_other_flags_are_measured_anew(tmp_path, monkeypatch):
  given, trained = given_for(tmp_path), []
  monkeypatch.setattr(series, "train_ours", lambda data, runs, seeds, flags: trained.append(flags))
  monkeypatch.setattr(series, "measure_ours", lambda data, workdir: {"of": str(workdir)})
  found = []
  for flags in ("", "--units=32 --data_dir=/a", "--data_dir=/a --units=32", ""):
    given.flags = flags
    found.append(series.measure_in_turn("Made", "ours", 0, given)["of"])
  assert trained == [[], ["--units=32", "--data_dir=/a"]]
  assert found[0] == found[3] != found[1] == found[2]


def test_what_is_measured_is_measured_once(tmp_path, monkeypatch):
  calls = []

  def run(command, **options):
    calls.append(command)
    return subprocess.CompletedProcess(command, 0, "other\n" + series.ALONE + json.dumps(MEASURED))

  monkeypatch.setattr(subprocess, "run", run)
  given = given_for(tmp_path)
  for _ in range(2):
    assert series.measure_in_turn("Made", "teaser", 0, given) == MEASURED
  assert len(calls) == 1 and calls[0][-1] == "--alone=Made,teaser,0"


def test_a_peer_that_takes_too_long_or_fails_is_told(tmp_path, monkeypatch):
  def never(command, timeout, **options):
    raise subprocess.TimeoutExpired(command, timeout)

  monkeypatch.setattr(subprocess, "run", never)
  given = given_for(tmp_path)
  assert series.measure_in_turn("Made", "teaser", 0, given) is None
  done = subprocess.CompletedProcess([], 1, "", "a traceback\nValueError: no")
  monkeypatch.setattr(subprocess, "run", lambda command, **options: done)
  with pytest.raises(RuntimeError, match="teaser on Made failed: ValueError: no"):
    series.measure_in_turn("Made", "teaser", 0, given)
  assert not list((tmp_path / "Made").iterdir())  # nothing is kept of either


def test_a_summary_counts_the_seeds_that_ended():
  other = MEASURED | {"accuracy": 0.6, "train_s": 4.0}
  row = series.summarize([MEASURED, other, None])
  assert (row["seeds"], row["over_limit"]) == (2, 1)
  assert row["accuracy"] == pytest.approx(0.7) and row["accuracy_range"] == [0.6, 0.8]
  cells = series.format_summary({"contender": "ours"} | row)
  assert cells == ["ours", "70.0 (60.0 to 80.0)", "0.50", "0.600", "3", "0.10", "2"]
  nothing = series.format_summary({"contender": "teaser"} | series.summarize([None]))
  assert nothing == ["teaser", "over the limit", *["-"] * 5]


@pytest.mark.slow  # numba compiles
@pytest.mark.filterwarnings("ignore")  # those of other packages
def test_aeons_early_classifier_is_measured(tmp_path):
  pytest.importorskip("aeon")
  random = np.random.default_rng(0)
  (tmp_path / "data").mkdir()
  for split in ("train", "test"):
    y = np.arange(12) % 2
    X = random.normal(size=(12, 20, 1)) + y[:, None, None] * np.arange(20)[:, None]
    np.savez(tmp_path / "data" / f"{split}.npz", X=X, y=y)
  measured = series.measure_peer("forest", tmp_path, 0)
  assert measured["accuracy"] > 0.7 and 0 < measured["earliness"] <= 1


def test_the_arrays_of_the_packages_are_steps_first():
  pytest.importorskip("aeon")
  pytest.importorskip("tslearn")
  shapes = {name: series.load_arrays(name)["train"]["X"].shape for name in ("GunPoint", "Trace")}
  assert shapes == {"GunPoint": (50, 150, 1), "Trace": (100, 275, 1)}

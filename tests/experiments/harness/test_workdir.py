"""Which runs a workdir takes up, and which it refuses."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
from running import read_json

from experiments import speech
from experiments.harness import circumstances, workdir
from experiments.harness.flags import read_defaults
from experiments.harness.settings import make_settings


def test_a_workdir_from_before_the_flag_of_the_model_goes_on(tmp_path):
  defaults = read_defaults(speech.EXPERIMENT)
  now = make_settings(speech.EXPERIMENT, defaults, defaults).flags
  before = {name: value for name, value in now.items() if name != "model"}
  assert now["model"] == "lstm" and now["objective"] == "rc"
  workdir.Workdir(str(tmp_path), "speech", before, defaults)
  with pytest.raises(ValueError, match=r"other settings \(model was 'lstm', is 'cnn'\)"):
    workdir.Workdir(str(tmp_path), "speech", now | {"model": "cnn"}, defaults)
  workdir.Workdir(str(tmp_path), "speech", now, defaults)


def test_a_schedule_that_falls_over_the_training_keeps_its_length(tmp_path):
  given = {"schedule": "constant", "epochs": 1.0}
  workdir.Workdir(tmp_path / "constant", "speech", given, {})
  workdir.Workdir(tmp_path / "constant", "speech", given | {"epochs": 2.0}, {})
  given["schedule"] = "cosine"
  workdir.Workdir(tmp_path / "cosine", "speech", given, {})
  with pytest.raises(ValueError, match=r"epochs was 1\.0, is 2\.0.*choose another --workdir"):
    workdir.Workdir(tmp_path / "cosine", "speech", given | {"epochs": 2.0}, {})


def test_a_workdir_from_before_a_flag_existed_goes_on_with_its_default(tmp_path):
  workdir.Workdir(tmp_path, "temporal_mnist", {"theta": 0.9}, {"average": 0.0})
  with pytest.raises(ValueError, match=r"average was 0\.0, is 0\.9"):
    workdir.Workdir(tmp_path, "temporal_mnist", {"theta": 0.9, "average": 0.9}, {"average": 0.0})
  workdir.Workdir(tmp_path, "temporal_mnist", {"theta": 0.9, "average": 0.0}, {"average": 0.0})


def test_a_result_from_before_the_axes_has_those_of_its_time(tmp_path):
  workdir.write_json(tmp_path / "result.json", {"num_steps": 10})
  assert workdir.read_result(tmp_path)["axes"]["image_shape"] == [28, 28]
  own = {"image_shape": [8, 8], "sample_rate": None, "clip_s": None, "first_heard_s": None}
  workdir.write_json(tmp_path / "result.json", {"axes": own})
  assert workdir.read_result(tmp_path)["axes"] == own == read_json(tmp_path)["axes"]


def test_a_run_needs_no_git_and_takes_no_revision_of_another_project(tmp_path, monkeypatch):
  monkeypatch.setenv("PATH", "")
  assert circumstances.describe_machine()["git_revision"] == "unknown"
  monkeypatch.undo()
  inner = tmp_path / "site" / "experiments" / "harness" / "file.py"
  inner.parent.mkdir(parents=True)
  subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
  monkeypatch.setattr(circumstances, "__file__", str(inner))
  git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
  subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message=one"], check=True)
  assert circumstances.describe_machine()["git_revision"] == "unknown"
  monkeypatch.setattr(circumstances, "__file__", str(tmp_path / "experiments/harness/file.py"))
  revision = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
  found = circumstances.describe_machine()["git_revision"].removesuffix("-dirty")
  assert len(found) >= 7 and revision.stdout.startswith(found)  # of a clone of its own


def test_a_folder_in_use_is_refused_and_names_its_holder(tmp_path):
  first = workdir.Workdir(str(tmp_path), "speech", {}, {})
  holder = f"in use by process {os.getpid()} on {socket.gethostname()}"
  with pytest.raises(ValueError, match=holder):
    workdir.Workdir(str(tmp_path), "speech", {}, {})
  first.close()
  workdir.Workdir(str(tmp_path), "speech", {}, {}).close()


def test_a_lock_dies_with_its_owner(tmp_path):
  hold = "import pathlib, sys, time; from experiments.harness.lock import Lock; "
  hold += "lock = Lock(pathlib.Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
  with subprocess.Popen([sys.executable, "-c", hold, tmp_path], stdout=subprocess.PIPE) as owner:
    assert owner.stdout.readline() == b"held\n"
    with pytest.raises(ValueError, match=f"in use by process {owner.pid} on"):
      workdir.Workdir(str(tmp_path), "speech", {}, {})
    assert not (tmp_path / "config.json").exists()
    owner.kill()
    owner.wait()
  workdir.Workdir(str(tmp_path), "speech", {}, {}).close()


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
  monkeypatch.setattr(fcntl, "flock", mock.Mock(side_effect=OSError(errno.ENOLCK, "no locks")))
  (note,) = workdir.Workdir(str(tmp_path), "speech", {}, {}).notes
  assert "without locks" in note


def test_what_is_not_finite_is_null_in_json(tmp_path):
  value = {"a": np.float32("nan"), "b": [1.0, -np.inf], "c": np.array([[np.inf, 2.0]])}
  workdir.write_json(tmp_path / "some.json", value)
  assert read_json(tmp_path, "some.json") == {"a": None, "b": [1.0, None], "c": [[None, 2.0]]}
  folder = workdir.Workdir(str(tmp_path / "run"), "speech", {}, {})
  folder.append_metrics({"step": 1, "train_loss": float("nan")})
  assert workdir.read_metrics(folder.path) == [{"step": 1, "train_loss": None}]

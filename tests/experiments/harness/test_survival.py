"""What a run does in a workdir that was damaged, or in another world than it began in."""

import errno
import json
import os
import shutil
import types
from unittest import mock

import pytest
from running import FAST, lines, mnist_setup
from tensorboardX import record_writer

from experiments.harness import figures
from experiments.harness import run as harness
from experiments.harness.lock import Lock
from experiments.harness.workdir import Workdir

GIVEN = FAST | {"engine": "full", "batch_size": "641", "beta": "0", "learning_rate": "0.01"}


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
  monkeypatch.setattr(figures, "draw_all", lambda *given, **named: [])


def go_on(folder, change=lambda task: task, **given):
  """Runs the same command again, or with other flags or another task."""
  task, settings = mnist_setup(**(GIVEN | {"epochs": "4", "workdir": str(folder)} | given))
  return harness.run(change(task), settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A workdir of two epochs, with a checkpoint of each."""
  folder = tmp_path_factory.mktemp("trained") / "run"
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(figures, "draw_all", lambda *given, **named: [])
    assert go_on(folder, epochs="1") == go_on(folder, epochs="2") == 0
  return folder


@pytest.fixture
def half(trained, tmp_path):
  """A copy of it, to be damaged."""
  return shutil.copytree(trained, tmp_path / "run")


def edit_json(path, change):
  value = json.loads(path.read_text())
  change(value)
  path.write_text(json.dumps(value))


def test_other_classes_are_refused_by_name_also_if_only_the_checkpoint_knows_them(half):
  rename = lambda task: task._replace(class_names=("nil", *task.class_names[1:]))
  before = lines(half)
  with pytest.raises(ValueError, match=r"other data \(the classes were 0, 1, .* are nil, 1"):
    go_on(half, rename)
  edit_json(half / "config.json", lambda config: config.pop("data"))
  with pytest.raises(ValueError, match=r"a checkpoint of a run on other data \(the classes were 0"):
    go_on(half, rename)
  assert lines(half) == before


def test_a_full_disk_ends_the_run_with_a_sentence_and_leaves_its_checkpoints(half, monkeypatch):
  full = types.SimpleNamespace(f_bavail=10, f_frsize=4096, f_files=0, f_favail=0)
  with monkeypatch.context() as patch:
    patch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(ValueError, match=r"checkpoints cannot be written: No space left.* goes on"):
      go_on(half, epochs="3")
  no_room = mock.Mock(write=mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
  with monkeypatch.context() as patch:
    patch.setattr(record_writer, "open_file", lambda path: no_room)
    with pytest.raises(ValueError, match=r"run cannot be written: No space left on device"):
      go_on(half, epochs="3")
  assert go_on(half, epochs="3") == 0
  assert [line["epoch"] for line in lines(half)] == [1, 2, 3]


def test_a_line_of_metrics_that_finds_no_room_says_so(tmp_path):
  (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
  with pytest.raises(ValueError, match=r"cannot be written: No space left on device; checkpoints"):
    Workdir(str(tmp_path), "speech", {}, {}).append_metrics({"step": 1})


def test_a_member_in_a_folder_in_use_is_refused_and_the_others_are_let_go(half, tmp_path):
  held = Workdir(str(tmp_path / "held"), "temporal_mnist", {}, {})
  shutil.copy(half / "config.json", tmp_path / "held")
  members = [mnist_setup(**(GIVEN | {"epochs": "4", "workdir": str(f)})) for f in (half, held.path)]
  with pytest.raises(ValueError, match=r"held is in use by process"):
    harness.run_together(members)
  held.close()
  Lock(half).close()

"""What a run does in a workdir that was damaged, or in another world than it began in."""

import contextlib
import errno
import json
import os
import shutil
import types
from unittest import mock

import jax
import pytest
from running import FAST, lines, mnist_setup, read_json, share_programs
from tensorboardX import record_writer

from experiments.harness import figures, loop, run_state
from experiments.harness import run as harness
from experiments.harness.files import Files
from experiments.harness.lock import Lock
from experiments.harness.workdir import Workdir

DRAW_ALL = figures.draw_all
GIVEN = FAST | {"engine": "full", "batch_size": "320", "beta": "0.3"}
GIVEN |= {"learning_rate": "0.03"}
STEPS = ("3", "6", "9", "12")  # after each epoch


@pytest.fixture(autouse=True, scope="module")
def quick():
  """No pictures, and programs that are compiled once, as those of each test will be."""
  jax.config.update("jax_disable_most_optimizations", True)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(figures, "draw_all", lambda *given, **named: [])
    share_programs(patch)
    yield


def leave_out_pictures(task):
  return task._replace(pictures=None)


def go_on(folder, change=leave_out_pictures, **given):
  """Runs the same command again, or with other flags or another task."""
  task, settings = mnist_setup(**(GIVEN | {"epochs": "4", "workdir": str(folder)} | given))
  return harness.run(change(task), settings)


@pytest.fixture(scope="module")
def trained(quick, tmp_path_factory):
  """A workdir of two epochs, with a checkpoint of each, and with pictures of its second start."""
  folder = tmp_path_factory.mktemp("trained") / "run"
  assert go_on(folder, epochs="1") == go_on(folder, lambda task: task, epochs="2") == 0
  return folder


@pytest.fixture(scope="module")
def whole(quick, tmp_path_factory):
  """The lines and the result of the run without an interruption."""
  folder = tmp_path_factory.mktemp("whole") / "run"
  assert go_on(folder) == 0
  return read_end(folder)


def read_end(folder):
  """What two runs are compared by."""
  return lines(folder), read_json(folder) | {"seconds": 0, "update_ms": 0}


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


@pytest.fixture
def meanwhile(monkeypatch):
  """Does something after update 7, while the run goes on."""
  record = loop._record_metrics

  def arrange(act):
    def record_and_act(metrics, update, *given):
      record(metrics, update, *given)
      if update == 7:
        act()

    monkeypatch.setattr(loop, "_record_metrics", record_and_act)

  return arrange


def test_a_workdir_that_is_removed_while_its_run_goes_on_is_named(half, meanwhile):
  meanwhile(lambda: shutil.rmtree(half))
  with pytest.raises(ValueError, match=r"/run was removed while its run went on; choose one"):
    go_on(half)


def test_a_config_that_is_removed_while_the_run_goes_on_is_written_again(half, whole, meanwhile):
  meanwhile((half / "config.json").unlink)
  assert go_on(half) == 0
  assert read_end(half) == whole
  assert [start["epochs"] for start in read_json(half, "config.json")["starts"]] == [1, 2, 4]


def test_a_member_in_a_folder_in_use_is_refused_and_the_others_are_let_go(half, tmp_path):
  held = Workdir(str(tmp_path / "held"), "temporal_mnist", {}, {})
  shutil.copy(half / "config.json", tmp_path / "held")
  members = [mnist_setup(**(GIVEN | {"epochs": "4", "workdir": str(f)})) for f in (half, held.path)]
  with pytest.raises(ValueError, match=r"held is in use by process"):
    harness.run_together(members)
  held.close()
  Lock(half).close()


def flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 4
  path.write_bytes(data)


def largest(folder):
  return max((path for path in folder.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)


DAMAGES = {
  "a flipped bit in the state": lambda step: flip(largest(step / "state")),
  "a flipped bit in the best": lambda step: flip(largest(step / "best")),
  "a truncated file": lambda step: (step / "meta" / "metadata").write_text('{"experiment": "te'),
  "a deleted part": lambda step: shutil.rmtree(step / "best"),
  "a deleted checkpoint": shutil.rmtree,
  "a file in its place": lambda step: (shutil.rmtree(step), step.write_text("")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_run_goes_on_from_the_one_before(
  damage, half, whole, capsys
):
  assert {path.name for path in (half / "checkpoints").iterdir()} == set(STEPS[:2])
  DAMAGES[damage](half / "checkpoints" / STEPS[1])
  assert go_on(half) == 0
  note = capsys.readouterr().err
  assert f"checkpoints/{STEPS[1]}" in note
  assert f"goes on from the checkpoint before, at update {STEPS[0]}" in note
  assert read_end(half) == whole


@pytest.mark.parametrize("damage", ["a truncated file", "a deleted part", "a file in its place"])
def test_damage_is_also_seen_where_no_sums_were_taken(damage, half, whole):
  (half / "checkpoints.json").unlink()
  DAMAGES[damage](half / "checkpoints" / STEPS[1])
  assert go_on(half) == 0
  assert read_end(half) == whole


def test_sums_that_are_damaged_are_told(half, whole, capsys):
  (half / "checkpoints.json").write_text("{")
  assert go_on(half) == 0
  assert "checkpoints.json is damaged" in capsys.readouterr().err
  assert read_end(half) == whole
  assert go_on(half) == 0
  assert capsys.readouterr().err == ""


def list_files(folder):
  return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


LOSSES = {
  "a bit in each": lambda folder: [flip(largest(path)) for path in folder.iterdir()],
  "all in it": lambda folder: [shutil.rmtree(path) for path in folder.iterdir()],
  "the folder": shutil.rmtree,
  "a file in its place": lambda folder: (shutil.rmtree(folder), folder.write_text("")),
}


@pytest.mark.parametrize("kept", ["with sums", "without"])
@pytest.mark.parametrize("loss", LOSSES)
def test_where_all_checkpoints_are_lost_the_run_does_not_begin_anew(loss, kept, half):
  if kept == "without":
    (half / "checkpoints.json").unlink()
    (half / "result.json").unlink()
  if kept == "without" and loss == "a bit in each":
    for path in (half / "checkpoints").iterdir():
      largest(path).write_bytes(b"")
  elif kept == "without" and loss == "all in it":
    return  # as after a kill before the first checkpoint
  else:
    LOSSES[loss](half / "checkpoints")
  before = {path: data for path, data in list_files(half).items() if path.suffix != ".json"}
  with pytest.raises(ValueError, match=r"checkpoint.*put .* in its place|put the folder"):
    go_on(half)
  after = list_files(half)
  assert all(after[path] == data for path, data in before.items() if path.name != "lock")


def test_what_a_kill_left_of_a_save_is_removed(half, whole):
  (half / "checkpoints" / "9.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
  assert go_on(half) == 0
  assert {path.name for path in (half / "checkpoints").iterdir()} == {STEPS[1], STEPS[3]}
  assert read_end(half) == whole


def test_a_training_that_diverges_stops_there_and_keeps_the_best(tmp_path):
  """A reward of 3e38 from epoch 2 on, which no float32 holds."""
  given = {"beta": "0,2:3e38"}
  message = r"gradient of update 7 is not finite.*of update 6 and the best so far.*--epochs=2"
  for _ in range(2):  # the same command comes to the same end
    with pytest.raises(ValueError, match=message):
      go_on(tmp_path / "run", **given)
    assert [line["epoch"] for line in lines(tmp_path / "run")] == [1, 2]
    assert not (tmp_path / "run" / "result.json").exists()
  assert go_on(tmp_path / "run", **given, epochs="2") == 0
  assert read_json(tmp_path / "run")["trained"]["epoch"] == 2


def test_a_training_that_diverges_at_once_says_that_nothing_came_before(tmp_path):
  message = r"update 1 is not finite; no validation came before it.*lower --learning_rate"
  with pytest.raises(ValueError, match=message):
    go_on(tmp_path / "run", beta="3e38")


def damage_lines(path, damage):
  first, second = path.read_bytes().splitlines(keepends=True)
  if damage == "deleted":
    path.unlink()
  else:
    texts = {
      "emptied": b"",
      "truncated": first + second[:40],
      "a bad byte": b"\xff" + first + second,
    }
    path.write_bytes(texts[damage])


@pytest.mark.parametrize("damage", ["truncated", "emptied", "deleted", "a bad byte"])
@pytest.mark.parametrize("epochs", ["2", "4"])  # a finished run is reported again
def test_lost_lines_of_metrics_are_told_and_spoil_no_result(damage, epochs, half, whole, capsys):
  before = read_json(half)
  damage_lines(half / "metrics.jsonl", damage)
  assert go_on(half, epochs=epochs) == 0
  lost = 2 if damage in ("emptied", "deleted") else 1
  assert f"metrics.jsonl lacks {lost} of 2 lines" in capsys.readouterr().err
  if epochs == "2":
    assert read_json(half) == before
  else:
    kept, result = read_end(half)
    first = {"truncated": [0], "a bad byte": [1]}.get(damage, [])
    assert (kept, result) == ([whole[0][k] for k in (*first, 2, 3)], whole[1])


def test_pictures_are_drawn_of_a_run_without_metrics(half):
  assert "training" not in DRAW_ALL(half, read_json(half), [], theta=0.95)


def test_a_smaller_length_does_not_stand_above_the_larger_one_that_was_trained(half):
  assert go_on(half, epochs="1") == 0
  assert read_json(half)["trained"]["epoch"] == 2
  assert "--epochs=2.0" in (half / "report.md").read_text()
  assert "--epochs=1.0" not in (half / "report.md").read_text()


def test_the_circumstances_of_each_start_are_kept_oldest_first(half, whole):
  """Also those of a config from before there was a list; what the user is told stands there too."""

  def make_old(config):
    for name in ("starts", "data", "numerics"):
      del config[name]
    config["device"] = "4 x old"

  edit_json(half / "config.json", make_old)
  flip(largest(half / "checkpoints" / STEPS[1]))
  assert go_on(half, lambda task: task._replace(notes=("train: 9 clips were skipped",))) == 0
  first, second = read_json(half, "config.json")["starts"]
  assert (first["device"], first["epochs"], second["epochs"]) == ("4 x old", 2, 4)
  skipped, limit, unchecked, damaged = second["notes"]
  assert skipped == "train: 9 clips were skipped" and "was not checked" in unchecked
  assert limit.startswith("--beta=0.3 lies above 0.205, the limit for 10 classes")
  assert f"checkpoints/{STEPS[1]}" in damaged
  assert f"- {skipped}\n- {limit}\n- {unchecked}\n- {damaged}\n" in (half / "report.md").read_text()
  assert read_end(half) == whole


def test_settings_of_jax_that_change_numbers_are_of_a_runs_identity(half):
  message = r"other settings \(JAX_ENABLE_X64 was True, is False\)"
  edit_json(half / "config.json", lambda c: c["numerics"].update(jax_enable_x64=True))
  with pytest.raises(ValueError, match=message):
    go_on(half)


@pytest.mark.parametrize("text", ["", '{"flags": ', "[1]", '{"flags": 1}', "\xff"])
def test_a_damaged_config_is_named(text, half):
  (half / "config.json").write_bytes(text.encode("latin-1"))
  with pytest.raises(ValueError, match=r"config\.json is damaged.*choose another --workdir"):
    go_on(half)


def test_a_checkpoint_before_the_first_validation(tmp_path):
  task, settings = mnist_setup(**(GIVEN | {"workdir": str(tmp_path)}))
  with contextlib.closing(Workdir(str(tmp_path), task.name, settings.flags, {})) as folder:
    with contextlib.closing(Files(folder, task)) as files:
      run_state.RunState(task, settings, files).save()
    with contextlib.closing(Files(folder, task)) as files:
      run = run_state.RunState(task, settings, files)
      assert run.read_cost() == {"computed_fraction": None, "update_ms": None}

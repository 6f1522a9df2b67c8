"""Runs on two devices against the same on one."""

import pytest
from running import BINARIES, lines, read_json, run

from experiments import speech
from experiments.harness import devices

# Each device has loops of its own, which leave off at the last spike of its own rows.
UNLIKE = ("seconds", "update_ms", "computed_fraction", "train_computed_fraction")
GIVEN = {"theta": "0.6", "learning_rate": "0.01", "average": "0.9", "engine": "early_exit"}


def read(folder):
  """The numbers of all validations and of the result, to be compared to rounding."""
  return _round([*lines(folder), read_json(folder)])


def _round(values):
  if isinstance(values, dict):
    return {name: _round(value) for name, value in values.items() if name not in UNLIKE}
  if isinstance(values, list):
    return [_round(value) for value in values]
  return pytest.approx(values, rel=1e-3, abs=2e-5) if isinstance(values, float) else values


@pytest.mark.usefixtures("no_pictures", "shared_programs", "two_devices")
def test_a_run_on_two_devices_equals_one(words, tmp_path, capsys):
  """Stored and augmented data; begun on two devices, gone on with on one, then on two again."""
  given = {"dataset": "folder", "data_dir": str(words), "keywords": "low,high", "batch_size": "18"}
  given |= GIVEN | {"shift_frames": "5", "cache_dir": str(tmp_path / "cache"), "epochs": "6"}
  given["widths"] = "1"
  assert run(speech, tmp_path / "one", **given) == 0
  assert "1 of 2 devices, 18 rows of a batch on each" in capsys.readouterr().out
  for epochs, number, on_device in (("2", "2", "false"), ("4", "1", "true"), ("6", "2", "true")):
    changed = {"epochs": epochs, "devices": number, "data_on_device": on_device}
    assert run(speech, tmp_path / "two", **(given | changed)) == 0
  assert "2 devices, 9 rows of a batch on each" in capsys.readouterr().out
  assert read(tmp_path / "two") == read(tmp_path / "one")
  assert read_json(tmp_path / "one")["mean_spike_step"] < 81
  assert [s["devices"] for s in read_json(tmp_path / "two", "config.json")["starts"]] == [2, 1, 2]


@pytest.mark.usefixtures("no_pictures", "shared_programs", "two_devices")
def test_a_generated_task_on_two_devices_equals_one(tmp_path):
  module, given = BINARIES["two_sequence"]
  given = given | {"num_examples": "800", "engine": "full"}
  for name, number in (("one", "1"), ("two", "2")):
    assert run(module, tmp_path / name, **(GIVEN | given), devices=number) == 0
  assert read(tmp_path / "two") == read(tmp_path / "one")
  assert read_json(tmp_path / "one")["mean_spike_step"] < 30


@pytest.mark.usefixtures("two_devices")
@pytest.mark.parametrize(
  "asked, rows, message",
  [
    (3, 32, "--devices is 3; there are 2 here: give 1 to 2"),
    (0, 32, "--devices is 0; there are 2 here: give 1 to 2"),
    (2, 33, "--batch_size=33 cannot .* by 2 devices; give --batch_size=34, or --devices of 1"),
  ],
)
def test_devices_that_do_not_fit(asked, rows, message):
  with pytest.raises(ValueError, match=message):
    devices.choose_number(asked, rows)


@pytest.mark.usefixtures("two_devices")
def test_as_many_devices_as_divide_the_batch():
  assert [devices.choose_number(None, rows) for rows in (1, 32, 33)] == [1, 2, 1]
  assert devices.describe(1, 33) == "1 of 2 devices, 33 rows of a batch on each"

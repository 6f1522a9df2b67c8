"""Each binary as a user types it: its files and its errors."""

import pathlib
import subprocess
import sys

import pytest
from absl.testing import flagsaver
from running import BINARIES, run

from experiments import spotting, two_sequence
from experiments.harness import report
from experiments.harness.flags import parse_flags

SPOTTING = BINARIES["spotting"][1] | {"engine": "full"}
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """A finished run of spotting, for tests that leave it as it is."""
  folder = tmp_path_factory.mktemp("finished")
  assert run(spotting, folder, **SPOTTING) == 0
  return folder


def test_a_picture_is_redrawn_without_training(finished):
  picture = finished / "figures" / "frontier.png"
  before = picture.read_bytes()
  picture.unlink()
  report.write(finished)
  assert picture.read_bytes() == before


@pytest.mark.parametrize(
  "name, given, message",
  [
    ("spotting", {"theta": "1.5"}, "theta is 1.5; a threshold on a probability"),
    ("spotting", {"theta": "0.5"}, "theta is 0.5, which the most probable of 2 classes always"),
    ("temporal_mnist", {"theta": "0.1"}, "theta is 0.1, which the most probable of 10"),
    ("spotting", {"beta": "-1"}, "beta is -1.0; the weight of the entropy reward"),
    ("spotting", {"beta": "lots"}, "--beta is 'lots'; give a number, as 0.2"),
    ("spotting", {"beta": "0.5,30:0.1"}, "--beta changes with epochs; a generated task has none"),
    ("temporal_mnist", {"beta": "0.5,30"}, "'30' is not epoch:value"),
    ("temporal_mnist", {"beta": "0.5,30:0.1,20:0.2"}, "epochs must rise"),
    ("temporal_mnist", {"theta": "0.3,0.95"}, "--theta is '0.3,0.95': '0.95' is not epoch:value"),
    ("spotting", {"theta": "0.6,1:0.9"}, "--theta changes with epochs; a generated task has none"),
    ("temporal_mnist", {"theta": "0.3,1:0.9"}, "the training ends after 1; give more --epochs"),
    ("temporal_mnist", {"theta": "0.1,.5:0.9"}, "theta is 0.1, which the most probable of 10"),
    ("spotting", {"batch_size": "0"}, "--batch_size is 0; it must be more than 0"),
    ("spotting", {"learning_rate": "-1"}, "--learning_rate is -1.0"),
    ("spotting", {"num_examples": "0"}, "--num_examples is 0"),
    ("spotting", {"epochs": "3"}, "--epochs does not fit spotting"),
    ("temporal_mnist", {"num_test": "9"}, "--num_test does not fit temporal_mnist; its test split"),
    ("temporal_mnist", {"epochs": "0"}, "--epochs is 0.0"),
    ("temporal_mnist", {"batch_size": "5000"}, "batch_size is 5000 but there are only 1237"),
    ("temporal_mnist", {"dataset": "nothing"}, "choose one of mnist, digits"),
    ("temporal_mnist", {"model": "conv_lstm", "kernel": "4"}, "kernel is 4; an odd width"),
    (
      "temporal_mnist",
      {"model": "cnn", "objective": "rc"},
      "--objective=rc does not fit --model=cnn.*; leave --objective out",
    ),
    ("spotting", {"objective": "ros"}, "--objective is 'ros'; choose one of rc, eos, every_step"),
    ("spotting", {"objective": "sprt:2"}, "--objective is 'sprt:2'; sprt takes no value"),
    ("spotting", {"objective": "patience:x"}, "--objective is 'patience:x': invalid literal"),
    ("spotting", {"objective": "stop_head:2"}, r"'stop_head:2': alpha is 2\.0; the weight"),
    (
      "spotting",
      {"objective": "sprt", "beta": "0.1"},
      "--objective=sprt has none, so leave it out",
    ),
    (
      "temporal_mnist",
      {"model": "cnn", "objective": "cumulative"},
      "--objective=cumulative does not fit --model=cnn.*; leave --objective out",
    ),
    ("spotting", {"model": "cnn"}, "--model=cnn does not fit spotting; it has lstm"),
  ],
)
def test_bad_flags_are_one_clear_sentence(name, given, message, tmp_path):
  module, defaults = BINARIES[name]
  with pytest.raises(ValueError, match=message) as error:
    run(module, tmp_path / "run", **(defaults | given))
  assert "\n" not in str(error.value)
  assert not (tmp_path / "run").exists(), "bad flags must not leave a workdir behind"


def test_a_workdir_of_other_settings_is_refused_untouched(finished):
  before = {p: p.stat().st_mtime_ns for p in sorted(finished.rglob("*"))}
  with pytest.raises(ValueError, match=r"beta was '0', is '0\.3'.*choose another --workdir"):
    run(spotting, finished, **SPOTTING, beta="0.3")
  with pytest.raises(ValueError, match="holds a run of spotting; choose another"):
    run(two_sequence, finished, **SPOTTING)
  assert {p: p.stat().st_mtime_ns for p in sorted(finished.rglob("*"))} == before


def test_a_workdir_that_is_a_file(tmp_path):
  (tmp_path / "file").write_text("mine")
  with pytest.raises(ValueError, match="is a file; name a folder"):
    run(spotting, tmp_path / "file", **SPOTTING)
  with pytest.raises(ValueError, match="cannot be written"):
    run(spotting, tmp_path / "file" / "below", **SPOTTING)
  assert (tmp_path / "file").read_text() == "mine"


def test_a_bad_flag_on_the_command_line_is_one_line_and_no_traceback(tmp_path):
  command = [sys.executable, "-m", "experiments.spotting", "--theta=2", f"--workdir={tmp_path}/run"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 2
  assert done.stderr.strip() == (
    "error: theta is 2.0; a threshold on a probability lies between 0 and 1"
  )


def test_so_is_a_flag_that_there_is_not(capsys):
  with flagsaver.flagsaver(), pytest.raises(SystemExit) as ended:
    parse_flags(["spotting", "--thetta=2"])
  assert ended.value.code == 2
  said = "Unknown command line flag 'thetta'. Did you mean: theta ?"
  assert capsys.readouterr().err.strip() == f"error: {said}; --help lists the flags"

"""Each binary as a user types it: its files, its errors, killed and resumed."""

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import soundfile
from absl.testing import flagsaver
from metrics import lines

from data_pipelines import temporal_mnist as mnist
from experiments import flags, report, spotting, temporal_mnist, two_sequence, workdir
from experiments import speech as speech_binary
from experiments import training as loop
from rc_jax import evaluate

ROOT = pathlib.Path(__file__).parents[2]
FAST = {"batch_size": "32", "units": "8", "progress": "false"}
BINARIES = {
  "spotting": (spotting, {"num_examples": "1600", "num_test": "1000"}),
  "two_sequence": (two_sequence, {"num_examples": "1600", "num_test": "1000"}),
  "temporal_mnist": (temporal_mnist, {"epochs": "1", "dataset": "digits"}),
}


def run(module, folder, **given):
  """Runs a binary's main with flags as strings."""
  with flagsaver.as_parsed(workdir=str(folder), **(FAST | given)):
    return module.main()


@pytest.fixture(scope="module")
def words(tmp_path_factory):
  """A miniature tree of recordings: a tone a word, eight speakers."""
  root = tmp_path_factory.mktemp("words")
  rng = np.random.default_rng(0)
  t = np.arange(16_000) / 16_000
  entries = {"validation_list.txt": [], "testing_list.txt": []}
  for word, hertz in (("low", 200), ("mid", 900), ("high", 3000)):
    (root / word).mkdir()
    for speaker in range(24):
      name = f"{word}/speaker{speaker}_nohash_0.wav"
      tone = 0.3 * np.sin(2 * np.pi * hertz * t) + 0.05 * rng.standard_normal(len(t))
      soundfile.write(root / name, tone, 16_000)
      if speaker % 4 == 0:
        entries["validation_list.txt" if speaker % 8 else "testing_list.txt"].append(name)
  for name, listed in entries.items():
    (root / name).write_text("\n".join(listed) + "\n")
  return root


def test_speech_learns_tones_and_reports_what_it_heard(words, tmp_path, capsys):
  given = dict(
    dataset="folder",
    data_dir=str(words),
    keywords="low,high",
    epochs="12",
    choose="last",  # the first of nine validation clips all right may be luck
    batch_size="18",
    beta="0.1",
    cache_dir=str(tmp_path / "cache"),
  )
  assert run(speech_binary, tmp_path / "run", **(given | {"units": "16"})) == 0
  result = json.loads((tmp_path / "run" / "result.json").read_text())
  assert result["class_names"] == ["low", "high", "unknown"]
  assert result["rc_accuracy"] == 1.0
  step = result["mean_spike_step"] - 1
  assert result["mean_heard_ms"] == pytest.approx((step + 20) * 10 + 12.5)
  assert (tmp_path / "run" / "figures" / "examples.png").exists()
  assert "train: 54 clips" in capsys.readouterr().out
  meta = next((tmp_path / "run" / "checkpoints").glob("*/meta/metadata"))
  saved = json.loads(meta.read_text())
  assert len(saved["saved"]["mean"]) == 20 and saved["class_names"][-1] == "unknown"


def test_the_ceiling_of_temporal_mnist_sees_the_frames_so_far(tmp_path):
  given = dict(dataset="digits", epochs="3", model="cnn", shift="1", batch_size="32")
  assert run(temporal_mnist, tmp_path, **given) == 0
  result = json.loads((tmp_path / "result.json").read_text())
  config = json.loads((tmp_path / "config.json").read_text())
  given = [config["flags"][name] for name in ("model", "objective", "beta")]
  assert given == ["cnn", "eos", "0"]
  accuracy = result["accuracy_at_step"]
  assert len(accuracy) == result["num_steps"] == 10
  assert 0.5 < accuracy[0] < accuracy[-1] == result["eos_accuracy"]
  assert len(set(result["frontier"]["mean_spike_step"])) > 5
  assert (tmp_path / "figures" / "frontier.png").exists()


def test_the_ceiling_trains_on_every_step_of_the_frames_so_far():
  task, _ = mnist_setup(model="cnn")
  records = task.fetch(task.data, np.arange(300, dtype=np.int32))
  batch = task.augment(jax.random.key(0), records)
  assert batch.inputs.shape == (300, 1, 28, 28, 1) and np.all(batch.lengths == 1)
  frames = np.asarray(mnist.accumulate(records.inputs[..., None]))
  which = np.all(frames == np.asarray(batch.inputs), axis=(2, 3, 4))  # equal frames count twice
  assert np.all(which.any(1)) and np.all(which.sum(0) > 20)
  assert np.array_equal(batch.labels, records.labels)
  read = next(task.validation.batches())
  assert read.inputs.shape[1:] == (10, 28, 28, 1) and np.all(read.lengths == 10)


def test_the_ceiling_of_a_prefix_sees_it_alone():
  task, _ = mnist_setup(model="cnn", prefix="3")
  records = task.fetch(task.data, np.arange(8, dtype=np.int32))
  for batch in (task.augment(jax.random.key(0), records), next(task.validation.batches())):
    assert batch.inputs.shape[1:] == (1, 28, 28, 1) and np.all(batch.lengths == 1)
    assert len(np.unique(batch.inputs)) == 4  # 0, and what spiked in the first three steps
  known = mnist.accumulate(records.inputs[..., None])[:, 2]
  np.testing.assert_array_equal(task.augment(jax.random.key(0), records).inputs[:, 0], known)
  assert task.pictures is None  # there is no time to draw
  with pytest.raises(ValueError, match="--prefix is for --model=cnn"):
    mnist_setup(model="cnn_lstm", prefix="3")


def test_an_lstm_on_a_convolutional_network_of_all_pixels_so_far():
  task, _ = mnist_setup(model="cnn_lstm")
  x = next(iter(task.validation.batches())).inputs[0]
  params = task.classifier.init(jax.random.key(0), x[0])
  encode = jax.jit(functools.partial(task.classifier.encode, params))
  assert x.shape == (10, 28, 28, 1)
  assert params["encoder"]["params"]["Conv_0"]["kernel"].shape == (3, 3, 1, 16)
  assert np.ptp([encode(step) for step in x[:3]], axis=0).max() > 0


def test_speech_read_whole_by_a_network_as_large(words, tmp_path):
  given = dict(
    dataset="folder",
    data_dir=str(words),
    keywords="low,high",
    cache_dir=str(tmp_path / "cache"),
    model="cnn",
  )
  trained = given | {"epochs": "12", "batch_size": "18"}
  assert run(speech_binary, tmp_path / "run", **trained) == 0
  result = json.loads((tmp_path / "run" / "result.json").read_text())
  assert result["num_steps"] == 1 and result["step_ms"] is None
  assert result["rc_accuracy"] == result["eos_accuracy"] == 1.0
  assert result["mean_heard_ms"] == 1012.5
  assert not (tmp_path / "run" / "examples.npz").exists()
  pictures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
  assert pictures == {"training", "cost"}
  with pytest.raises(ValueError, match="--pad_short=false does not fit --model=cnn"):
    run(speech_binary, tmp_path / "short", **trained, pad_short="false")
  assert not (tmp_path / "short").exists()

  size = {}
  for model in ("lstm", "dense_lstm", "cnn"):  # each of its default units
    with flagsaver.as_parsed(progress="false", batch_size="18", **(given | {"model": model})):
      task, _ = speech_binary.setup()
    x = next(iter(task.validation.batches())).inputs[0, 0]
    params = jax.eval_shape(task.classifier.init, jax.random.key(0), x)
    size[model] = sum(a.size for a in jax.tree.leaves(params))
  assert size["cnn"] == pytest.approx(size["lstm"], rel=0.02)
  assert 0.95 * size["lstm"] < size["dense_lstm"] <= size["lstm"]


def test_an_lstm_on_dense_layers_of_each_step(words, tmp_path):
  given = dict(dataset="folder", data_dir=str(words), keywords="low,high", model="dense_lstm")
  folders = dict(cache_dir=str(tmp_path / "cache"), workdir=str(tmp_path / "run"))
  with flagsaver.as_parsed(progress="false", batch_size="18", units="16", **given, **folders):
    task, _ = speech_binary.setup()
  x = next(iter(task.validation.batches())).inputs[0, 0]
  params = task.classifier.init(jax.random.key(0), x)
  kernels = [a.shape for a in jax.tree.leaves(params["encoder"]) if a.ndim == 2]
  assert x.shape == (420,) and sorted(kernels) == [(32, 16), (420, 32)]


def test_a_workdir_from_before_the_flag_of_the_model_goes_on(tmp_path):
  now = flags.settings("speech", "epochs", beta=0.2, learning_rate=1, epochs=1).flags
  before = {name: value for name, value in now.items() if name != "model"}
  assert now["model"] == "lstm" and now["objective"] == "rc"
  workdir.Workdir(str(tmp_path), "speech", before)
  with pytest.raises(ValueError, match=r"other settings \(model was 'lstm', is 'cnn'\)"):
    workdir.Workdir(str(tmp_path), "speech", now | {"model": "cnn"})
  workdir.Workdir(str(tmp_path), "speech", now)


def mnist_setup(**given):
  with flagsaver.as_parsed(dataset="digits", **(FAST | given)):
    return temporal_mnist.setup()


@pytest.mark.parametrize("given", [{"shift": "2"}, {"rotate": "9"}, {"zoom": "0.1"}])
def test_images_are_changed_in_training_alone(given):
  (plain, _), (shifted, _) = mnist_setup(), mnist_setup(**given)
  records = plain.fetch(plain.data, np.arange(20, dtype=np.int32))
  key = jax.random.key(0)
  a, b = (task.augment(key, records) for task in (plain, shifted))
  assert np.array_equal(a.labels, b.labels) and not np.array_equal(a.inputs, b.inputs)
  a, b = (next(task.validation.batches()) for task in (plain, shifted))
  assert np.array_equal(a.inputs, b.inputs)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtype_is_of_the_computation_not_of_the_parameters(dtype):
  task = loop.in_dtype(*mnist_setup(dtype=dtype))
  state = loop.initial_state(task, mnist_setup(dtype=dtype)[1])
  carry = task.classifier.initial_carry(state.params)
  assert {str(a.dtype) for a in jax.tree.leaves(state.params)} == {"float32"}
  assert {str(a.dtype) for a in jax.tree.leaves(carry)} == {dtype}


def test_killed_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, capsys):
  """SIGINT at the second evaluation; the same command goes on to the same numbers.

  With an average of the parameters, which must travel too, and what else an optimizer may have;
  the part before the kill gets its data from the host, which changes no number either.
  """
  module, given = BINARIES["temporal_mnist"]
  given = given | dict(epochs="4", average="0.9", schedule="cosine", weight_decay="0.01")
  assert run(module, tmp_path / "whole", **given) == 0

  append = workdir.Workdir.append_metrics

  def append_and_kill(self, line):
    append(self, line)
    if line["epoch"] == 2:
      os.kill(os.getpid(), signal.SIGINT)

  with monkeypatch.context() as patch:
    patch.setattr(workdir.Workdir, "append_metrics", append_and_kill)
    assert run(module, tmp_path / "parts", **given, data_on_device="false") == 130
  assert "the same command goes on" in capsys.readouterr().err
  assert not (tmp_path / "parts" / "result.json").exists()
  assert run(module, tmp_path / "parts", **given) == 0
  assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
  results = [json.loads((tmp_path / n / "result.json").read_text()) for n in ("parts", "whole")]
  times = {"seconds": 0, "update_ms": 0}
  assert results[0] | times == results[1] | times


def test_sigkill_loses_only_what_came_after_the_last_checkpoint(tmp_path):
  """A real process, killed without warning while it trains; run again as the user types it."""
  command = [
    sys.executable, "-m", "experiments.spotting", f"--workdir={tmp_path / 'run'}", "--units=8",
    "--checkpoint_seconds=1", "--num_test=500", "--num_examples=100000000",
  ]  # fmt: skip
  process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
  try:
    checkpoints = tmp_path / "run" / "checkpoints"
    while not any(p.name.isdigit() and int(p.name) > 1 for p in checkpoints.glob("*")):
      assert process.poll() is None, "the run ended by itself"
      time.sleep(0.1)
  finally:
    process.kill()
    process.wait()
  command[-1] = "--num_examples=128"  # fewer: evaluates the best checkpoint and reports
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  result = json.loads((tmp_path / "run" / "result.json").read_text())
  assert result["trained"]["step"] > 1 and result["num_test"] == 500
  assert "accuracy at the first spike" in done.stdout


@pytest.mark.usefixtures("no_pictures")
def test_more_epochs_go_on_and_fewer_report(tmp_path):
  module, given = BINARIES["temporal_mnist"]
  assert run(module, tmp_path, **given) == 0
  assert run(module, tmp_path, **(given | {"epochs": "2"})) == 0
  assert [line["epoch"] for line in lines(tmp_path)] == [1, 2]
  assert run(module, tmp_path, **given) == 0
  assert json.loads((tmp_path / "result.json").read_text())["trained"]["epoch"] == 2


@pytest.mark.usefixtures("no_pictures")
def test_without_holdout_the_last_checkpoint_is_reported(tmp_path):
  module, given = BINARIES["temporal_mnist"]
  assert run(module, tmp_path, **(given | {"epochs": "2", "holdout": "0"})) == 0
  result = json.loads((tmp_path / "result.json").read_text())
  assert result["chosen_at"]["step"] == result["trained"]["step"]
  assert result["chosen"] == "last"
  with pytest.raises(ValueError, match="--choose=best needs examples held out"):
    run(module, tmp_path, **(given | {"epochs": "2", "holdout": "0", "choose": "best"}))


@pytest.mark.usefixtures("no_pictures")
def test_early_stop_below_the_largest_class(tmp_path, monkeypatch):
  """Validation at 0, 1 and 0 of 1: only the second fall is one from above (A.4)."""
  module, given = BINARIES["temporal_mnist"]
  accuracies = iter([0.0, 1.0, 0.0, 1.0, 1.0])

  def scripted(*given):
    evaluation = evaluate(*given)
    right = next(accuracies) == 1.0
    return evaluation._replace(predicted=evaluation.label + (not right))

  monkeypatch.setattr(loop, "evaluate", scripted)  # of validation; the test split is read elsewhere
  given = given | {"epochs": "5", "early_stop": "true"}
  assert run(module, tmp_path, **given) == 0
  result = json.loads((tmp_path / "result.json").read_text())
  assert result["stopped_early"] and result["trained"]["epoch"] == 3
  assert result["chosen_at"]["epoch"] == 2
  assert "The early stop of A.4 ended this run" in (tmp_path / "report.md").read_text()
  assert run(module, tmp_path, **given) == 0  # and stays ended
  assert json.loads((tmp_path / "result.json").read_text())["trained"]["epoch"] == 3
  accuracies = iter([0.0, 1.0, 0.0, 1.0, 1.0])
  assert run(module, tmp_path / "on", **(given | {"early_stop": "false"})) == 0
  assert json.loads((tmp_path / "on" / "result.json").read_text())["trained"]["epoch"] == 5


def test_a_picture_is_redrawn_without_training(tmp_path):
  module, given = BINARIES["spotting"]
  assert run(module, tmp_path, **given) == 0
  picture = tmp_path / "figures" / "frontier.png"
  before = picture.read_bytes()
  picture.unlink()
  report.write(tmp_path)
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
    ("spotting", {"model": "cnn"}, "--model=cnn does not fit spotting; it has lstm"),
  ],
)
def test_bad_flags_are_one_clear_sentence(name, given, message, tmp_path):
  module, defaults = BINARIES[name]
  with pytest.raises(ValueError, match=message) as error:
    run(module, tmp_path / "run", **(defaults | given))
  assert "\n" not in str(error.value)
  assert not (tmp_path / "run").exists(), "bad flags must not leave a workdir behind"


@pytest.mark.parametrize(
  "given, message",
  [
    (
      {"keywords": "low,tall"},
      "keywords not in the data: tall; the words there are high, low, mid",
    ),
    ({"data_dir": "/nowhere/at/all"}, "/nowhere/at/all does not exist"),
  ],
)
def test_bad_speech_flags(given, message, words, tmp_path):
  flags_given = dict(dataset="folder", data_dir=str(words), keywords="low", cache_dir=str(tmp_path))
  with pytest.raises((ValueError, OSError), match=message):
    run(speech_binary, tmp_path / "run", **(flags_given | given))


def test_a_workdir_of_other_settings_is_refused_untouched(tmp_path):
  module, given = BINARIES["spotting"]
  assert run(module, tmp_path, **given) == 0
  before = {p: p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*"))}
  with pytest.raises(ValueError, match=r"beta was '0', is '0\.3'.*choose another --workdir"):
    run(module, tmp_path, **given, beta="0.3")
  with pytest.raises(ValueError, match="experiment was 'spotting', is 'two_sequence'"):
    run(two_sequence, tmp_path, **given)
  assert {p: p.stat().st_mtime_ns for p in sorted(tmp_path.rglob("*"))} == before


def test_a_schedule_that_falls_over_the_training_keeps_its_length(tmp_path):
  given = {"schedule": "constant", "epochs": 1.0}
  workdir.Workdir(tmp_path / "constant", "speech", given)
  workdir.Workdir(tmp_path / "constant", "speech", given | {"epochs": 2.0})
  given["schedule"] = "cosine"
  workdir.Workdir(tmp_path / "cosine", "speech", given)
  with pytest.raises(ValueError, match=r"epochs was 1\.0, is 2\.0.*choose another --workdir"):
    workdir.Workdir(tmp_path / "cosine", "speech", given | {"epochs": 2.0})


def test_a_workdir_from_before_a_flag_existed_goes_on_with_its_default(tmp_path):
  workdir.Workdir(tmp_path, "temporal_mnist", {"theta": 0.9})
  with pytest.raises(ValueError, match=r"average was 0\.0, is 0\.9"):
    workdir.Workdir(tmp_path, "temporal_mnist", {"theta": 0.9, "average": 0.9})
  workdir.Workdir(tmp_path, "temporal_mnist", {"theta": 0.9, "average": 0.0})


def test_a_workdir_that_is_a_file(tmp_path):
  (tmp_path / "file").write_text("mine")
  with pytest.raises(ValueError, match="is a file; name a folder"):
    run(spotting, tmp_path / "file", num_examples="128")
  with pytest.raises(ValueError, match="cannot be written"):
    run(spotting, tmp_path / "file" / "below", num_examples="128")
  assert (tmp_path / "file").read_text() == "mine"


def test_a_bad_flag_on_the_command_line_is_one_line_and_no_traceback(tmp_path):
  command = [sys.executable, "-m", "experiments.spotting", "--theta=2", f"--workdir={tmp_path}/run"]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 2
  assert done.stderr.strip() == (
    "error: theta is 2.0; a threshold on a probability lies between 0 and 1"
  )


@pytest.mark.parametrize(
  "text, points",
  [
    ("0.2", ((0, 0.2),)),
    ("0", ((0, 0),)),
    ("0.5,30:0.165", ((0, 0.5), (30, 0.165))),
    ("1, 2:.5, 4.5:1e-3", ((0, 1), (2, 0.5), (4.5, 0.001))),
    ("+1., 3:0.99999995", ((0, 1), (3, 0.99999995))),
  ],
)
def test_a_schedule_is_parsed(text, points):
  assert flags.parse_points("beta", text) == points
  assert flags.parse_points("beta", flags._text(points)) == points


@pytest.mark.parametrize("name", ["beta", "theta"])
def test_a_schedule_changes_at_its_epoch(name):
  with flagsaver.as_parsed(epochs="4", **{name: "0.5,3:0.165"}):
    s = flags.settings("temporal_mnist", "epochs", beta=0, learning_rate=1, epochs=1)
  value = s.schedule_of(name, updates_per_epoch=10)
  assert [float(value(k)) for k in (0, 29, 30, 100)] == pytest.approx([0.5, 0.5, 0.165, 0.165])
  assert s.flags[name] == "0.5,3:0.165"


def test_a_low_theta_at_first_trains_on_the_first_step_and_is_read_at_the_last_theta(tmp_path):
  given = dict(dataset="digits", units="4", epochs="2", batch_size="641", beta="0")
  run(temporal_mnist, tmp_path, **given, theta="0.101,1:0.95")
  first, second = workdir.read_metrics(tmp_path)
  result = json.loads((tmp_path / "result.json").read_text())
  assert first["train_mean_spike_step"] == 1 < second["train_mean_spike_step"]
  assert first["mean_spike_step"] == result["mean_spike_step"] == 10
  assert (tmp_path / "figures/examples.png").exists()

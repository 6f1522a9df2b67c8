"""Series as a user types it: from files to the files of a run."""

import json
import shutil

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from running import FAST, read_json, run, set_up
from series_files import WRITERS, write_ts

import deploy
from data_pipelines.series import join_samples
from deploy.commands import load_speech_run
from deploy.models import Model
from experiments import series
from experiments.harness import report
from experiments.harness.figures import draw_example_sequences
from experiments.harness.run import note_beta
from experiments.harness.workdir import read_metrics
from rc_jax import Batch

GIVEN = FAST | {"batch_size": "8", "units": "6"}
TRAINED = GIVEN | {
  "batch_size": "16", "epochs": "20", "learning_rate": "0.1", "engine": "full"
}  # fmt: skip
CLASSES = ("up", "down", "$flat_$")  # no matplotlib's mathematics


def make(number, seed, channels=1):
  """Lines that rise, fall or stay, in noise, of 6 to 9 steps."""
  random = np.random.default_rng(seed)
  values, labels = [], []
  for i in range(number):
    steps = np.arange(random.integers(6, 10))
    slope = (1, -1, 0)[i % 3]
    rows = 10 + slope * steps[:, None] + 0.3 * random.normal(size=(len(steps), channels))
    values.append(rows)
    labels.append(CLASSES[i % 3])
  return values, labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """The two files of a data set."""
  root = tmp_path_factory.mktemp("lines")
  write_ts(root / "Lines_TRAIN.ts", *make(15, 0))
  write_ts(root / "Lines_TEST.ts", *make(12, 1))
  return root


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory):
  """A finished run; batches are larger than the 12 series that train."""
  workdir = tmp_path_factory.mktemp("finished")
  assert run(series, workdir, data_dir=str(folder), **TRAINED) == 0
  return workdir


def test_a_run_leaves_the_files_of_a_run_and_learns(finished):
  result, config = read_json(finished), read_json(finished, "config.json")
  assert result["rc_accuracy"] > 0.8 and result["num_test"] == 12
  assert result["class_names"] == ["$flat_$", "down", "up"]
  assert result["trained"]["step"] == 20 and result["num_steps"] == 9
  assert 0 < result["earliness"] <= 1
  accuracy, saved = result["rc_accuracy"], 1 - result["earliness"]
  expected = 0 if saved == 0 else 2 / (1 / accuracy + 1 / saved)
  assert result["harmonic_mean"] == pytest.approx(expected)
  assert config["flags"]["units"] == 6 and config["data"]["splits"]["train"]["examples"] == 12
  names = ("model.json", "metrics.jsonl", "report.md", "figures/examples.png", "examples.npz")
  assert all((finished / name).is_file() for name in names)
  report = (finished / "report.md").read_text()
  assert "earliness: mean share of a series seen before the decision" in report
  shown = np.load(finished / "examples.npz")
  assert shown["inputs"].shape == (3, 9, 1) and np.isfinite(shown["inputs"]).all()


def test_examples_are_drawn_up_to_their_ends(finished):
  shown = dict(np.load(finished / "examples.npz"))
  assert sorted(shown["lengths"])[0] < 9
  with plt.rc_context({"text.parse_math": False}):
    figure = draw_example_sequences(read_json(finished), shown)
  drawn = [len(axes.lines[0].get_xdata()) for axes in figure.axes[3:]]
  assert drawn == list(shown["lengths"])
  plt.close(figure)


def test_a_run_can_be_loaded_and_decides_about_values_of_its_own(finished, folder):
  loaded = deploy.load_run(finished)
  assert loaded.model == Model("lstm", {"units": 6, "num_classes": 3, "layers": 1})
  assert loaded.input_shape == (1,) and loaded.experiment == "series"
  reading = {"channels": ["channel 1"], "missing": "hold", "samples_per_step": 1}
  assert loaded.reading == reading | {"validation_share": 0.2}
  values, labels = make(12, 1)
  right = []
  for rows, label in zip(values, labels, strict=True):
    x = (rows - loaded.statistics["mean"]) / loaded.statistics["std"]
    carry, answer = loaded.classifier.initial_carry(loaded.params), None
    for step in x.astype(np.float32):
      carry, logits = loaded.classifier.run_step(loaded.params, carry, step)
      probabilities = jax.nn.softmax(logits)
      answer = loaded.class_names[int(probabilities.argmax())]
      if probabilities.max() >= loaded.theta:
        break
    right.append(answer == label)
  assert np.mean(right) == pytest.approx(read_json(finished)["rc_accuracy"])


def test_what_lets_no_network_be_early_is_said(folder, finished, tmp_path):
  """That a note reaches the report, the tests of a run's circumstances show."""
  limit = 1 / (0.95 * (np.log(0.95 / 0.05) + np.log(2)))
  assert "lies above" not in (finished / "report.md").read_text()
  for given, is_above in (
    ({"beta": f"{0.99 * limit}"}, False),
    ({"beta": f"{1.01 * limit}"}, True),
    ({"beta": "0.5,10:0.1"}, False),
    ({"beta": "0.5", "objective": "eos"}, False),
  ):
    task, settings = set_up(series, data_dir=str(folder), **(TRAINED | given))
    assert (
      any("lies above 0.289, the limit for 3" in n for n in note_beta(task, settings).notes)
      == is_above
    )
  with pytest.raises(ValueError, match="--samples_per_step=9 makes one step of a whole series"):
    run(series, tmp_path, data_dir=str(folder), **TRAINED, samples_per_step="9")


def test_the_report_has_the_validation_of_the_parameters_that_it_tells_of(finished):
  last = read_metrics(finished)[-1]["rc_accuracy"]
  best = read_json(finished)["best_validation_rc_accuracy"]
  said = (finished / "report.md").read_text()
  assert f"of the same parameters | {last:.4f}" in " ".join(said.split())
  assert f"the training's best | {best:.4f}" in " ".join(said.split())


def test_commands_that_hear_refuse_it(finished):
  message = "is a run of series; give one of experiments.speech"
  with pytest.raises(ValueError, match=message):
    load_speech_run(str(finished))


def test_a_report_can_be_made_anew_from_the_files_that_are_kept(finished, tmp_path):
  for name in ("config.json", "result.json", "metrics.jsonl", "examples.npz"):
    shutil.copy(finished / name, tmp_path)
  report.write(tmp_path)
  assert (tmp_path / "report.md").read_text() == (finished / "report.md").read_text()


def test_other_data_in_the_same_workdir_is_refused(finished, tmp_path):
  values, labels = make(15, 0)
  write_ts(tmp_path / "Lines_TRAIN.ts", values, labels)
  write_ts(tmp_path / "Lines_TEST.ts", *make(12, 2))
  with pytest.raises(ValueError, match=r"data_dir was .*choose another --workdir"):
    run(series, finished, data_dir=str(tmp_path), **TRAINED)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_makes_the_same_task(name, folder, tmp_path):
  for split, (number, seed) in {"train": (15, 0), "test": (12, 1)}.items():
    file = name.replace("train", split).replace("TRAIN", split.upper())
    WRITERS[name](tmp_path / file, *make(number, seed))
  task, _ = set_up(series, data_dir=str(tmp_path), **GIVEN)
  expected, _ = set_up(series, data_dir=str(folder), **GIVEN)
  assert task.fingerprint == expected.fingerprint and task.statistics == expected.statistics
  assert task.updates_per_epoch == 2  # 12 series in batches of 8: the second is filled
  assert task.evaluate_every == 20


def test_flags_make_the_network_and_the_steps(folder):
  given = GIVEN | {"model": "gru", "layers": "2", "samples_per_step": "4"}
  task, settings = set_up(series, data_dir=str(folder), **given)
  assert task.model == Model("gru", {"units": 6, "num_classes": 3, "layers": 2})
  batch = next(task.test.batches())
  assert batch.inputs.shape == (12, 3, 4) and set(batch.lengths.tolist()) == {2, 3}
  plain, _ = set_up(series, data_dir=str(folder), **GIVEN)
  whole = next(plain.test.batches())
  joined = join_samples(Batch(*whole), 4)
  np.testing.assert_array_equal(joined.inputs, batch.inputs)
  assert settings.choose == "last" and settings.batch_size == 8


def test_a_batch_may_be_larger_than_the_data(folder):
  task, _ = set_up(series, data_dir=str(folder), **(GIVEN | {"batch_size": "64"}))
  assert task.updates_per_epoch == 1
  batch = task.fetch(task.data, task.items[0])
  assert batch.inputs.shape[0] == 64
  assert set(np.bincount(task.items[0])) == {5, 6}  # 64 of 12 records: each about as often


def test_without_held_out_series_nothing_is_chosen(folder):
  given = GIVEN | {"validation_share": "0"}
  task, _ = set_up(series, data_dir=str(folder), **given)
  assert len(task.validation.labels) == 15
  assert any("repeats the training series" in note for note in task.notes)
  with pytest.raises(ValueError, match="--choose=best needs series held out"):
    set_up(series, data_dir=str(folder), **given, choose="best")


@pytest.mark.parametrize(
  "given, message",
  [
    ({}, "give --data_dir=FOLDER, or --train=FILE and --test=FILE, or --dataset"),
    ({"data_dir": "nowhere"}, "--data_dir=nowhere is no folder"),
    ({"dataset": "mnist"}, "dataset is 'mnist'; choose one of ACSF1"),
    ({"model": "cnn"}, "--model=cnn does not fit series; it has lstm, gru"),
    ({"num_examples": "9"}, "--num_examples does not fit series"),
  ],
)
def test_bad_flags_are_one_clear_sentence(given, message, tmp_path):
  with pytest.raises(ValueError, match=message) as error:
    run(series, tmp_path / "run", **given)
  assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_a_bad_file_is_told_before_anything_is_written(tmp_path):
  (tmp_path / "train.csv").write_text("id,time,x,label\na,0,1,up\na,1,oops,up\n")
  (tmp_path / "test.csv").write_text("id,time,x,label\na,0,1,up\n")
  with pytest.raises(ValueError, match=r"train\.csv, line 3: column 'x' is 'oops', which is no"):
    run(series, tmp_path / "run", data_dir=str(tmp_path), **GIVEN)
  assert not (tmp_path / "run").exists()


def test_the_result_is_json(finished):
  json.loads((finished / "result.json").read_text(), parse_constant=pytest.fail)

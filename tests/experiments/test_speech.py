"""Speech as a user types it, on recordings of tones."""

import json
import shutil

import jax
import numpy as np
import pytest
from running import read_json, run, set_up

from deploy import load_run
from experiments import speech


def test_speech_learns_tones_and_reports_what_it_heard(words, tmp_path, capsys):
  given = dict(
    dataset="folder",
    data_dir=str(words),
    keywords="low,high",
    epochs="12",
    choose="last",  # the first of nine validation clips all right may be luck
    batch_size="18",
    beta="0.1",
    engine="full",  # compiles a quarter of early exit's loops
    cache_dir=str(tmp_path / "cache"),
  )
  assert run(speech, tmp_path / "run", **(given | {"units": "16"})) == 0
  result = read_json(tmp_path / "run")
  assert result["class_names"] == ["low", "high", "unknown"]
  assert result["rc_accuracy"] == 1.0
  step = result["mean_spike_step"] - 1
  assert result["mean_heard_ms"] == pytest.approx((step + 20) * 10 + 12.5)
  assert (tmp_path / "run" / "figures" / "examples.png").exists()
  assert result["axes"] == {
    "image_shape": None, "sample_rate": 16_000, "clip_s": 1.0, "first_heard_s": 0.2125,
  }  # fmt: skip
  assert "train: 54 clips" in capsys.readouterr().out
  meta = next((tmp_path / "run" / "checkpoints").glob("*/meta/metadata"))
  saved = read_json(meta.parent, meta.name)
  assert len(saved["saved"]["mean"]) == 20 and saved["class_names"][-1] == "unknown"


def test_speech_read_whole_by_a_network_as_large(words, tmp_path):
  given = dict(
    dataset="folder",
    data_dir=str(words),
    keywords="low,high",
    cache_dir=str(tmp_path / "cache"),
    model="cnn",
  )
  trained = given | {"epochs": "12", "batch_size": "18"}
  assert run(speech, tmp_path / "run", **trained) == 0
  result = read_json(tmp_path / "run")
  assert result["num_steps"] == 1 and result["step_ms"] is None
  assert result["rc_accuracy"] == result["eos_accuracy"] == 1.0
  assert result["mean_heard_ms"] == 1012.5
  assert not (tmp_path / "run" / "examples.npz").exists()
  pictures = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
  assert pictures == {"training", "cost"}
  with pytest.raises(ValueError, match="--pad_short=false does not fit --model=cnn"):
    run(speech, tmp_path / "short", **trained, pad_short="false")
  assert not (tmp_path / "short").exists()

  size = {}
  for model in ("lstm", "dense_lstm", "cnn"):  # each of its default units
    task, _ = set_up(speech, progress="false", batch_size="18", **(given | {"model": model}))
    assert task.vmap_members == (model == "cnn")
    x = next(iter(task.validation.batches())).inputs[0, 0]
    params = jax.eval_shape(task.classifier.init, jax.random.key(0), x)
    size[model] = sum(a.size for a in jax.tree.leaves(params))
  assert size["cnn"] == pytest.approx(size["lstm"], rel=0.02)
  assert 0.95 * size["lstm"] < size["dense_lstm"] <= size["lstm"]


def test_an_lstm_on_dense_layers_of_each_step(words, tmp_path):
  given = dict(dataset="folder", data_dir=str(words), keywords="low,high", model="dense_lstm")
  given |= dict(cache_dir=str(tmp_path / "cache"), workdir=str(tmp_path / "run"))
  task, _ = set_up(speech, progress="false", batch_size="18", units="16", **given)
  x = np.asarray(next(iter(task.validation.batches())).inputs)[0, 0]
  params = jax.eval_shape(task.classifier.init, jax.random.key(0), x)
  kernels = [a.shape for a in jax.tree.leaves(params["encoder"]) if a.ndim == 2]
  assert x.shape == (420,) and sorted(kernels) == [(32, 16), (420, 32)]


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
    run(speech, tmp_path / "run", **(flags_given | given))


@pytest.mark.usefixtures("no_pictures")
def test_scenes_are_trained_on_and_gone_on_with(words, tmp_path):
  """A run on clips, then one that begins with its parameters, on sequences with a lead-in."""
  given = dict(
    dataset="folder",
    data_dir=str(words),
    keywords="low,high",
    batch_size="18",
    engine="full",
    units="8",
    clip_at="loudest",
    cache_dir=str(tmp_path / "cache"),
  )
  assert run(speech, tmp_path / "clips", **given, epochs="1") == 0
  scenes = dict(background="synthetic", snr_db="10,30", lead_in_seconds="0.8", negatives="0.3")
  more = given | scenes | {"init_from": str(tmp_path / "clips"), "learning_rate": "1e-9"}
  assert run(speech, tmp_path / "live", **more, epochs="1") == 0
  first, then = (load_run(tmp_path / name) for name in ("clips", "live"))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), first.params, then.params)
  assert first.reading == then.reading and then.reading["clip_at"] == "loudest"
  lines = (tmp_path / "live" / "metrics.jsonl").read_text().splitlines()
  # A scene is longer than a clip, whose 81 steps validation has.
  assert json.loads(lines[0])["train_mean_spike_step"] > 81
  assert read_json(tmp_path / "live")["num_steps"] == 81
  shutil.rmtree(tmp_path / "clips")  # a run that has begun goes on without it
  assert run(speech, tmp_path / "live", **more, epochs="2") == 0
  with pytest.raises(ValueError, match="clips is no folder"):
    run(speech, tmp_path / "wider", **(more | {"units": "9"}), epochs="1")
  (tmp_path / "live").rename(tmp_path / "clips")
  with pytest.raises(ValueError, match="has other network than this run"):
    run(speech, tmp_path / "wider", **(more | {"units": "9"}), epochs="1")
  assert not (tmp_path / "wider").exists()


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ({"negatives": "0.3", "keywords": "all"}, "words besides --keywords"),
    ({"negatives": "1"}, "--negatives is 1.0; give 0 to less than 1"),
    ({"other_speech": "true"}, "--other_speech is a part of --negatives"),
    ({"snr_db": "10,20"}, "--snr_db is of --background"),
    ({"lead_in_seconds": "0.2"}, "give 0, or 0.3"),
    ({"lead_out_seconds": "-1"}, "give 0 to 10"),
    ({"dataset": "speech_commands"}, "has a folder .low., as recordings .* give --dataset=folder"),
    ({"lead_in_seconds": "1", "model": "cnn"}, "do not fit --model=cnn"),
    ({"background": "synthetic", "snr_db": "30,10"}, "--snr_db is 30,10; give the lowest"),
    ({"background": "nowhere"}, "nowhere is no folder"),
  ],
)
def test_scenes_that_cannot_be(flags, message, words, tmp_path):
  given = dict(dataset="folder", data_dir=str(words), keywords="low", cache_dir=str(tmp_path / "c"))
  with pytest.raises(ValueError, match=message):
    run(speech, tmp_path / "run", **(given | flags), epochs="1", batch_size="8")
  assert not (tmp_path / "run").exists()

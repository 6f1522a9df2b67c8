"""Speech as a user types it, on recordings of tones."""

import jax
import pytest
from running import read_json, run, set_up

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
  x = next(iter(task.validation.batches())).inputs[0, 0]
  params = task.classifier.init(jax.random.key(0), x)
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

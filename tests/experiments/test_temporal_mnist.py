"""Temporal MNIST as a user types it, on digits of 8 x 8 pixels."""

import functools

import jax
import numpy as np
import pytest
from running import BINARIES, mnist_setup, read_json, run

from data_pipelines import temporal_mnist as mnist
from experiments import temporal_mnist
from experiments.harness import workdir


def draw_batch(task, number):
  """The first records of the training split, as stored and as an update trains on them."""

  @jax.jit
  def draw(key, data):
    records = task.fetch(data, np.arange(number, dtype=np.int32))
    return records, task.make_steps(key, records)

  return jax.device_get(draw(jax.random.key(0), task.data))


def test_the_ceiling_of_temporal_mnist_sees_the_frames_so_far(tmp_path):
  given = dict(dataset="digits", epochs="2", model="cnn", shift="1", batch_size="32")
  assert run(temporal_mnist, tmp_path, **given) == 0
  result, config = read_json(tmp_path), read_json(tmp_path, "config.json")
  given = [config["flags"][name] for name in ("model", "objective", "beta")]
  assert given == ["cnn", "eos", "0"]
  accuracy = result["accuracy_at_step"]
  assert len(accuracy) == result["num_steps"] == 10
  assert 0.5 < accuracy[0] < accuracy[-1] == result["eos_accuracy"]
  assert len(set(result["frontier"]["mean_spike_step"])) > 5
  assert (tmp_path / "figures" / "frontier.png").exists()
  assert result["axes"]["image_shape"] == [28, 28]


def test_the_ceiling_trains_on_every_step_of_the_frames_so_far():
  task, _ = mnist_setup(model="cnn")
  records, batch = draw_batch(task, 300)
  assert batch.inputs.shape == (300, 1, 28, 28, 1) and np.all(batch.lengths == 1)
  frames = np.asarray(jax.jit(mnist.accumulate)(records.inputs[..., None]))
  which = np.all(frames == batch.inputs, axis=(2, 3, 4))  # equal frames count twice
  assert np.all(which.any(1)) and np.all(which.sum(0) > 20)
  assert np.array_equal(batch.labels, records.labels)
  read = next(task.validation.batches())
  assert read.inputs.shape[1:] == (10, 28, 28, 1) and np.all(read.lengths == 10)


def test_the_ceiling_of_a_prefix_sees_it_alone():
  task, _ = mnist_setup(model="cnn", prefix="3")
  records, trained = draw_batch(task, 8)
  for batch in (trained, next(task.validation.batches())):
    assert batch.inputs.shape[1:] == (1, 28, 28, 1) and np.all(batch.lengths == 1)
    assert len(np.unique(batch.inputs)) == 4  # 0, and what spiked in the first three steps
  frames = np.asarray(jax.jit(mnist.accumulate)(records.inputs[..., None]))
  np.testing.assert_array_equal(trained.inputs[:, 0], frames[:, 2])
  assert task.pictures is None  # there is no time to draw
  with pytest.raises(ValueError, match="--prefix is for --model=cnn"):
    mnist_setup(model="cnn_lstm", prefix="3")


def test_an_lstm_on_a_convolutional_network_of_all_pixels_so_far():
  task, _ = mnist_setup(model="cnn_lstm")
  x = np.asarray(next(iter(task.validation.batches())).inputs)[0]
  params = jax.jit(task.classifier.init)(jax.random.key(0), x[0])
  encode = jax.jit(functools.partial(task.classifier.encode, params))
  assert x.shape == (10, 28, 28, 1)
  assert params["encoder"]["params"]["Conv_0"]["kernel"].shape == (3, 3, 1, 16)
  assert np.ptp([encode(step) for step in x[:3]], axis=0).max() > 0


@pytest.mark.parametrize("model", ["lstm", "cnn_lstm"])
def test_the_first_step_shows_the_values_that_are_asked_for(model):
  ten_bins, all_ink = (
    np.asarray(next(mnist_setup(model=model, **given)[0].validation.batches()).inputs)[:, 0]
    for given in ({}, {"first_step_from": "1"})
  )
  assert 0 < np.mean(ten_bins > 0) < np.mean(all_ink > 0) < 1


@pytest.mark.parametrize("given", [{"shift": "2"}, {"rotate": "9"}, {"zoom": "0.1"}])
def test_images_are_changed_in_training_alone(given):
  (plain, _), (shifted, _) = mnist_setup(), mnist_setup(**given)
  a, b = (draw_batch(task, 20)[1] for task in (plain, shifted))
  assert np.array_equal(a.labels, b.labels) and not np.array_equal(a.inputs, b.inputs)
  a, b = (next(task.validation.batches()) for task in (plain, shifted))
  assert np.array_equal(a.inputs, b.inputs)


@pytest.mark.usefixtures("no_pictures")
def test_without_holdout_the_last_checkpoint_is_reported(tmp_path):
  module, given = BINARIES["temporal_mnist"]
  given = given | {"engine": "full"}
  assert run(module, tmp_path, **(given | {"epochs": "2", "holdout": "0"})) == 0
  result = read_json(tmp_path)
  assert result["chosen_at"]["step"] == result["trained"]["step"]
  assert result["chosen"] == "last"
  with pytest.raises(ValueError, match="--choose=best needs examples held out"):
    run(module, tmp_path, **(given | {"epochs": "2", "holdout": "0", "choose": "best"}))


def test_a_low_theta_at_first_trains_on_the_first_step_and_is_read_at_the_last_theta(tmp_path):
  given = dict(dataset="digits", units="4", epochs="2", batch_size="641", beta="0", engine="full")
  run(temporal_mnist, tmp_path, **given, theta="0.101,1:0.95")
  first, second = workdir.read_metrics(tmp_path)
  result = read_json(tmp_path)
  assert first["train_mean_spike_step"] == 1 < second["train_mean_spike_step"]
  assert first["mean_spike_step"] == result["mean_spike_step"] == 10
  assert (tmp_path / "figures/examples.png").exists()

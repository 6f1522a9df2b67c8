"""The distance to a task's ceiling, as its binary reports it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from running import set_up

from data_pipelines import spotting as spotting_data
from data_pipelines import two_sequence as two_sequence_data
from experiments import spotting, two_sequence
from rc_jax import Batch, Classifier, Evaluation, evaluate


def test_the_ideal_observer_has_no_regret():
  task, settings = set_up(two_sequence, num_examples="128", num_test="2000")
  assert two_sequence.EXPERIMENT.defaults(settings.flags)["num_test"] == 20_000
  assert len(task.test.labels) == 2000
  theta = float(two_sequence.IDEAL_THETA[20])
  ideal = evaluate(two_sequence_data.ideal_observer(), (), task.test.batches(), theta)
  measures = task.measure(task, "test", ideal, ())
  assert abs(measures["regret"]) < 1e-6
  assert task.measure(task, "validation", ideal, ()) == {}
  wrong = ideal._replace(predicted=1 - ideal.predicted)
  assert task.measure(task, "test", wrong, ())["regret"] == pytest.approx(
    measures["ideal_accuracy"] - wrong.rc_accuracy
  )


def test_spotting_beside_its_ideal_observer():
  """Whoever spikes when the label is certain has the ideal mean steps, but for sampling."""
  task, _ = set_up(spotting, num_examples="128", units="8")
  label = task.test.labels
  assert len(label) == 10_000
  inputs = np.concatenate([b.inputs for b in task.test.batches()])
  step = np.asarray(spotting_data.earliest_step(jnp.asarray(inputs)))
  sure = Evaluation(label, label, step.astype(np.int32), np.ones(len(label), bool), label)
  # What runs may compute otherwise than what was set up, as in bfloat16: this is always positive.
  positive = lambda params, output: jnp.array([-9.0, 9.0])
  running = task._replace(classifier=task.classifier._replace(decode=positive))
  params = jax.jit(task.classifier.init)(jax.random.key(0), inputs[0, 0])
  measures = task.measure(running, "test", sure, params)
  assert measures["positive_only_accuracy"] == pytest.approx(label.mean())
  assert measures["positive_spikes_at_earliest_step"] == 1
  assert measures["positive_mean_spike_step"] == pytest.approx(
    measures["ideal_positive_mean_spike_step"], abs=0.2
  )
  assert measures["ideal_negative_mean_spike_step"] == pytest.approx(22.61, abs=0.01)
  assert measures["positives_with_negative_first_spike"] == 0


def test_negative_spikes_are_ignored():
  """Logits [0, z]: the first positive spike decides, however sure of the negative it was before."""
  says = Classifier(lambda key, x: (), lambda params: (), lambda params, carry, x: (carry, x))
  z = np.array([[-9, 9, -9], [-9, -9, -9], [-9, 1, -9]], np.float32)
  batch = Batch(np.stack([0 * z, z], -1), np.array([1, 0, 1], np.int32), np.full(3, 3, np.int32))
  read = evaluate(spotting.ignore_negative_spikes(says, 0.95), (), [batch], 0.95)
  assert read.predicted.tolist() == [1, 0, 0]
  assert read.spiked.tolist() == [True, False, False]
  assert read.step[0] == 1

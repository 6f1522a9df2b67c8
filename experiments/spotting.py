"""Continuous sequence spotting (section 3.1, A.1; Fig. 1).

  python -m experiments.spotting

Is there a run of five equal steps in 25? LSTM-125, one sigmoid output, Adam 0.0003, theta .95,
1,500,000 training examples: about 5 minutes on 2 cores. Expected on fresh sequences: >= 99.5 % at
the first spike, >= 98 % of positive spikes at the earliest possible step, mean step about 17.5.

Contrast of Fig. 1 E-G: `--objective=eos --workdir=runs/spotting-eos`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines import spotting
from deploy.models import Model
from experiments.harness.flags import read_settings, run_main
from experiments.harness.objectives import widen
from experiments.harness.run import run
from experiments.harness.settings import Experiment, Settings
from experiments.harness.task import EvaluationSet, Task, make_generated_task
from rc_jax import Classifier, Evaluation, confidence, evaluate
from rc_jax.types import Array, Params

EXPERIMENT = Experiment(
  "spotting",
  length="num_examples",
  defaults=lambda values: dict(
    beta=0.0, learning_rate=0.0003, num_examples=1_500_000, num_test=10_000, units=125
  ),
)


def setup(settings: Settings) -> Task:
  """Makes the task that the settings describe."""
  task = make_generated_task(
    "spotting",
    widen(
      Model("lstm", {"units": settings.units, "num_classes": 2, "single_output": True}),
      settings.objective,
    ),
    spotting.CLASS_NAMES,
    spotting.sample,
    key=jax.random.fold_in(jax.random.key(settings.seed), 1),
    batch_size=settings.batch_size,
    num_validation=2_000,
    num_test=settings.flags["num_test"],
  )
  earliest = {"validation": _earliest_steps(task.validation), "test": _earliest_steps(task.test)}

  def measure(task: Task, split: str, evaluation: Evaluation, params: Params) -> dict[str, float]:
    values = _measure_spikes(evaluation, earliest[split])
    if split == "test":
      values |= _measure_contrast(task, params, evaluation, earliest[split], settings.theta)
    return values

  return task._replace(measure=measure)


def ignore_negative_spikes(classifier: Classifier, theta: float) -> Classifier:
  """Makes a two-class classifier whose negative spikes are ignored.

  A row that never spikes positive is answered negative. In this scheme section 3.1 reads the
  network that was trained at the end of sequences.

  Args:
    classifier: of two classes, the second of them positive.
    theta: threshold of a spike.
  """

  def decode(params: Params, output: Any) -> Array:
    logits = classifier.decode(params, output)
    positive = (jnp.argmax(logits) == 1) & (confidence(logits) >= theta)
    return jnp.where(positive, logits, jnp.zeros_like(logits))

  return classifier._replace(decode=decode)


def _earliest_steps(split: EvaluationSet) -> np.ndarray:
  """Returns the step `[N]` at which each sequence's label is certain."""
  inputs = jnp.concatenate([batch.inputs for batch in split.batches()])
  return np.asarray(jax.jit(spotting.earliest_step)(inputs))


def _measure_spikes(evaluation: Evaluation, earliest: np.ndarray) -> dict[str, float]:
  """Measures when each class spikes, in steps seen, and how often a positive one at the best step.

  Args:
    evaluation: of a split.
    earliest: `[N]`, the step at which each sequence's label is certain.
  """
  positive = evaluation.label == 1
  spikes = positive & evaluation.spiked & (evaluation.predicted == 1)
  on_time = evaluation.step == earliest
  return {
    "positive_mean_spike_step": float(np.mean(evaluation.step[positive] + 1)),
    "negative_mean_spike_step": float(np.mean(evaluation.step[~positive] + 1)),
    "positive_spikes_at_earliest_step": float(on_time[spikes].mean()) if spikes.any() else 0.0,
  }


def _measure_contrast(
  task: Task, params: Params, evaluation: Evaluation, earliest: np.ndarray, theta: float
) -> dict[str, float]:
  """Measures the test split as Fig. 1 E-G reads it, beside the ideal observer's mean steps."""
  positive = evaluation.label == 1
  first_negative = positive & evaluation.spiked & (evaluation.predicted == 0)
  only = evaluate(
    ignore_negative_spikes(task.read_classifier, theta), params, task.test.batches(), theta
  )
  values = {
    "positives_with_negative_first_spike": float(first_negative.sum() / positive.sum()),
    "positive_only_accuracy": only.rc_accuracy,
  }
  found = positive & only.spiked
  if found.any():
    values["positive_only_delay"] = float(np.mean((only.step - earliest)[found]))
  ideal = spotting.earliest()
  return values | {
    "ideal_positive_mean_spike_step": ideal.positive_mean_spike_step,
    "ideal_negative_mean_spike_step": ideal.negative_mean_spike_step,
  }


def main() -> int:
  """Trains and reports; returns the exit status."""
  settings = read_settings(EXPERIMENT)
  return run(setup(settings), settings)


if __name__ == "__main__":
  run_main(main)

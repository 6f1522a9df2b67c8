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
from experiments.flags import Settings, run_main, settings
from experiments.run import run
from experiments.task import Task, generated
from rc_jax import Classifier, Evaluation, confidence, evaluate, lstm
from rc_jax.types import Array, Params


def setup() -> tuple[Task, Settings]:
  """The task and its settings, from the flags."""
  s = settings(
    "spotting",
    "num_examples",
    beta=0.0,
    learning_rate=0.0003,
    num_examples=1_500_000,
    num_test=10_000,
    units=125,
  )
  parts = generated(
    spotting.sample,
    key=jax.random.fold_in(jax.random.key(s.seed), 1),
    batch_size=s.batch_size,
    num_validation=2_000,
    num_test=s.flags["num_test"],
  )
  inputs = {
    split: jnp.concatenate([b.inputs for b in parts[split].batches()])
    for split in ("validation", "test")
  }
  earliest = {split: np.asarray(spotting.earliest_step(x)) for split, x in inputs.items()}

  classifier = lstm(s.flags["units"], 2, single_output=True)

  def measure(split: str, evaluation: Evaluation, params: Params) -> dict[str, float]:
    positive = evaluation.label == 1
    spikes = positive & evaluation.spiked & (evaluation.predicted == 1)
    on_time = evaluation.step == earliest[split]
    values = {
      "positive_mean_spike_step": float(np.mean(evaluation.step[positive] + 1)),
      "negative_mean_spike_step": float(np.mean(evaluation.step[~positive] + 1)),
      "positive_spikes_at_earliest_step": float(on_time[spikes].mean()) if spikes.any() else 0.0,
    }
    if split == "test":
      first_negative = positive & evaluation.spiked & (evaluation.predicted == 0)
      values["positives_with_negative_first_spike"] = float(first_negative.sum() / positive.sum())
      only = evaluate(positive_only(classifier, s.theta), params, parts[split].batches(), s.theta)
      found = positive & only.spiked
      values["positive_only_accuracy"] = only.rc_accuracy
      if found.any():
        values["positive_only_delay"] = float(np.mean((only.step - earliest[split])[found]))
      ideal = spotting.earliest()
      values["ideal_positive_mean_spike_step"] = ideal.positive_mean_spike_step
      values["ideal_negative_mean_spike_step"] = ideal.negative_mean_spike_step
    return values

  return Task("spotting", classifier, spotting.CLASS_NAMES, **parts, measure=measure), s


def positive_only(classifier: Classifier, theta: float) -> Classifier:
  """A two-class classifier whose negative spikes are ignored: negative is who never spikes else.

  The scheme in which section 3.1 reads the network that was trained at the end of sequences.
  """

  def decode(params: Params, output: Any) -> Array:
    logits = classifier.decode(params, output)
    positive = (jnp.argmax(logits) == 1) & (confidence(logits) >= theta)
    return jnp.where(positive, logits, jnp.zeros_like(logits))

  return classifier._replace(decode=decode)


def main() -> int:
  """Trains and reports; returns the exit status."""
  return run(*setup())


if __name__ == "__main__":
  run_main(main)

"""The picture's left half shows what the engine computes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rc_jax
from benchmarks import picture

# Its logits are its input, times a parameter: the widths of the picture are those of a gradient.
SPEAKER = rc_jax.Classifier(
  init=lambda key, x: jnp.ones(()),
  initial_carry=lambda params: jnp.int32(0),
  step=lambda gain, count, x: (count + 1, gain * x),
)
TRAIN = rc_jax.make_train(SPEAKER, optax.sgd(1.0), theta=0.9, engine="early_exit")
LOSS = jax.jit(jax.value_and_grad(TRAIN.loss, has_aux=True))


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_the_picture_counts_what_the_engine_counts(fraction):
  rows, steps = 128, 12
  spikes = picture.spike_steps(np.random.default_rng(0), rows, steps, fraction)
  now = np.arange(steps) == spikes[:, None]
  xs = np.stack([20.0 * now, 0.0 * now], axis=-1).astype(np.float32)
  batch = rc_jax.Batch(xs, np.zeros(rows, np.int32), np.full(rows, steps, np.int32))
  (_, metrics), _ = LOSS(jnp.ones(()), batch, 0)
  assert float(metrics.mean_spike_step) == pytest.approx(np.mean(spikes + 1))
  assert float(metrics.computed_fraction) == pytest.approx(picture.computed(spikes, steps).mean())

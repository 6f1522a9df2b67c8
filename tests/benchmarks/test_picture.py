"""The picture's left half shows what the engine computes."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import picture
from rc_jax.unroll import unroll_and_count


def says_its_input(params, count, x):
  del params
  return count + 1, x


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_the_picture_counts_what_the_engine_counts(fraction):
  rows, steps = 40, 12
  spikes = picture.spike_steps(np.random.default_rng(0), rows, steps, fraction)
  now = np.arange(steps) == spikes[:, None]
  xs = jnp.asarray(np.stack([20.0 * now, 0.0 * now], axis=-1), jnp.float32)
  code, share = unroll_and_count(
    says_its_input,
    (),
    jnp.zeros(rows, jnp.int32),
    xs,
    0.9,
    None,
    encode=None,
    engine="early_exit",
  )
  np.testing.assert_array_equal(code.step, spikes)
  assert float(share) == pytest.approx(picture.computed(spikes, steps).mean())

"""From stored series to a network's steps, on the device."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from rc_jax.types import Batch


def join_samples(batch: Batch, samples: int) -> Batch:
  """Joins every so many samples of a series into one step, so that there are fewer steps.

  Args:
    batch: inputs `[B, T, F]`, zero at and after each length.
    samples: of a step, k >= 1; a last step that is not full ends in zeros, the mean of a
      standardised channel.

  Returns:
    The batch with inputs `[B, ceil(T / k), k F]` and lengths of steps. Labels stay.
  """
  if samples == 1:
    return batch
  rows, steps, channels = batch.inputs.shape
  after = -steps % samples
  padded = jnp.pad(batch.inputs, ((0, 0), (0, after), (0, 0)))
  return batch._replace(
    inputs=padded.reshape(rows, (steps + after) // samples, samples * channels),
    lengths=(batch.lengths + samples - 1) // samples,
  )


def count_samples(step: Any, samples: int, lengths: Any) -> Any:
  """Counts the samples of a series that were seen until a step.

  Args:
    step: `[...]`, zero-based.
    samples: of a step.
    lengths: `[...]`, samples of the series; a last step that is not full has fewer.
  """
  return np.minimum((step + 1) * samples, lengths)

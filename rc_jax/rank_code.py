"""Finds when a network decides and which class it names (Algorithm 1, eq. 1).

It decides at its first spike: the first step at which a class probability reaches theta.
"""

from typing import Any

import jax
import jax.numpy as jnp

from rc_jax.checks import check_classes, check_theta, read_lengths
from rc_jax.types import Array, RankCode


def confidence(logits: Array) -> Array:
  """The largest class probability: `[..., C]` logits -> `[...]` float32 in [1/C, 1]."""
  logits = logits.astype(jnp.float32)
  # The largest term of the softmax's sum is exp(0) = 1, so the probability is one division.
  largest = jnp.max(logits, axis=-1, keepdims=True)
  return 1 / jnp.sum(jnp.exp(logits - largest), axis=-1)


def can_be_read(logits: Array) -> Array:
  """Whether a most probable class can be told: `[..., C]` logits -> `[...]` bool.

  It cannot be of NaN or +inf, nor where all are -inf; some may be, for classes that are masked.
  """
  return ~jnp.isnan(logits).any(axis=-1) & jnp.isfinite(jnp.max(logits, axis=-1))


def read_thresholds(theta: Any, steps: int, classes: int) -> Array:
  """Checks theta against T and C, and gives one threshold a step.

  Args:
    theta: threshold in (1/C, 1): a scalar, or `[T]`.
    steps: T.
    classes: C.

  Returns:
    `[T]` float32.

  Raises:
    ValueError: C < 2, or a theta that is out of range or of the wrong shape.
  """
  check_classes(classes)
  check_theta(theta, classes, steps)
  return jnp.broadcast_to(jnp.asarray(theta, jnp.float32), (steps,))


def first_crossing(logits: Array, theta: Any, lengths: Array | None = None) -> tuple[Array, Array]:
  """Finds the first step at which the confidence reaches theta (Algorithm 1, lines 5-13).

  Args:
    logits: `[..., T, C]` outputs of every step, before the softmax; C >= 2.
    theta: threshold in (1/C, 1): a scalar, or `[T]`, one a step.
    lengths: `[...]` int in `1..T`; later steps change nothing. None means T.

  Returns:
    step: `[...]` int32, zero-based; `length - 1` where no step crosses.
    spiked: `[...]` bool, whether a step crossed.

  Raises:
    ValueError: C < 2, no step, lengths or a theta that are out of range or of the wrong shape.
  """
  if logits.ndim < 2 or not logits.shape[-2]:
    raise ValueError(f"logits have shape {list(logits.shape)}; give [..., T, C], T >= 1")
  steps, classes = logits.shape[-2:]
  shape = logits.shape[:-1]
  crossed = confidence(logits) >= jnp.broadcast_to(read_thresholds(theta, steps, classes), shape)
  last = jnp.full(shape[:-1], steps - 1, jnp.int32)
  if lengths is not None:
    last = read_lengths(lengths, steps) - 1
    try:
      last = jnp.broadcast_to(last, shape[:-1])
    except ValueError as error:
      raise ValueError(
        f"lengths has shape {list(last.shape)}; logits {list(logits.shape)} need {list(shape[:-1])}"
      ) from error
    step = jnp.broadcast_to(jnp.arange(steps, dtype=jnp.int32), shape)
    crossed &= step <= last[..., None]
  spiked = jnp.any(crossed, axis=-1)
  first = jnp.argmax(crossed, axis=-1).astype(jnp.int32)  # of equal values, argmax takes the first
  return jnp.where(spiked, first, last), spiked


def at_step(logits: Array, step: Array) -> Array:
  """Picks `[..., C]` out of `[..., T, C]` at `[...]` steps; gradients flow to those steps alone."""
  return jnp.take_along_axis(logits, step[..., None, None], axis=-2)[..., 0, :]


def rank_code(logits: Array, theta: Any, lengths: Array | None = None) -> RankCode:
  """Reads the first spike from logits of every step.

  Args:
    logits: `[..., T, C]` outputs of every step, before the softmax; C >= 2.
    theta: threshold in (1/C, 1): a scalar, or `[T]`, one a step.
    lengths: `[...]` int in `1..T`; later steps change nothing. None means T.

  Returns:
    RankCode with leading axes `[...]`.

  Raises:
    ValueError: as `first_crossing`.
  """
  step, spiked = first_crossing(jax.lax.stop_gradient(logits), theta, lengths)
  spike_logits = at_step(logits, step)
  label = jnp.argmax(spike_logits, axis=-1).astype(jnp.int32)
  return RankCode(step, spiked, label, spike_logits)

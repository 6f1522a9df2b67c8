"""Losses of one output, and the loss at the spike (section 2, eq. 7)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rc_jax.checks import check_beta, check_theta
from rc_jax.function_checks import check_row_loss
from rc_jax.types import Array, Loss

_ONE, _NAN = np.float32(1), np.float32(np.nan)  # not JAX's: under `jax_debug_nans` that would raise


def entropy(logits: Array) -> Array:
  """Entropy of the softmax in nats: `[..., C]` logits -> `[...]` float32.

  A class whose logit is -inf, which a network may mask, adds nothing.
  """
  log_p = jax.nn.log_softmax(jnp.asarray(logits, jnp.float32))
  return -jnp.sum(jnp.exp(log_p) * jnp.where(log_p > -jnp.inf, log_p, 0), axis=-1)


def cross_entropy(logits: Array, labels: Array) -> Array:
  """Cross-entropy of the softmax with the labels.

  Args:
    logits: `[..., C]`, before the softmax.
    labels: `[...]` int, in `0..C-1`. A label out of that range, negative ones included, makes the
      loss and its gradient NaN; `check_batch` says which row it is.

  Returns:
    `[...]` float32 loss in nats.

  Raises:
    ValueError: the labels are not whole numbers, or not one for each of the logits' rows.
  """
  logits = jnp.asarray(logits, jnp.float32)
  if np.shape(labels) != logits.shape[:-1]:
    raise ValueError(
      f"labels have shape {list(np.shape(labels))}, logits {list(logits.shape)}; give one label "
      "for each row of logits [..., C]: [...]"
    )
  labels, valid = read_labels(labels, logits.shape[-1])
  logits = logits * valid[..., None]
  return optax.softmax_cross_entropy_with_integer_labels(logits, labels) * valid


def rc_loss(logits: Array, labels: Array, beta: Array | float = 0.0) -> Array:
  """Cross-entropy minus beta times the output entropy, at the spike (eq. 7).

  Args:
    logits: `[..., C]` output at `t_sp`, before the softmax.
    labels: `[...]` int, in `0..C-1`; the loss and gradient of a row with any other label are NaN.
    beta: weight of the entropy reward, >= 0. Larger is slower and more accurate, up to
      `beta_limit`: beyond it, 0.205 for ten classes and theta .95, rows learn not to spike.

  Returns:
    `[...]` float32 loss in nats.

  Raises:
    ValueError: beta is negative (where it is a Python number), or as `cross_entropy`.
  """
  check_beta(beta)
  return cross_entropy(logits, labels) - beta * entropy(logits)


def beta_limit(theta: float, num_classes: int) -> float:
  """The beta beyond which the loss of a row is least below theta, so that rows learn not to spike.

  A row whose class has probability p, the others alike, has the derivative of eq. 7 zero where
  `1 / p = beta * (log(p / (1 - p)) + log(C - 1))`; this is the beta at which that p is theta.

  Args:
    theta: threshold in (1/C, 1), a number.
    num_classes: C, 2 or more.

  Raises:
    ValueError: theta is out of range or an array, or there are less than two classes.
  """
  if num_classes < 2 or np.ndim(theta):
    raise ValueError(f"C is {num_classes}, theta {theta}; give two classes or more, and a number")
  check_theta(theta, num_classes)
  return 1 / (theta * (math.log(theta / (1 - theta)) + math.log(num_classes - 1)))


def spike_losses(loss: Loss, logits: Array, labels: Array, beta: Array | float) -> Array:
  """Any loss of one row minus beta times the output entropy: eq. 7 with `loss` as its first term.

  Args:
    loss: `(logits [C] float32, label int32) -> float scalar` of one row.
    logits: `[B, C]`, before the softmax.
    labels: `[B]` int, in `0..C-1`; the loss and gradient of a row with any other label are NaN.
    beta: weight of the entropy reward.

  Returns:
    `[B]` float32.

  Raises:
    ValueError: `loss` cannot take one row, or gives no float scalar; labels are not whole numbers.
  """
  logits = logits.astype(jnp.float32)
  labels, valid = read_labels(labels, logits.shape[-1])
  row = f"one row, logits float32[{logits.shape[-1]}] and label int32[]"
  check_row_loss(loss, (logits[0], labels[0]), row)
  # NaN enters on both sides of `loss`: after it for the value, which a loss may form without the
  # logits, and before it for the gradient, which a gather would pass on to one logit alone.
  logits = logits * valid[:, None]
  values = jax.vmap(loss)(logits, labels).astype(jnp.float32) * valid
  return values - beta * entropy(logits)


def mark_lengths(lengths: Array, steps: int) -> Array:
  """A factor for each row's loss: 1 for a length within `1..T`, NaN outside."""
  lengths = _widen(lengths)
  in_range = (lengths >= 1) & (lengths <= steps)
  return jnp.where(in_range, _ONE, _NAN)


def read_labels(labels: Array, num_classes: int) -> tuple[Array, Array]:
  """Labels as int32, and a factor for each: 1 within `0..C-1`, NaN outside.

  Raises:
    ValueError: the labels are not whole numbers.
  """
  labels = jnp.asarray(labels)
  if not jnp.issubdtype(labels.dtype, jnp.integer):
    raise ValueError(f"labels are {labels.dtype}; give whole numbers")
  wide = _widen(labels)
  in_range = (wide >= 0) & (wide < num_classes)
  return wide.astype(jnp.int32), jnp.where(in_range, _ONE, _NAN)


def _widen(numbers: Array) -> Array:
  """Whole numbers in 32 bits or, as they are, in 64: C and T may lie beyond a smaller type."""
  numbers = jnp.asarray(numbers)
  return numbers if numbers.dtype.itemsize > 4 else numbers.astype(jnp.int32)

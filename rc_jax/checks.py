"""Checks at the door: static facts at trace time, data facts on the host."""

from typing import Any

import jax
import numpy as np

from rc_jax.types import Batch


def check_theta(theta: Any, num_classes: int | None = None, num_steps: int | None = None) -> None:
  """Checks a threshold, a number or an array; traced values pass unseen.

  Args:
    theta: scalar, or `[T]` for a threshold a step.
    num_classes: C, or None where it is not known yet.
    num_steps: T, or None where it is not known yet.

  Raises:
    ValueError: theta is not in (0, 1), is always crossed (<= 1/C), or has not T entries.
  """
  shape = np.shape(theta)
  if len(shape) > 1 or (shape and num_steps is not None and shape[0] != num_steps):
    steps = "T" if num_steps is None else num_steps
    raise ValueError(f"theta has shape {shape}; give a number, or one threshold a step: [{steps}]")
  if isinstance(theta, jax.core.Tracer):
    return
  values = np.asarray(theta, np.float64)
  if not np.all((values > 0) & (values < 1)):
    raise ValueError(f"theta is {theta}; a threshold on a probability lies between 0 and 1")
  if num_classes is not None and np.any(values <= 1 / num_classes):
    raise ValueError(
      f"theta is {theta}, which the most probable of {num_classes} classes always reaches; "
      f"choose one above 1/{num_classes}"
    )


def check_beta(beta: Any) -> None:
  """Raises ValueError if beta is no number, negative or not finite; traced values pass unseen."""
  if isinstance(beta, jax.core.Tracer):
    return
  if np.ndim(beta) or not np.issubdtype(np.asarray(beta).dtype, np.number):
    raise ValueError(f"beta is {beta!r}; give one number, the weight of the entropy reward")
  if not 0 <= float(beta) < np.inf:
    raise ValueError(f"beta is {beta}; the weight of the entropy reward must be 0 or more")


def check_lengths(lengths: Any, num_steps: int) -> None:
  """Raises ValueError if lengths are not whole numbers in `1..T`; of traced ones the type alone."""
  dtype = lengths.dtype if hasattr(lengths, "dtype") else np.asarray(lengths).dtype
  if not np.issubdtype(dtype, np.integer):
    raise ValueError(f"lengths are {dtype}; give whole numbers")
  if isinstance(lengths, jax.core.Tracer):
    return
  values = np.asarray(lengths)
  if values.size and not (values.min() >= 1 and values.max() <= num_steps):
    raise ValueError(
      f"lengths go from {values.min()} to {values.max()}; each must lie in 1..{num_steps}"
    )


def check_inputs(inputs: Any) -> None:
  """Raises ValueError if inputs are not `[B, T, ...]` with at least one step."""
  shape = np.shape(inputs)
  if len(shape) < 2 or not shape[1]:
    raise ValueError(f"inputs have shape {shape}; give [B, T, ...], T >= 1")


def check_batch(batch: Batch, num_classes: int, *, first: int = 0) -> None:
  """Checks the labels and lengths of a batch of concrete arrays, on the host.

  Args:
    batch: inputs `[B, T, ...]`, labels `[B]`, lengths `[B]`.
    num_classes: C.
    first: number of the batch's first row in its data set, for messages.

  Raises:
    ValueError: shapes disagree, a label is outside `0..C-1` or a length outside `1..T`.
  """
  check_inputs(batch.inputs)
  rows, steps = batch.inputs.shape[:2]
  for name, array, low, high in (
    ("labels", batch.labels, 0, num_classes - 1),
    ("lengths", batch.lengths, 1, steps),
  ):
    values = np.asarray(array)
    if not np.issubdtype(values.dtype, np.integer):
      raise ValueError(f"{name} are {values.dtype}; give whole numbers")
    if values.shape != (rows,):
      raise ValueError(f"{name} has shape {values.shape}; inputs have {rows} rows, so [{rows}]")
    outside = np.flatnonzero((values < low) | (values > high))
    if outside.size:
      row = outside[0]
      raise ValueError(f"{name}[{first + row}] is {values[row]}; it must lie in {low}..{high}")

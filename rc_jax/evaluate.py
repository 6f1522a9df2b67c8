"""Reads a trained network: at its first spike, at the last step, and over all thresholds."""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rc_jax.batches import Batches, check_one_length, concatenate_rows, pad_batches
from rc_jax.checks import check_theta
from rc_jax.engine import Reading, read_to_spike
from rc_jax.rank_code import at_step, can_be_read, first_crossing, rank_code
from rc_jax.types import Array, Batch, Classifier, Params
from rc_jax.unroll import unroll_rows


class Evaluation(NamedTuple):
  """Labels and spike times of N examples, in the order of the data.

  Attributes:
    label: `[N]` int32 true label.
    predicted: `[N]` int32, at the first spike (at the last step where there is none).
    step: `[N]` int32, zero-based, of the first spike; `length - 1` where there is none.
    spiked: `[N]` bool.
    eos_label: `[N]` int32, predicted at the last step; None if `evaluate` ran with `eos=False`.
  """

  label: np.ndarray
  predicted: np.ndarray
  step: np.ndarray
  spiked: np.ndarray
  eos_label: np.ndarray | None

  @property
  def rc_accuracy(self) -> float:
    """Share of examples right at the first spike."""
    return float(np.mean(self.predicted == self.label))

  @property
  def eos_accuracy(self) -> float:
    """Share of examples right at the last step.

    Raises:
      ValueError: the last step was not read.
    """
    if self.eos_label is None:
      raise ValueError("the last step was not read; evaluate with eos=True")
    return float(np.mean(self.eos_label == self.label))

  @property
  def mean_spike_step(self) -> float:
    """Mean number of steps seen, `step + 1`."""
    return float(np.mean(self.step + 1.0))

  @property
  def no_spike_fraction(self) -> float:
    """Share of examples in which no step reached theta."""
    return float(np.mean(~self.spiked))

  @property
  def spiked_right_fraction(self) -> float:
    """Share of examples that spiked and were right: what a program that hears no end can say."""
    return float(np.mean(self.spiked & (self.predicted == self.label)))

  @property
  def spiked_wrong_fraction(self) -> float:
    """Share of examples that spiked and were wrong."""
    return float(np.mean(self.spiked & (self.predicted != self.label)))


class Frontier(NamedTuple):
  """Accuracy against time for K thresholds (Fig. 5).

  Attributes:
    theta: `[K]`.
    accuracy: `[K]` at the first spike.
    mean_spike_step: `[K]` mean number of steps seen.
    earliness: `[K]` mean share of a row's own steps that were seen, in (0, 1].
  """

  theta: np.ndarray
  accuracy: np.ndarray
  mean_spike_step: np.ndarray
  earliness: np.ndarray


def evaluate(
  classifier: Classifier,
  params: Params,
  batches: Batches,
  theta: Any,
  *,
  eos: bool = True,
) -> Evaluation:
  """Reads every example once, at its first spike and at its last step.

  It runs on the host and calls compiled programs; it cannot be jitted or mapped itself.

  Args:
    classifier: any `Classifier`. Make it once: each new one is compiled anew.
    params: of the classifier.
    batches: one `Batch`, or an iterable of batches of any sizes; a short one is padded, so that one
      compiled program reads all of them.
    theta: threshold in (1/C, 1): a scalar, or `[T]`.
    eos: whether to read the last step too, for which every step must run. With False a row stops at
      its spike and takes the next example: the same results sooner, without `eos_label`, and what
      comes after a spike need not be finite.

  Returns:
    Evaluation of all examples.

  Raises:
    ValueError: no `Classifier`, no row, shapes that disagree, labels, lengths or theta out of
      range, or outputs that are not finite.
  """
  check_theta(theta)
  thresholds = jnp.asarray(theta, jnp.float32)
  read: list[tuple[int, Array]] = []

  def remember_labels() -> Iterator[tuple[Batch, int]]:
    for batch, rows in pad_batches(batches, classifier, params, theta):
      read.append((rows, batch.labels))
      yield batch, rows

  if eos:
    readings = [
      _read_every_step(classifier, params, batch, thresholds) for batch, _ in remember_labels()
    ]
  else:
    spikes = read_to_spike(classifier, params, remember_labels(), thresholds)
    readings = [(reading, None) for reading in spikes]
  # Now `read` has a line for each batch: labels are joined with what was read of them.
  label, (reading, eos_label) = concatenate_rows(
    [(rows, (true, found)) for (rows, true), found in zip(read, readings, strict=True)]
  )
  _check_finite(reading.finite)
  return Evaluation(label, reading.label, reading.step, reading.spiked, eos_label)


def frontier(classifier: Classifier, params: Params, batches: Batches, theta: Any) -> Frontier:
  """Accuracy and mean spike step at every threshold, from one pass over the data.

  Args:
    classifier: any `Classifier`.
    params: of the classifier.
    batches: one `Batch`, or an iterable of batches of any sizes.
    theta: `[K]` thresholds in (1/C, 1), each for all steps, where `evaluate` takes one a step.

  Returns:
    Frontier of K points.

  Raises:
    ValueError: as `evaluate`.
  """
  theta = np.atleast_1d(np.asarray(theta))
  if theta.ndim != 1 or not theta.size:
    raise ValueError(f"theta has shape {theta.shape}; give K >= 1 thresholds: [K]")
  for one in theta:
    check_theta(one)
  thresholds = theta.astype(np.float32)
  parts = [
    (rows, _read_thresholds(classifier, params, batch, jnp.asarray(thresholds)))
    for batch, rows in pad_batches(batches, classifier, params, theta.min())
  ]
  right, step, seen, finite = concatenate_rows(parts)
  _check_finite(finite)
  return Frontier(
    theta=thresholds,
    accuracy=np.mean(right, axis=0),
    mean_spike_step=np.mean(step + 1.0, axis=0),
    earliness=np.mean(seen.astype(np.float64), axis=0),
  )


def accuracy_at_step(classifier: Classifier, params: Params, batches: Batches) -> np.ndarray:
  """Accuracy when all rows are read at the same step, for every step.

  Args:
    classifier: any `Classifier`.
    params: of the classifier.
    batches: one `Batch`, or an iterable of batches of any number of rows, and one T.

  Returns:
    `[T]`; entry t reads each row at zero-based step t, or at its last step where it ends sooner.

  Raises:
    ValueError: as `evaluate`, or batches of several T.
  """
  parts = [
    (rows, _compare_at_each_step(classifier, params, batch))
    for batch, rows in pad_batches(batches, classifier, params, None)
  ]
  check_one_length({right.shape[1] for _, (right, _) in parts})
  right, finite = concatenate_rows(parts)
  _check_finite(finite)
  return np.mean(right, axis=0)


@functools.partial(jax.jit, static_argnums=0)
def _compare_at_each_step(
  classifier: Classifier, params: Params, batch: Batch
) -> tuple[Array, Array]:
  logits = unroll_rows(classifier, params, batch)
  step = jnp.minimum(jnp.arange(logits.shape[1])[None], batch.lengths[:, None] - 1)
  label = jnp.take_along_axis(jnp.argmax(logits, axis=-1), step, axis=1)
  return label == batch.labels[:, None], _find_finite(logits, batch)


@functools.partial(jax.jit, static_argnums=0)
def _read_every_step(
  classifier: Classifier, params: Params, batch: Batch, theta: Array
) -> tuple[Reading, Array]:
  """What is read of each row at its spike, and its label at the end."""
  logits = unroll_rows(classifier, params, batch)
  code = rank_code(logits, theta, batch.lengths)
  finite = _find_finite(logits, batch)
  reading = Reading(label=code.label, step=code.step, spiked=code.spiked, finite=finite)
  return reading, jnp.argmax(at_step(logits, batch.lengths - 1), axis=-1).astype(jnp.int32)


@functools.partial(jax.jit, static_argnums=0)
def _read_thresholds(
  classifier: Classifier, params: Params, batch: Batch, theta: Array
) -> tuple[Array, ...]:
  logits = unroll_rows(classifier, params, batch)
  label = jnp.argmax(logits, axis=-1)

  def at(value: Array) -> tuple[Array, Array, Array]:
    step, _ = first_crossing(logits, value, batch.lengths)
    right = jnp.take_along_axis(label, step[:, None], axis=1)[:, 0] == batch.labels
    return right, step, (step + 1).astype(jnp.float32) / batch.lengths.astype(jnp.float32)

  return *jax.vmap(at, out_axes=1)(theta), _find_finite(logits, batch)


def _find_finite(logits: Array, batch: Batch) -> Array:
  """Tells whether each row's outputs can be read up to its length: `[B]` bool."""
  steps = jnp.broadcast_to(jnp.arange(logits.shape[1], dtype=jnp.int32)[None], logits.shape[:2])
  ignored = steps >= batch.lengths[:, None]
  return jnp.all(can_be_read(logits) | ignored, axis=1)


def _check_finite(finite: np.ndarray) -> None:
  bad = np.flatnonzero(~finite)
  if bad.size:
    raise ValueError(
      f"the output for row {bad[0]} is not finite: look for NaN in its input, or for a training "
      "that diverged (lower the learning rate)"
    )

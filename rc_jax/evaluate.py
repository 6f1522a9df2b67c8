"""Reading a trained network: at its first spike, at the end, and over all thresholds."""

import functools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rc_jax.checks import check_batch, check_inputs, check_theta
from rc_jax.engine import read_to_spike
from rc_jax.rank_code import at_step, first_crossing, rank_code
from rc_jax.types import Array, Batch, Classifier, Params
from rc_jax.unroll import unroll_rows


class Evaluation(NamedTuple):
  """What a network said of N examples, in the order of the data.

  Attributes:
    label: `[N]` int32 truth.
    predicted: `[N]` int32, at the first spike (at the last step where there is none).
    step: `[N]` int32, zero-based, of the first spike.
    spiked: `[N]` bool.
    eos_label: `[N]` int32, read at the last step; None if `evaluate` was to leave it out.
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


class Frontier(NamedTuple):
  """Accuracy against time for K thresholds (Fig. 5).

  Attributes:
    theta: `[K]`.
    accuracy: `[K]` at the first spike.
    mean_spike_step: `[K]` mean number of steps seen.
  """

  theta: np.ndarray
  accuracy: np.ndarray
  mean_spike_step: np.ndarray


def evaluate(
  classifier: Classifier,
  params: Params,
  batches: Iterable[Batch],
  theta: Any,
  *,
  eos: bool = True,
) -> Evaluation:
  """Reads every example once, at its first spike and at its end.

  Args:
    classifier: any `Classifier`.
    params: of the classifier.
    batches: of any sizes; a short one is padded, so that one program serves all.
    theta: threshold in (1/C, 1): a scalar, or `[T]`.
    eos: also read the last step, for which every step must run. False stops each row at its spike
      and gives its place to the next example: the same answers sooner, without `eos_label`.

  Returns:
    Evaluation of all examples.

  Raises:
    ValueError: no batch, labels or lengths out of range, or outputs that are not finite.
  """
  check_theta(theta)
  thresholds = jnp.asarray(theta, jnp.float32)
  read: list[tuple[int, Array]] = []

  def noted() -> Iterator[tuple[Batch, int]]:
    for batch, rows in _padded(batches, classifier, params, theta):
      read.append((rows, batch.labels))
      yield batch, rows

  outputs: Iterator[tuple[Array, ...]]
  if eos:
    outputs = (_read_every_step(classifier, params, batch, thresholds) for batch, _ in noted())
  else:
    outputs = read_to_spike(classifier, params, noted(), thresholds)
  said = list(outputs)
  columns = _concatenate([(n, (true, *out)) for (n, true), out in zip(read, said, strict=True)])
  label, predicted, step, spiked, finite, *eos_label = columns
  _check_finite(finite)
  return Evaluation(label, predicted, step, spiked, eos_label[0] if eos else None)


def frontier(
  classifier: Classifier, params: Params, batches: Iterable[Batch], theta: Any
) -> Frontier:
  """Accuracy and mean spike step at every threshold, from one pass over the data.

  Args:
    classifier: any `Classifier`.
    params: of the classifier.
    batches: of any sizes.
    theta: `[K]` thresholds in (1/C, 1).

  Returns:
    Frontier of K points.

  Raises:
    ValueError: as `evaluate`.
  """
  theta = np.atleast_1d(np.asarray(theta, np.float32))
  if theta.ndim != 1 or not theta.size:
    raise ValueError(f"theta has shape {theta.shape}; give K >= 1 thresholds: [K]")
  check_theta(theta.min())
  check_theta(theta.max())
  parts = [
    (rows, _read_thresholds(classifier, params, batch, jnp.asarray(theta)))
    for batch, rows in _padded(batches, classifier, params, theta.min())
  ]
  right, step, finite = _concatenate(parts)
  _check_finite(finite)
  return Frontier(theta, np.mean(right, axis=0), np.mean(step + 1.0, axis=0))


def accuracy_at_step(
  classifier: Classifier, params: Params, batches: Iterable[Batch]
) -> np.ndarray:
  """Accuracy of every row read at one and the same step, for every step.

  Args:
    classifier: any `Classifier`.
    params: of the classifier.
    batches: of any sizes.

  Returns:
    `[T]`; entry t is read at zero-based step t, of a row that ends sooner at its last one.

  Raises:
    ValueError: as `evaluate`.
  """
  parts = [
    (rows, _right_at_step(classifier, params, batch))
    for batch, rows in _padded(batches, classifier, params, None)
  ]
  right, finite = _concatenate(parts)
  _check_finite(finite)
  return np.mean(right, axis=0)


# Says what stands in its input.
_RECORDED = Classifier(
  init=lambda key, x: (),
  initial_carry=lambda params: (),
  step=lambda params, carry, logits: (carry, logits),
)


def record(
  classifier: Classifier, params: Params, batches: Iterable[Batch]
) -> tuple[Classifier, list[Batch]]:
  """Runs a network once over data that is to be read in several ways.

  What `evaluate`, `frontier` and `accuracy_at_step` say of `(recorded, (), batches)` they say of
  the network and its data.

  Args:
    classifier: any `Classifier`.
    params: of the classifier.
    batches: of any sizes.

  Returns:
    A classifier without parameters, and batches whose inputs are the network's logits `[B, T, C]`;
    all of them lie on the device.

  Raises:
    ValueError: no batch, or labels or lengths out of range.
  """
  recorded = []
  for batch, rows in _padded(batches, classifier, params, None):
    spoken = batch._replace(inputs=_logits(classifier, params, batch))
    recorded.append(jax.tree.map(lambda a, rows=rows: a[:rows], spoken))
  return _RECORDED, recorded


@functools.partial(jax.jit, static_argnums=0)
def _logits(classifier: Classifier, params: Params, batch: Batch) -> Array:
  return unroll_rows(classifier, params, batch)


@functools.partial(jax.jit, static_argnums=0)
def _right_at_step(classifier: Classifier, params: Params, batch: Batch) -> tuple[Array, Array]:
  logits = unroll_rows(classifier, params, batch)
  step = jnp.minimum(jnp.arange(logits.shape[1])[None], batch.lengths[:, None] - 1)
  label = jnp.take_along_axis(jnp.argmax(logits, axis=-1), step, axis=1)
  return label == batch.labels[:, None], _finite(logits, batch)


@functools.partial(jax.jit, static_argnums=0)
def _read_every_step(
  classifier: Classifier, params: Params, batch: Batch, theta: Array
) -> tuple[Array, ...]:
  logits = unroll_rows(classifier, params, batch)
  code = rank_code(logits, theta, batch.lengths)
  eos_label = jnp.argmax(at_step(logits, batch.lengths - 1), axis=-1).astype(jnp.int32)
  return code.label, code.step, code.spiked, _finite(logits, batch), eos_label


@functools.partial(jax.jit, static_argnums=0)
def _read_thresholds(
  classifier: Classifier, params: Params, batch: Batch, theta: Array
) -> tuple[Array, ...]:
  logits = unroll_rows(classifier, params, batch)
  label = jnp.argmax(logits, axis=-1)

  def at(value: Array) -> tuple[Array, Array]:
    step, _ = first_crossing(logits, value, batch.lengths)
    return jnp.take_along_axis(label, step[:, None], axis=1)[:, 0] == batch.labels, step

  return *jax.vmap(at, out_axes=1)(theta), _finite(logits, batch)


def _finite(logits: Array, batch: Batch) -> Array:
  """Whether each row's outputs are finite, up to its length."""
  steps = jnp.broadcast_to(jnp.arange(logits.shape[1], dtype=jnp.int32)[None], logits.shape[:2])
  ignored = steps >= batch.lengths[:, None]
  return jnp.all((jnp.isfinite(logits).all(-1)) | ignored, axis=1)


def _check_finite(finite: np.ndarray) -> None:
  bad = np.flatnonzero(~finite)
  if bad.size:
    raise ValueError(
      f"the output for row {bad[0]} is not finite: look for NaN in its input, or for a training "
      "that diverged (lower the learning rate)"
    )


def _padded(
  batches: Iterable[Batch], classifier: Classifier, params: Params, theta: Any
) -> Iterator[tuple[Batch, int]]:
  """Checked batches of one size, the short ones filled with their last row, and their true sizes.

  The check waits for a batch to be at hand, so that the host does not queue a whole data set.
  """
  size = first = classes = 0
  for batch in batches:
    rows = len(batch.labels)
    if not rows:
      continue
    check_inputs(batch.inputs)
    classes = classes or _num_classes(classifier, params, batch)
    if theta is not None:
      check_theta(theta, classes, batch.inputs.shape[1])
    check_batch(batch, classes, first=first)
    batch = batch._replace(
      labels=jnp.asarray(batch.labels, jnp.int32), lengths=jnp.asarray(batch.lengths, jnp.int32)
    )
    first += rows
    size = max(size, rows)
    if rows < size:
      index = np.minimum(np.arange(size), rows - 1)
      batch = jax.tree.map(lambda a, index=index: a[index], batch)
    yield batch, rows
  if not size:
    raise ValueError("there is nothing to evaluate: batches is empty")


def _num_classes(classifier: Classifier, params: Params, batch: Batch) -> int:
  def logits(params, x):
    encoded = classifier.encode(params, x)
    output = classifier.step(params, classifier.initial_carry(params), encoded)[1]
    return classifier.decode(params, output)

  return jax.eval_shape(lambda p, b: logits(p, b.inputs[0, 0]), params, batch).shape[-1]


def _concatenate(parts: list[tuple[int, tuple[Array, ...]]]) -> list[np.ndarray]:
  columns = zip(*([np.asarray(a)[:rows] for a in arrays] for rows, arrays in parts), strict=True)
  return [np.concatenate(column) for column in columns]

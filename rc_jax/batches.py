"""Batches of a data set: checked, and padded so that one compiled program reads all of them."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from rc_jax.checks import (
  check_batch,
  check_classes,
  check_classifier,
  check_params,
  check_shapes,
  check_theta,
)
from rc_jax.function_checks import REFUSALS, check_carry, check_logits
from rc_jax.types import Array, Batch, Carry, Classifier, Inputs, Params

Batches = Batch | Iterable[Batch]


def pad_batches(
  batches: Batches, classifier: Classifier, params: Params, theta: Any
) -> Iterator[tuple[Batch, int]]:
  """Checks batches, and pads the short ones with their last row.

  A padded batch lies on the same devices as the largest one before it, in the same way.

  Each batch is checked when it is asked for, so that the host does not hold a whole data set.

  Args:
    batches: one `Batch`, or an iterable of batches of any sizes; empty ones are left out.
    classifier: whose number of classes labels and theta are checked against.
    params: of the classifier.
    theta: threshold, a scalar or `[T]`, or None for no threshold.

  Yields:
    A batch of as many rows as the largest one so far, and how many of its rows are true ones.

  Raises:
    ValueError: no `Classifier`, no row in all batches, something that is no batch, traced
      parameters or batches, shapes that disagree, logits that are not floats `[C]` of two classes
      or more, a step that changes its carry's shape or type, labels, lengths or theta out of range.
  """
  check_classifier(classifier)
  check_params(params)
  size = first = classes = 0
  shardings: list[Any] = []
  for batch in [batches] if isinstance(batches, Batch) else batches:
    if not isinstance(batch, Batch):
      raise ValueError(
        f"batches holds a {type(batch).__name__}; give one Batch, or an iterable of Batch"
      )
    _refuse_traced((params, batch))
    if not np.size(batch.labels):
      continue
    rows, steps = check_shapes(batch)
    if not classes:
      classes = _count_classes(classifier, params, batch)
      check_classes(classes)
    if theta is not None:
      check_theta(theta, classes, steps)
    check_batch(batch, classes, first=first, finite_inputs=False)
    batch = batch._replace(
      labels=jnp.asarray(batch.labels, jnp.int32), lengths=jnp.asarray(batch.lengths, jnp.int32)
    )
    first += rows
    if rows < size:
      index = np.minimum(np.arange(size), rows - 1)
      batch = jax.tree.map(lambda a, index=index: a[index], batch)
      batch = _place(batch, shardings)
    else:
      size, shardings = rows, [getattr(a, "sharding", None) for a in jax.tree.leaves(batch)]
    yield batch, rows
  if not size:
    raise ValueError("there is nothing to evaluate: batches is empty")


def _refuse_traced(tree: Any) -> None:
  if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree)):
    raise ValueError(
      "a trained network is read on the host, batch by batch; call this outside of jit, vmap and "
      "grad (in a loop over members), or use unroll and rank_code"
    )


def _place(batch: Batch, shardings: list[Any]) -> Batch:
  """Spreads a batch over several devices, where that is how another one lies."""
  leaves, structure = jax.tree.flatten(batch)
  spread = [s is not None and len(s.device_set) > 1 for s in shardings]
  leaves = [
    jax.device_put(a, s) if several else a
    for a, s, several in zip(leaves, shardings, spread, strict=True)
  ]
  return jax.tree.unflatten(structure, leaves)


def concatenate_rows(parts: list[tuple[int, Any]]) -> Any:
  """Joins results of padded batches, trees of `[rows, ...]`, each with its number of true rows."""
  numbers, trees = zip(*parts, strict=True)
  join = lambda *arrays: np.concatenate(
    [_fetch(a)[:n] for n, a in zip(numbers, arrays, strict=True)]
  )
  return jax.tree.map(join, *trees)


def check_one_length(steps: set[int]) -> None:
  """Raises ValueError if batches have several numbers of steps, where results join step by step."""
  if len(steps) > 1:
    raise ValueError(f"the batches have T of {sorted(steps)}; pad them to one T, and give lengths")


def _fetch(array: Array) -> np.ndarray:
  """Copies an array to the host, all rows of it, even where other processes hold some."""
  if not isinstance(array, jax.Array) or array.is_fully_addressable or array.is_fully_replicated:
    return np.asarray(array)
  return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def _count_classes(classifier: Classifier, params: Params, batch: Batch) -> int:
  def take_step(params: Params, inputs: Inputs) -> tuple[Carry, Carry, Array]:
    carry, x = classifier.initial_carry(params), jax.tree.map(lambda a: a[0, 0], inputs)
    return carry, *classifier.run_step(params, carry, x)

  try:
    before, after, logits = jax.eval_shape(take_step, params, batch.inputs)
  except REFUSALS as error:
    shapes = ", ".join(str(list(np.shape(leaf))) for leaf in jax.tree.leaves(batch.inputs))
    raise ValueError(
      f"the classifier cannot take these parameters with inputs {shapes}; are they those of "
      f"another network, or inputs of other features? ({type(error).__name__}: {error})"
    ) from error
  check_carry(before, after)
  return check_logits(classifier.decode, logits).shape[0]

"""Runs a network once over data that is to be read in several ways."""

import functools

import jax

from rc_jax.batches import Batches, pad_batches
from rc_jax.types import Array, Batch, Classifier, Params
from rc_jax.unroll import unroll_rows

# What `record` gives: a classifier without parameters, and batches whose inputs are logits.
Recorded = tuple[Classifier, list[Batch]]

# Identity classifier: its inputs already are logits.
_LOGITS_READER = Classifier(
  init=lambda key, x: (),
  initial_carry=lambda params: (),
  step=lambda params, carry, logits: (carry, logits),
)


def record(classifier: Classifier, params: Params, batches: Batches) -> Recorded:
  """Records a network's logits at every step.

  `evaluate`, `frontier` and `accuracy_at_step` give the same for `(reader, (), batches)`, with the
  two values returned here, as for the network and its data.

  Args:
    classifier: any `Classifier`.
    params: of the classifier.
    batches: one `Batch`, or an iterable of batches of any sizes.

  Returns:
    reader: a classifier without parameters, whose input is its logits.
    batches: batches whose inputs are the network's logits `[B, T, C]`; all of them are held on the
      device at once.

  Raises:
    ValueError: no row, shapes that disagree, or labels or lengths out of range.
  """
  recorded = []
  for batch, rows in pad_batches(batches, classifier, params, None):
    padded = batch._replace(inputs=_run_every_step(classifier, params, batch))
    recorded.append(jax.tree.map(lambda a, rows=rows: a[:rows], padded))
  return _LOGITS_READER, recorded


@functools.partial(jax.jit, static_argnums=0)
def _run_every_step(classifier: Classifier, params: Params, batch: Batch) -> Array:
  return unroll_rows(classifier, params, batch)

"""Reading a whole data set to its first spikes: a row that has spiked makes room for the next.

A pool of rows works at full width until the data runs out, so that the work is little more than
the data's spike steps. Data arrive in batches of N examples; the pool works on two at a time, the
one that came before and the one that is now, until the former is done and the latter begun. It is
an eighth of a batch wide: as wide as one, it would wait half empty for each batch's slowest row.
"""

import functools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

from rc_jax.rank_code import confidence, thresholds
from rc_jax.rows import initial_carries, select_rows
from rc_jax.types import Array, Batch, Carry, Classifier, Params


class Reading(NamedTuple):
  """What was said of N examples; leading axis `[N]`.

  Attributes:
    label: int32 at the first spike, or at the last step where there is none.
    step: int32, zero-based.
    spiked: bool.
    finite: bool, whether every output up to there was finite.
  """

  label: Array
  step: Array
  spiked: Array
  finite: Array


_NOTHING = 2**30  # the example of a row that has none: beyond every place where a result could go


class _Pool(NamedTuple):
  """W rows at work, `[W, ...]`.

  `example` is what a row works on: below N one of the batch before, from N on one of the batch
  now, or _NOTHING. `t` is its next step; `finite` whether its outputs were, so far.
  """

  example: Array
  t: Array
  carry: Carry
  finite: Array


def read_to_spike(
  classifier: Classifier, params: Params, batches: Iterable[tuple[Batch, int]], theta: Array
) -> Iterator[Reading]:
  """Reads every example up to its first spike, with an eighth of the first batch's rows at work.

  Args:
    classifier: any `Classifier`.
    params: of the classifier.
    batches: each with the number of its first rows that count.
    theta: threshold: a scalar, or `[T]`.

  Yields:
    Reading of each batch, in order.
  """
  before, pool, found = None, None, None
  for batch, rows in batches:
    batch = jax.tree.map(jnp.asarray, batch)
    if before is None:
      before, (pool, found) = batch, _idle(classifier, params, batch)
      pool, found, _ = _run(classifier, params, pool, found, batch, batch, rows, theta)
      continue
    pool, found, read = _run(classifier, params, pool, found, before, batch, rows, theta)
    before = batch
    yield read
  if before is not None:
    yield _run(classifier, params, pool, found, before, before, 0, theta)[2]


def _idle(classifier: Classifier, params: Params, batch: Batch) -> tuple[_Pool, Reading]:
  """A pool with nothing to do, and nothing found of a batch."""
  examples, rows = len(batch.labels), max(1, len(batch.labels) // 8)
  blank = lambda size: (jnp.zeros(size, jnp.int32), jnp.zeros(size, bool))
  whole, yes = blank(rows)
  label, spiked = blank(examples)
  carry = initial_carries(classifier, params, rows)
  return _Pool(whole + _NOTHING, whole, carry, yes), Reading(label, label, spiked, spiked)


@functools.partial(jax.jit, static_argnums=0)
def _run(
  classifier: Classifier,
  params: Params,
  pool: _Pool,
  found: Reading,
  before: Batch,
  now: Batch,
  count: Array,
  theta: Array,
) -> tuple[_Pool, Reading, Reading]:
  """Works until all of `before` is read and the first `count` of `now` are at least begun.

  Args:
    classifier: whose `step` and `encode` run.
    params: of the classifier.
    pool: at work on `before`, or idle.
    found: what is known of `before` so far.
    before: batch of N examples.
    now: batch of any size.
    count: how many examples of `now` count.
    theta: threshold: a scalar, or `[T]`.

  Returns:
    The pool and what is found of `now`, both as the next call wants them, and all of `before`.
  """
  size, steps = len(before.labels), now.inputs.shape[1]
  initial = initial_carries(classifier, params, len(pool.t))
  last = jnp.concatenate([before.lengths, now.lengths]) - 1
  step = jax.vmap(lambda c, x: classifier.step(params, c, classifier.encode(params, x)))
  classes = jax.eval_shape(step, pool.carry, _at(now.inputs, pool.example, pool.t))[1].shape[-1]
  theta = thresholds(theta, steps, classes)

  def goes_on(s) -> Array:
    pool, _, begun = s
    return (begun < count) | jnp.any(pool.example < size)

  def advance(s):
    pool, found, begun = s
    free = pool.example == _NOTHING
    offered = begun + jnp.cumsum(free, dtype=jnp.int32) - 1
    starts = free & (offered < count)
    begun += jnp.sum(starts, dtype=jnp.int32)
    example = jnp.where(starts, size + offered, pool.example)
    t = jnp.where(starts, 0, pool.t)
    carry = select_rows(starts, initial, pool.carry)
    x = select_rows(
      example < size, _at(before.inputs, example, t), _at(now.inputs, example - size, t)
    )
    carry, logits = step(carry, x)
    finite = (starts | pool.finite) & jnp.isfinite(logits).all(axis=-1)
    crossed = confidence(logits) >= theta.at[t].get(mode="clip")
    ends = crossed | (t >= last.at[example].get(mode="clip"))
    label = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    place = jnp.where(ends, example, _NOTHING)  # a row without an example writes nowhere
    put = lambda a, b: a.at[place].set(b, mode="drop")
    found = jax.tree.map(put, found, Reading(label, t, crossed, finite))
    return _Pool(jnp.where(ends, _NOTHING, example), t + 1, carry, finite), found, begun

  blank = lambda a: jnp.zeros(len(now.labels), a.dtype)
  found = jax.tree.map(lambda a: jnp.concatenate([a, blank(a)]), found)
  pool, found, _ = jax.lax.while_loop(goes_on, advance, (pool, found, jnp.int32(0)))
  shifted = jnp.where(pool.example == _NOTHING, _NOTHING, pool.example - size)
  read, rest = (jax.tree.map(lambda a, k=k: a[k], found) for k in (slice(size), slice(size, None)))
  return pool._replace(example=shifted), rest, read


def _at(inputs: Array, example: Array, t: Array) -> Array:
  return inputs.at[example, t].get(mode="clip")

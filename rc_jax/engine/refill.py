"""Reads a whole data set up to its first spikes: a row that has spiked takes the next example.

A pool of rows works at full width until the data run out, so the work is little more than the sum
of the spike steps. Data arrive in batches of N examples. The pool works on two batches at a time,
the previous and the present one, until all of the previous one is read and all of the present one
is begun. The pool is an eighth of a batch wide: if it were as wide as a batch, it would wait half
empty for each batch's slowest row.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from rc_jax.engine.rows import initial_carries, select_rows
from rc_jax.rank_code import can_be_read, confidence, read_thresholds
from rc_jax.types import Array, Batch, Carry, Classifier, Params


class Reading(NamedTuple):
  """What the network said of N examples.

  Attributes:
    label: `[N]` int32 at the first spike, or at the last step where there is none.
    step: `[N]` int32, zero-based.
    spiked: `[N]` bool.
    finite: `[N]` bool, whether every output up to that step could be read (`can_be_read`).
  """

  label: Array
  step: Array
  spiked: Array
  finite: Array


_IDLE = 2**30  # the example of an idle row: an index beyond every place where a result could go


class _Pool(NamedTuple):
  """W rows at work.

  Attributes:
    example: `[W]` int32: below N an example of the previous batch, from N on one of the present
      batch, or _IDLE.
    t: `[W]` int32, the row's next step.
    carry: `[W, ...]`.
    finite: `[W]` bool, whether its outputs were finite so far.
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
  previous, pool, found = None, None, None
  for batch, rows in batches:
    batch = jax.tree.map(jnp.asarray, batch)
    if previous is None:
      previous, (pool, found) = batch, _make_idle_pool(classifier, params, batch)
      pool, found, _ = _work(classifier, params, pool, found, batch, batch, rows, theta)
      continue
    pool, found, read = _work(classifier, params, pool, found, previous, batch, rows, theta)
    previous = batch
    yield read
  if previous is not None:
    yield _work(classifier, params, pool, found, previous, previous, 0, theta)[2]


def _make_idle_pool(classifier: Classifier, params: Params, batch: Batch) -> tuple[_Pool, Reading]:
  """A pool with nothing to do, and an empty reading of a batch."""
  examples, rows = len(batch.labels), max(1, len(batch.labels) // 8)
  blank = lambda size: (jnp.zeros(size, jnp.int32), jnp.zeros(size, bool))
  numbers, flags = blank(rows)
  label, spiked = blank(examples)
  carry = initial_carries(classifier, params, rows)
  return _Pool(numbers + _IDLE, numbers, carry, flags), Reading(label, label, spiked, spiked)


class _Data(NamedTuple):
  """What the pool reads.

  Attributes:
    previous: batch of N examples.
    present: batch of any size.
    num_present: how many examples of `present` count.
    thresholds: `[T]`.
  """

  previous: Batch
  present: Batch
  num_present: Array
  thresholds: Array


@functools.partial(jax.jit, static_argnums=0)
def _work(
  classifier: Classifier,
  params: Params,
  pool: _Pool,
  found: Reading,
  previous: Batch,
  present: Batch,
  count: Array,
  theta: Array,
) -> tuple[_Pool, Reading, Reading]:
  """Works until all of `previous` is read and the first `count` of `present` are begun.

  Args:
    classifier: whose functions run.
    params: of the classifier.
    pool: at work on `previous`, or idle.
    found: what is known of `previous` so far.
    previous: batch of N examples.
    present: batch of any size.
    count: how many examples of `present` count.
    theta: threshold: a scalar, or `[T]`.

  Returns:
    The pool and what is found of `present`, both as the next call wants them, and all of
    `previous`.
  """
  size = len(previous.labels)

  step = jax.vmap(functools.partial(classifier.run_step, params))
  first = _inputs_at(present.inputs, pool.example, pool.t)
  classes = jax.eval_shape(step, pool.carry, first)[1].shape[-1]
  steps = jax.tree.leaves(present.inputs)[0].shape[1]
  data = _Data(previous, present, count, read_thresholds(theta, steps, classes))
  initial = initial_carries(classifier, params, len(pool.t))

  def goes_on(s: tuple) -> Array:
    pool, _, begun = s
    return (begun < count) | jnp.any(pool.example < size)

  blank = lambda a: jnp.zeros(len(present.labels), a.dtype)
  found = jax.tree.map(lambda a: jnp.concatenate([a, blank(a)]), found)
  advance = functools.partial(_advance, step, initial, data)
  pool, found, _ = jax.lax.while_loop(goes_on, advance, (pool, found, jnp.int32(0)))
  shifted = jnp.where(pool.example == _IDLE, _IDLE, pool.example - size)
  read, rest = (jax.tree.map(lambda a, k=k: a[k], found) for k in (slice(size), slice(size, None)))
  return pool._replace(example=shifted), rest, read


def _advance(
  step: Callable, initial: Carry, data: _Data, s: tuple[_Pool, Reading, Array]
) -> tuple[_Pool, Reading, Array]:
  """One step of all rows of the pool, of which idle ones first take an example each.

  The last of `s` is how many examples of the present batch are begun.
  """
  pool, found, begun = s
  size = len(data.previous.labels)
  idle = pool.example == _IDLE
  offered = begun + jnp.cumsum(idle, dtype=jnp.int32) - 1
  starts = idle & (offered < data.num_present)
  begun += jnp.sum(starts, dtype=jnp.int32)
  example = jnp.where(starts, size + offered, pool.example)
  t = jnp.where(starts, 0, pool.t)
  carry = select_rows(starts, initial, pool.carry)
  of_previous = _inputs_at(data.previous.inputs, example, t)
  of_present = _inputs_at(data.present.inputs, example - size, t)
  carry, logits = step(carry, select_rows(example < size, of_previous, of_present))

  last = jnp.concatenate([data.previous.lengths, data.present.lengths]) - 1
  finite = (starts | pool.finite) & can_be_read(logits)
  crossed = confidence(logits) >= data.thresholds.at[t].get(mode="clip")
  ends = crossed | (t >= last.at[example].get(mode="clip"))
  label = jnp.argmax(logits, axis=-1).astype(jnp.int32)
  place = jnp.where(ends, example, _IDLE)  # out of range, and dropped, where a row goes on
  put = lambda a, b: a.at[place].set(b, mode="drop")
  found = jax.tree.map(put, found, Reading(label, t, crossed, finite))
  return _Pool(jnp.where(ends, _IDLE, example), t + 1, carry, finite), found, begun


def _inputs_at(inputs: Any, example: Array, t: Array) -> Any:
  """Inputs `[W, ...]` of examples `[W]` at their steps `[W]`; those of idle rows are arbitrary."""
  return jax.tree.map(lambda a: a.at[example, t].get(mode="clip"), inputs)

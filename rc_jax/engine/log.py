"""The packed log: what the backward pass needs of each row-step that was computed.

The forward pass appends the rows of each step, so the beginning of the log holds what was computed
and nothing else, whatever the widths of the loops were. A flat position is `row * T + t`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rc_jax.engine.float_leaves import floats
from rc_jax.engine.records import Trail
from rc_jax.engine.rows import gather_rows, num_rows
from rc_jax.engine.sharding import vary_alike
from rc_jax.types import Array, Encoded

# The gradient of `encode` reads the log in blocks of this many entries, or of a multiple.
BLOCK = 64


def blank_log(residuals: list[Array], encoded: Encoded | None, xs: Any) -> list[Array]:
  """A log of zeros with room for all row-steps but those of the first step.

  Args:
    residuals: what the derivative of one step needs, of which shapes and types are read.
    encoded: what `encode` gives for one step, or None where it does not stand apart. Cotangents
      that find no residual of their shape and type to replace get an array of their own.
    xs: `[B, T, ...]` inputs.

  Returns:
    `[entries, ...]` each: the residuals, and arrays of cotangents alone. Where `encode` stands
    apart, cotangents of its results replace some residuals in the backward pass.
  """
  slots = [] if encoded is None else cotangent_slots(residuals, encoded)
  leaves = [] if encoded is None else floats(encoded)
  appended = [leaf for slot, leaf in zip(slots, leaves, strict=True) if slot >= len(residuals)]
  return blank_entries([*residuals, *appended], xs)


def blank_entries(entries: Any, xs: Any) -> Any:
  """Zeros `[entries, ...]`, with room for all row-steps but those of the first step.

  Args:
    entries: of one step, a tree of `[n, ...]`, of which shapes and types are read.
    xs: `[B, T, ...]` inputs.
  """
  rows, steps = rows_and_steps(xs)
  size = -(-rows * max(steps - 1, 1) // BLOCK) * BLOCK
  blank = lambda a: vary_alike(jnp.zeros((size, *a.shape[1:]), a.dtype), xs)[0]
  return jax.tree.map(blank, entries)


def cotangent_slots(residuals: list[Array], encoded: Encoded) -> list[int]:
  """Index of the log array that receives each cotangent of `encode`'s float results.

  It is a residual of equal shape and dtype, else an appended array. An entry's residuals are read
  before its cotangents are written, so nothing is lost, and the log is no larger than it must be.

  Args:
    residuals: of a step, or the log's arrays with those that were appended: both give the same.
    encoded: what `encode` gives for one step.
  """
  free = dict(enumerate(residuals))
  slots: list[int] = []
  for leaf in floats(encoded):
    alike = [i for i, a in free.items() if (a.shape[1:], a.dtype) == (leaf.shape[1:], leaf.dtype)]
    slots.append(alike[0] if alike else len(residuals) + sum(i >= len(residuals) for i in slots))
    free.pop(slots[-1], None)
  return slots


def find_positions(trail: Trail, lengths: Array | None, steps: int) -> Array:
  """Flat positions `[entries]` int32 of what the log holds; 0 beyond its end and in the padding.

  Args:
    trail: of a run.
    lengths: `[B]`, or None.
    steps: T.
  """
  entry = jnp.arange(trail.log[0].shape[0], dtype=jnp.int32)
  flat = jnp.zeros_like(entry)
  for stage in trail.stages:
    place, width = entry - stage.log_start, stage.rows.size
    row, step = gather_rows(stage.rows, place % width), stage.first + place // width
    counts = entry < trail.logged
    if lengths is not None:
      counts &= step < gather_rows(lengths, row)
    flat = jnp.where(place >= 0, jnp.where(counts, row * steps + step, 0), flat)
  return flat


def write_entries(arrays: Any, entries: Any, start: Array) -> Any:
  """Writes `[n, ...]` entries of a tree from position `start` on."""
  put = lambda a, b: lax.dynamic_update_slice_in_dim(
    a, b, start, axis=0, allow_negative_indices=False
  )
  return jax.tree.map(put, arrays, entries)


def read_entries(arrays: Any, start: Array, count: int) -> Any:
  """Reads `count` entries of a tree from position `start` on."""
  take = lambda a: lax.dynamic_slice_in_dim(a, start, count, axis=0, allow_negative_indices=False)
  return jax.tree.map(take, arrays)


def inputs_at(xs: Any, flat: Array) -> Any:
  """Inputs `[n, ...]` at flat positions `[n]`."""
  return gather_rows(jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), xs), flat)


def inputs_of_step(xs: Any, rows: Array, t: Array, last: Array | int) -> Any:
  """Inputs `[n, ...]` of rows `[n]` at step t; after a row's last step `[n]`, those of that step.

  So no step reads the padding: a NaN there times a cotangent of zero would be NaN. Zeros in
  its place would do for most steps, but not for one that has no derivative there.
  """
  step = t if isinstance(last, int) else jnp.minimum(t, last)
  return inputs_at(xs, rows * rows_and_steps(xs)[1] + step)


def add_input_gradients(dxs: list[Array], flat: Array, gradients: list[Array]) -> list[Array]:
  """Adds gradients `[n, ...]` of inputs to flat ones `[B * T, ...]` at flat positions `[n]`."""
  return [a.at[flat].add(b) for a, b in zip(dxs, gradients, strict=True)]


def rows_and_steps(xs: Any) -> tuple[int, int]:
  """B and T of a tree of `[B, T, ...]` inputs."""
  return num_rows(xs), jax.tree.leaves(xs)[0].shape[1]

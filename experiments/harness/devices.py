"""The devices of a run: each takes its rows of every batch, and all hold the same parameters."""

from collections.abc import Iterator
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rc_jax import Batch

AXIS = "device"  # along which a batch is cut by rows
EVERYWHERE, BY_ROWS = PartitionSpec(), PartitionSpec(AXIS)


def choose_number(asked: int | None, batch_size: int) -> int:
  """Returns the number of devices that a run works on.

  Args:
    asked: by --devices; None takes as many as there are and as divide the batch.
    batch_size: rows that they share.

  Raises:
    ValueError: more devices than there are, or rows that they cannot share evenly.
  """
  there = jax.device_count()
  if asked is None:
    return max(n for n in range(1, there + 1) if batch_size % n == 0)
  if not 1 <= asked <= there:
    raise ValueError(f"--devices is {asked}; there are {there} here: give 1 to {there}")
  if batch_size % asked:
    fitting = ", ".join(str(n) for n in range(1, there + 1) if batch_size % n == 0)
    raise ValueError(
      f"--batch_size={batch_size} cannot be shared evenly by {asked} devices; give "
      f"--batch_size={asked * (batch_size // asked + 1)}, or --devices of {fitting}"
    )
  return asked


def describe(number: int, batch_size: int) -> str | None:
  """Says what the devices do; None where there is but one and nothing is to be said."""
  there = jax.device_count()
  if there == 1:
    return None
  idle = f" of {there}" if number < there else ""
  return f"{number}{idle} devices, {batch_size // number} rows of a batch on each"


def make_mesh(number: int) -> Mesh | None:
  """Returns the mesh of so many devices; None for one, which needs none."""
  if number == 1:
    return None
  return jax.make_mesh((number,), (AXIS,), (AxisType.Auto,), devices=jax.devices()[:number])


def replicate(tree: Any, mesh: Mesh | None) -> Any:
  """Copies arrays to every device of the mesh."""
  return tree if mesh is None else jax.device_put(tree, NamedSharding(mesh, EVERYWHERE))


def share_rows(batches: Iterator[Batch], mesh: Mesh | None) -> Iterator[Batch]:
  """Gives each device its rows of every batch.

  Args:
    batches: all of as many rows as the first; where these cannot be shared evenly, and of a last
      batch that is short, all rows stay where they are.
    mesh: of the devices.
  """
  for batch in batches:
    if mesh is None or len(batch.labels) % mesh.size:
      yield batch
    else:
      yield jax.device_put(batch, NamedSharding(mesh, BY_ROWS))

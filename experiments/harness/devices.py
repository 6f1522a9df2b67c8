"""The devices of a run: each takes its rows of every batch, and all hold the same parameters.

Of several processes each has as many devices in it as the others, and its rows lie together.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
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
    ValueError: more devices than there are, a number that the processes or the rows of a batch
      cannot be shared evenly by.
  """
  there, processes = jax.device_count(), jax.process_count()
  fitting = [n for n in range(processes, there + 1, processes) if batch_size % n == 0]
  if asked is None:
    asked = max(fitting, default=processes)
  if not 1 <= asked <= there:
    raise ValueError(f"--devices is {asked}; there are {there} here: give 1 to {there}")
  if asked % processes:
    raise ValueError(
      f"--devices is {asked}; {processes} processes have equally many: give a multiple of that"
    )
  if batch_size % asked:
    others = f", or --devices of {', '.join(map(str, fitting))}" if fitting else ""
    raise ValueError(
      f"--batch_size={batch_size} cannot be shared evenly by {asked} devices; give "
      f"--batch_size={asked * (batch_size // asked + 1)}{others}"
    )
  return asked


def describe(number: int, batch_size: int) -> str | None:
  """Says what the devices do; None where there is but one and nothing is to be said."""
  there = jax.device_count()
  if there == 1:
    return None
  idle = f" of {there}" if number < there else ""
  several = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
  return f"{number}{idle} devices{several}, {batch_size // number} rows of a batch on each"


def make_mesh(number: int) -> Mesh | None:
  """Returns the mesh of so many devices; None for one, which needs none."""
  if number == 1:
    return None
  processes = range(jax.process_count())
  each = number // len(processes)
  devices = [d for k in processes for d in jax.local_devices(process_index=k)[:each]]
  return Mesh(np.array(devices), (AXIS,), (AxisType.Auto,))


def replicate(tree: Any, mesh: Mesh | None) -> Any:
  """Copies arrays, the same in every process, to every device of the mesh."""
  return tree if mesh is None else _put(tree, NamedSharding(mesh, EVERYWHERE))


def share_rows(batches: Iterator[Batch], mesh: Mesh | None) -> Iterator[Batch]:
  """Gives each device its rows of every batch, and all of them all labels and lengths.

  Args:
    batches: the same in every process, all of as many rows as the first; where these cannot be
      shared evenly, and of a last batch that is short, all rows stay where they are.
    mesh: of the devices.
  """
  for batch in batches:
    if mesh is None or len(batch.labels) % mesh.size:
      yield batch
    else:
      yield Batch(
        _put(batch.inputs, NamedSharding(mesh, BY_ROWS)),
        replicate(batch.labels, mesh),
        replicate(batch.lengths, mesh),
      )


def take_own_rows(index: np.ndarray) -> np.ndarray:
  """Returns what this process reads of a batch: `[B / processes]` of `[B]`."""
  return np.split(index, jax.process_count())[jax.process_index()]


def join_rows(batch: Any, mesh: Mesh | None) -> Any:
  """Makes a batch of the rows that each process has read, as of `take_own_rows`."""
  if mesh is None or jax.process_count() == 1:
    return batch
  by_rows = NamedSharding(mesh, BY_ROWS)
  return jax.tree.map(lambda a: jax.make_array_from_process_local_data(by_rows, a), batch)


def take_local(tree: Any) -> Any:
  """Returns replicated arrays as arrays of one device, for what one process computes alone."""
  return jax.tree.map(lambda a: a if a.is_fully_addressable else a.addressable_data(0), tree)


def _put(tree: Any, sharding: NamedSharding) -> Any:
  """Places arrays, of which each process holds the whole."""
  if sharding.is_fully_addressable:
    return jax.device_put(tree, sharding)

  def put(array: Any) -> Any:  # device_put would first send all of it round, to compare
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
      data = put(jax.random.key_data(array))
      return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

  return jax.tree.map(put, tree)

"""The processes of a run: on several hosts they train one network together.

All of them make the same updates, each on its own rows of a batch. Process 0 alone reads and writes
the files of the run, and hands what it has read to the others: the state is small and the same
everywhere, so that only its disk need be the one of the start before.
"""

import contextlib
import importlib.util
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.harness import process_loss

# Says how many processes there are: of SLURM's srun, and of Open MPI's mpirun.
_COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
# A process that does not answer for so long counts as lost; JAX's default is 100.
_HEARTBEAT_SECONDS = 40
_JOIN_SECONDS = 300  # for all processes to start
_AGREE_SECONDS = 1.0  # between two questions of an `Agreement`


def join(address: str | None, number: int | None, index: int | None) -> None:
  """Joins the other processes of a run, before JAX is first used; alone it does nothing.

  What is not given comes from the cluster: SLURM, Open MPI and TPU pods are recognised.

  Args:
    address: host:port of process 0.
    number: of processes.
    index: of this one, from 0 on.

  Raises:
    ValueError: some is given and some lacks or is wrong, or the processes cannot reach one another.
  """
  given = {"--coordinator_address": address, "--num_processes": number, "--process_id": index}
  if number == 1 or (set(given.values()) == {None} and not _is_on_cluster()):
    return
  lacks = [name for name, value in given.items() if value is None]
  if len(lacks) < len(given) and lacks and not _is_on_cluster():
    raise ValueError(f"{' and '.join(lacks)} lack; all of {', '.join(given)} say who is who")
  if number is not None and index is not None and not 0 <= index < number:
    raise ValueError(f"--process_id is {index}; of {number} processes it is 0 to {number - 1}")
  if address is not None:
    _await_coordinator(address, index, _JOIN_SECONDS)
  process_loss.say_at_abort(
    f"not all processes have come within {_JOIN_SECONDS} seconds; start all again, together"
  )
  try:
    jax.distributed.initialize(
      address,
      number,
      index,
      initialization_timeout=_JOIN_SECONDS,
      heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
    )
    lost = process_loss.describe("JAX tells more above")  # asks the others for their devices
  except (ValueError, RuntimeError) as error:
    if set(given.values()) == {None} and "should be defined" in str(error):
      signal.signal(signal.SIGABRT, signal.SIG_DFL)
      return  # a TPU of one host
    text = process_loss.read_first_line(error)
    raise ValueError(f"this process cannot join the others: {text}") from error
  process_loss.say_at_abort(lost)


def _is_on_cluster() -> bool:
  """Whether SLURM or Open MPI counts several processes, or libtpu is there, as on a TPU pod."""
  counts = [int(os.environ.get(name, "1")) for name in _COUNTS]
  return max(counts) > 1 or importlib.util.find_spec("libtpu") is not None


def _await_coordinator(address: str, index: int | None, seconds: float) -> None:
  """Raises ValueError if process 0 cannot be reached or has no port: JAX would abort, or wait.

  Args:
    address: host:port of process 0.
    index: of this process; None where the cluster knows it.
    seconds: for process 0 to start.
  """
  host, _, port = address.rpartition(":")
  if not (host and port.isdigit()):
    raise ValueError(f"--coordinator_address is {address!r}; give host:port of process 0")
  if index == 0:
    try:
      socket.create_server(("", int(port))).close()
    except OSError as error:
      raise ValueError(
        f"--coordinator_address is {address}, but its port cannot be used here "
        f"({error.strerror}); give another one, to all processes"
      ) from error
  end = time.monotonic() + seconds
  while index:
    try:
      return socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
      if time.monotonic() > end:
        raise ValueError(
          f"process 0 cannot be reached at --coordinator_address={address} "
          f"({error.strerror or error}); start it within {seconds:.0f} seconds, and give a host "
          "and a port that all can reach"
        ) from error
    time.sleep(0.5)


def is_writer() -> bool:
  """Whether this process reads and writes the files of the run, and talks to the user."""
  return jax.process_index() == 0


def exchange(value: Any) -> list[Any]:
  """Returns the value of each process.

  Args:
    value: of JSON.
  """
  if jax.process_count() == 1:
    return [value]
  text = np.frombuffer(json.dumps(value).encode(), np.uint8)
  lengths = multihost_utils.process_allgather(np.int32(len(text)))
  padded = np.pad(text, (0, int(lengths.max()) - len(text)))
  texts = multihost_utils.process_allgather(padded)
  return [json.loads(bytes(row[:n])) for row, n in zip(texts, lengths, strict=True)]


def share(arrays: Any) -> Any:
  """Returns the arrays of process 0, on the host.

  Args:
    arrays: a tree; of the others only its shapes and types count.
  """
  return multihost_utils.broadcast_one_to_all(arrays)


def refuse_differences(own: Any, compare: Callable[[Any, Any], Sequence[str]]) -> None:
  """Raises ValueError in all processes if one of them has started something else.

  Args:
    own: values of JSON that describe this process.
    compare: says in phrases how those of process 0 and of another one differ.
  """
  first, *others = exchange(own)
  for index, other in enumerate(others, 1):
    if differences := compare(first, other):
      raise ValueError(
        f"process {index} differs from process 0: {'; '.join(differences)}; start all with the "
        "same command, code and data"
      )


@contextlib.contextmanager
def sharing_failure() -> Iterator[None]:
  """Raises in all processes what the code inside raises in one of them, so that none waits.

  Raises:
    ValueError: as the code inside, or it has failed in another process.
  """
  own: Exception | None = None
  try:
    yield
  except (ValueError, OSError) as error:
    own = error
  said = exchange(None if own is None else str(own))
  if own is not None:
    raise own
  for index, text in enumerate(said):
    if text is not None:
      raise ValueError(f"process {index} has ended: {text}")


class Agreement:
  """Brings the processes of a run to pause before the same update.

  A signal reaches one process, and the clocks of two are never the same. So about once a second,
  counted in updates, they ask one another. A process alone only asks itself, each time.

  Args:
    wants_stop: whether this process has been told to stop.
    save_seconds: between two checkpoints, by the clock of process 0.

  Attributes:
    stops: whether all have agreed to stop.
    pauses: whether all have agreed to save, or to stop.
  """

  def __init__(self, wants_stop: Callable[[], bool], save_seconds: float):
    self.stops = self.pauses = False
    self._wants_stop, self._save_seconds = wants_stop, save_seconds
    self._saved_at = self._asked_at = time.monotonic()
    self._count = self._due = 0

  def ask(self) -> bool:
    """Whether to pause before the next update; all processes ask before each."""
    now = time.monotonic()
    stops, saves = self._wants_stop(), now - self._saved_at > self._save_seconds
    self._count += 1
    if jax.process_count() > 1:
      if self._count < self._due:
        return False
      stops, saves, updates = self._gather(stops, saves, now - self._asked_at)
      self._count, self._due, self._asked_at = 0, updates, time.monotonic()
    self.stops = self.stops or stops
    self.pauses = self.stops or saves
    return self.pauses

  def note_save(self) -> None:
    """Starts the clock of the next checkpoint."""
    self.pauses, self._saved_at = False, time.monotonic()

  def _gather(self, stops: bool, saves: bool, elapsed: float) -> tuple[bool, bool, int]:
    """Returns whether to stop, whether to save, and in how many updates to ask again."""
    own = np.array([stops, saves, elapsed], np.float32)
    everyone = multihost_utils.process_allgather(own)
    seconds_an_update = float(everyone[0, 2]) / max(self._count, 1)
    updates = min(max(int(_AGREE_SECONDS / max(seconds_an_update, 1e-4)), 1), 1000)
    return bool(everyone[:, 0].any()), bool(everyone[0, 1]), updates

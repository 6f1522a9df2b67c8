"""Runs in several processes, over loopback, against the same in one."""

import collections
import contextlib
import json
import multiprocessing
import os
import signal
import socket
import sys

import jax
import numpy as np
import pytest
from absl.testing import flagsaver
from running import read_json, run

from data_pipelines.batches import Split
from deploy import load_run
from experiments import temporal_mnist
from experiments.harness import devices, flags, process_loss, processes
from experiments.harness import run as harness
from experiments.harness.fingerprint import identify_data

# Rows are read by the host, each process its own; two processes do not draw pictures.
GIVEN = {
  **{"dataset": "digits", "units": "4", "batch_size": "48", "progress": "false"},
  **{"beta": "0.1", "theta": "0.15", "learning_rate": "0.001", "shift": "1", "engine": "full"},
  **{"data_on_device": "false", "choose": "last"},
}
STEPS = 25  # updates an epoch

# Forked from a process that has imported all that a run needs, but has not used JAX.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["experiments.temporal_mnist", "experiments.harness.run", __name__])


def work(given, log, at_update):
  """The main of one process: its output goes to `log`, and so do the training rows that it reads.

  Args:
    given: flags.
    log: path of the output; the rows go beside it.
    at_update: `(number, signal)` that it sends itself before its so manieth update, or None.
  """
  redirect(log)
  os.environ["XLA_FLAGS"] = os.environ["XLA_FLAGS"].replace("count=2", "count=1")
  jax.config.update("jax_disable_most_optimizations", True)
  processes._AGREE_SECONDS = 0.0  # before each update, and a checkpoint each time
  ask, read, asked = processes.Agreement.ask, Split.__getitem__, 0

  def ask_and_send(agreement):
    nonlocal asked
    asked += 1
    if at_update and asked == at_update[0]:
      os.kill(os.getpid(), at_update[1])
    agreement._save_seconds = 0.0 if asked % 10 == 0 else 1e9
    return ask(agreement)

  def read_and_log(split, index):
    if len(split) > 1000:  # the training split
      with open(f"{log}.rows", "a") as rows:
        rows.write(json.dumps(np.asarray(index).tolist()) + "\n")
    return read(split, index)

  processes.Agreement.ask, Split.__getitem__ = ask_and_send, read_and_log
  with flagsaver.as_parsed(**given), pytest.MonkeyPatch.context() as patch:
    patch.setattr("experiments.harness.report.write", lambda path: None)
    patch.setattr("sys.argv", ["temporal_mnist"])
    flags.run_main(temporal_mnist.main)


def start(folder, number, at_update=None, **given):
  """Starts so many processes of one run, and waits for their ends.

  Args:
    folder: where the workdir and the logs are.
    number: of processes.
    at_update: `(process, update, signal)`: when which one gets which signal, or None.
    **given: flags.

  Returns:
    Exit status and output of each.
  """
  where = {"workdir": str(folder / "run"), "coordinator_address": find_address()}
  flags = GIVEN | where | {"num_processes": str(number)} | given
  logs = [folder / f"{number}-{k}.log" for k in range(number)]
  signals = [at_update[1:] if at_update and at_update[0] == k else None for k in range(number)]
  return run_processes(
    work,
    logs,
    [
      (flags | {"process_id": str(k)}, str(log), own)
      for k, (log, own) in enumerate(zip(logs, signals, strict=True))
    ],
  )


def find_address():
  """host:port for a process 0 on this machine."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return f"127.0.0.1:{free.getsockname()[1]}"


def run_processes(target, logs, arguments):
  """Runs a function in as many processes as there are logs, which it writes; see `start`."""
  members = [FORKED.Process(target=target, args=own) for own in arguments]
  for one in members:
    one.start()
  for one in members:
    one.join(300)
    one.kill()
  return [(one.exitcode, log.read_text()) for one, log in zip(members, logs, strict=True)]


def join_alone(log, address, index, seconds):
  """The main of a process that joins another one: process 0 dies at once, process 1 waits."""
  redirect(log)
  processes._JOIN_SECONDS = seconds

  def main():
    processes.join(address, 2, index)
    processes.exchange(index)  # both are there
    if index == 0:
      os.kill(os.getpid(), signal.SIGKILL)
    while True:  # JAX's abort comes while Python computes
      sum(range(1000))

  sys.exit(flags.guard(main))


def redirect(log):
  """Sends the output of this process to a file."""
  file = os.open(log, os.O_WRONLY | os.O_CREAT)
  os.dup2(file, 1)
  os.dup2(file, 2)


def read_params(folder):
  """The parameters that a run has come to, in one vector."""
  leaves = jax.tree.leaves(load_run(str(folder)).params)
  return np.concatenate([np.ravel(leaf) for leaf in leaves])


def assert_same(folder, other, tolerance):
  """Compares parameters, within a tolerance relative to the largest one."""
  expected = read_params(other)
  atol = tolerance * np.max(np.abs(expected))
  np.testing.assert_allclose(read_params(folder), expected, rtol=0, atol=atol)


@pytest.mark.usefixtures("no_pictures", "two_devices")
def test_two_processes_equal_one(tmp_path):
  """Over two epochs, 50 updates, in which each training example is read once an epoch."""
  ends = start(tmp_path, 2, epochs="2")
  assert [status for status, _ in ends] == [0, 0], ends
  assert "2 devices in 2 processes, 24 rows of a batch on each" in ends[0][1]
  assert run(temporal_mnist, tmp_path / "one", devices="2", epochs="2", **GIVEN) == 0
  assert_same(tmp_path / "run", tmp_path / "one", 1e-6)
  assert read_json(tmp_path / "run")["rc_accuracy"] == read_json(tmp_path / "one")["rc_accuracy"]
  logs = [(tmp_path / f"2-{k}.log.rows").read_text().splitlines() for k in (0, 1)]
  counts = collections.Counter(np.ravel([[json.loads(x) for x in log[:STEPS]] for log in logs]))
  assert len(counts) == 48 * STEPS and set(counts.values()) == {1}


@pytest.mark.usefixtures("no_pictures", "shared_programs")
def test_a_run_whose_processes_change(tmp_path):
  """3 are stopped by a signal to one; 2 go on until a kill of one ends the other; 1 goes on."""
  ends = start(tmp_path, 3, (2, 8, signal.SIGTERM), epochs="2")
  assert [status for status, _ in ends] == [130] * 3, ends
  assert "stopped after update 7;" in ends[0][1] and not ends[1][1].count("stopped")
  (status, said), (killed, _) = start(tmp_path, 2, (1, 22, signal.SIGKILL), epochs="2")
  assert (status, killed) == (130, -signal.SIGKILL)
  # Begun anew, they would not have come beyond 21 updates.
  assert max(int(p.name) for p in (tmp_path / "run" / "checkpoints").glob("[0-9]*")) > 21
  assert "error: another of the 2 processes has ended or cannot be reached" in said
  assert "Traceback" not in said
  assert run(temporal_mnist, tmp_path / "run", devices="1", epochs="3", **GIVEN) == 0
  assert run(temporal_mnist, tmp_path / "one", devices="1", epochs="3", **GIVEN) == 0
  # Where a gradient is near zero, Adam makes a step of rounding alone.
  assert_same(tmp_path / "run", tmp_path / "one", 1e-4)


def test_the_loss_of_process_0(tmp_path):
  """JAX's client aborts the others, from a thread of its own."""
  logs, address = [tmp_path / "0.log", tmp_path / "1.log"], find_address()
  arguments = [(str(log), address, k, 60) for k, log in enumerate(logs)]
  (killed, _), (status, said) = run_processes(join_alone, logs, arguments)
  assert (killed, status) == (-signal.SIGKILL, 130)
  assert "error: another of the 2 processes has ended or cannot be reached (JAX tells more" in said


def test_a_process_that_never_comes(tmp_path):
  logs = [tmp_path / "0.log"]
  ((status, said),) = run_processes(join_alone, logs, [(str(logs[0]), find_address(), 0, 1)])
  assert status == 130
  assert "error: not all processes have come within 1 seconds" in said


def test_processes_that_were_started_otherwise(monkeypatch):
  first, other = (
    {"same": {"--seed": k, "jax": "0.10.2"}, "data": identify_data({}, names, {})}
    for k, names in enumerate((["a", "b"], ["a", "c"]))
  )
  for others, message in (
    ([first], None),
    ([other], "--seed is 1, not 0; the classes were a, b, are a, c; start all with the same"),
    ([first, first], "it trains 2 runs, not 1; start"),
  ):
    everyone = [[first], [first], others]
    monkeypatch.setattr(processes, "exchange", lambda own, all=everyone: all)
    expected = pytest.raises(ValueError, match=f"process 2 differs from process 0: {message}")
    with expected if message else contextlib.nullcontext():
      processes.refuse_differences([first], harness._list_unlike)


def test_a_failure_is_told_to_all_processes(monkeypatch):
  monkeypatch.setattr(processes, "exchange", lambda own: ["the disk is full", own])
  full = pytest.raises(ValueError, match="process 0 has ended: the disk is full")
  with full, processes.sharing_failure():
    pass
  with pytest.raises(OSError, match="its own"), processes.sharing_failure():
    raise OSError("its own")


@pytest.mark.parametrize(
  ("given", "message"),
  [
    (("host:1", None, None), "--num_processes and --process_id lack; all of --coordinator_address"),
    (("host:1", 2, 2), "--process_id is 2; of 2 processes it is 0 to 1"),
    (("nowhere", 2, 1), "--coordinator_address is 'nowhere'; give host:port of process 0"),
  ],
)
def test_processes_that_cannot_join(given, message):
  with pytest.raises(ValueError, match=message):
    processes.join(*given)


def test_a_coordinator_that_cannot_be_reached():
  with socket.create_server(("", 0)) as taken:
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ValueError, match="its port cannot be used here"):
      processes.join(address, 2, 0)
  with pytest.raises(ValueError, match=f"--coordinator_address={address} .Connection refused"):
    processes._await_coordinator(address, 1, seconds=0)


def test_alone_nothing_is_joined_and_a_wish_is_obeyed_at_once(monkeypatch):
  processes.join(None, None, None)
  monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
  processes.join(None, 1, None)  # though SLURM has started two
  assert not jax.distributed.is_initialized()
  assert processes.exchange({"a": 1}) == [{"a": 1}]
  assert process_loss.explain_error(ValueError("UNKNOWN: Gloo all-reduce failed")) is None
  stop, asked = [], processes.Agreement(lambda: bool(stop), 1e9)
  assert not asked.ask()
  stop.append(1)
  assert asked.ask() and asked.stops
  due = processes.Agreement(lambda: False, -1.0)
  assert due.ask() and not due.stops
  due.note_save()
  assert not due.pauses


@pytest.mark.parametrize(
  ("asked", "rows", "message"),
  [
    (3, 12, "--devices is 3; 2 processes have equally many: give a multiple of that"),
    (None, 33, "--batch_size=33 cannot be shared evenly by 2 devices; give --batch_size=34$"),
    (2, 33, "--batch_size=33 cannot be shared evenly by 2 devices; give --batch_size=34$"),
  ],
)
def test_devices_of_two_processes(asked, rows, message, monkeypatch):
  monkeypatch.setattr(jax, "process_count", lambda: 2)
  monkeypatch.setattr(jax, "device_count", lambda: 4)
  assert [devices.choose_number(None, n) for n in (2, 6, 12)] == [2, 2, 4]
  with pytest.raises(ValueError, match=message):
    devices.choose_number(asked, rows)

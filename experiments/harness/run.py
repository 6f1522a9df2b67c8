"""A binary's work: train, or go on, and leave the files of the run."""

import contextlib
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, TextIO

import jax
import numpy as np

from deploy.run_files import save_model
from experiments.harness import devices, large_pages, processes, report
from experiments.harness.circumstances import describe_machine, describe_numerics
from experiments.harness.files import Files
from experiments.harness.fingerprint import identify_data, list_differences
from experiments.harness.loop import train
from experiments.harness.objectives import needs_reader
from experiments.harness.run_state import RunState, naming_split, summarize
from experiments.harness.settings import LOCAL_FLAGS, Settings
from experiments.harness.task import Task
from experiments.harness.updates import (
  count_updates,
  load_initial_params,
  set_dtype,
  take_example_inputs,
)
from experiments.harness.workdir import Workdir, to_plain, write_json
from rc_jax import (
  Evaluation,
  accuracy_at_step,
  beta_limit,
  check_theta,
  evaluate,
  frontier,
  record,
  unroll,
)
from rc_jax.types import Params

# Beyond theta = .95 the curve is about certainty: steps in the odds, not in the probability.
FRONTIER_ODDS = np.geomspace(0.25, 1e4, 49)


def run(task: Task, settings: Settings) -> int:
  """Trains a task, or goes on with it, and leaves the files of the run in its workdir.

  Args:
    task: what to train.
    settings: how, where and how long.

  Returns:
    Exit status: 0, or 130 if a signal ended the training (nothing is lost).

  Raises:
    ValueError: a workdir that cannot be used, bad data, or a training that diverged.
  """
  return run_together([(task, settings)])


def run_together(members: Sequence[tuple[Task, Settings]]) -> int:
  """Does what `run` does for several runs in one program; each leaves the files it would alone.

  Args:
    members: of one experiment, with the same settings but for seed, constant beta and workdir.

  Returns:
    Exit status, as `run`.

  Raises:
    ValueError: as `run`.
  """
  for task, settings in members:  # all that can be wrong is told before anything is written
    check_fit(task, settings)
  if jax.process_count() > 1:
    processes.refuse_differences([_describe_start(*member) for member in members], _list_unlike)
  members = [(note_beta(*member), member[1]) for member in members]
  for note in dict.fromkeys(note for task, _ in members for note in task.notes):
    _say(note)
  shared = members[0][1]
  if said := devices.describe(shared.devices, shared.batch_size):
    _say(said)
  first = set_dtype(*members[0])  # one object, so that each function compiles once
  mesh = devices.make_mesh(shared.devices)
  data = {id(task.data): devices.replicate(task.data, mesh) for task, _ in members}
  with contextlib.ExitStack() as opened:
    runs = []
    for task, settings in members:
      with processes.sharing_failure():
        files = _open_files(task, settings, opened)
      task = task._replace(
        classifier=first.classifier, reader=first.reader, data=data[id(task.data)]
      )
      runs.append(RunState(task, settings, files))
    for note in (note for one in runs if one.files for note in one.files.workdir.notes):
      _say(note, sys.stderr)
    for one in (one for one in runs if 0 < one.step < one.updates):
      _say(f"{one.settings.workdir} goes on after update {one.step} of {one.updates}")
    for one in (one for one in runs if one.step > one.updates):
      _say(
        f"{one.settings.workdir} has made {one.step} updates, and these flags ask for "
        f"{one.updates}: it is reported as it is; for a shorter run, give another --workdir",
        sys.stderr,
      )
    if shared.progress and (advice := large_pages.advise()):
      _say(advice, sys.stderr)
    ended = train(runs)
    for one in runs if ended else []:
      finish(one)
  if not ended:
    steps = ", ".join(str(one.step) for one in runs)
    _say(f"stopped after update {steps}; the same command goes on from there", sys.stderr)
  return 0 if ended else 130


def _say(line: str, file: TextIO | None = None) -> None:
  """Shows the user a line, once for all processes."""
  if processes.is_writer():
    print(line, file=file)


def _open_files(task: Task, settings: Settings, opened: contextlib.ExitStack) -> Files | None:
  """Opens the files of a run, until `opened` closes; None where another process writes them.

  Raises:
    ValueError: the folder holds another run, or cannot be written.
  """
  if not processes.is_writer():
    return None
  data = identify_data(task.fingerprint, task.class_names, task.statistics)
  given = (settings.workdir, task.name, settings.flags, settings.flag_defaults)
  workdir = opened.enter_context(contextlib.closing(Workdir(*given, data, task.notes)))
  return opened.enter_context(contextlib.closing(Files(workdir, task)))


def _describe_start(task: Task, settings: Settings) -> dict[str, Any]:
  """What must be the same in all processes of a run: JSON values, by name, and its data."""
  machine = describe_machine()
  flags = {f"--{k}": v for k, v in settings.flags.items() if k not in LOCAL_FLAGS}
  same = {
    "experiment": task.name,
    "python": machine["python"],
    "revision": machine["git_revision"],
    **machine["packages"],
    **describe_numerics(),
    **flags,
  }
  data = identify_data(task.fingerprint, task.class_names, task.statistics)
  return to_plain({"same": same, "data": data})


def _list_unlike(first: list[dict[str, Any]], other: list[dict[str, Any]]) -> list[str]:
  """Says in phrases how two processes differ, by `_describe_start` of all members of each."""
  if len(first) != len(other):
    return [f"it trains {len(other)} runs, not {len(first)}"]
  found = []
  for a, b in zip(first, other, strict=True):
    names = [name for name in a["same"] if a["same"][name] != b["same"].get(name)]
    found += [f"{name} is {b['same'].get(name)!r}, not {a['same'][name]!r}" for name in names]
    found += list_differences(a["data"], b["data"])
  return list(dict.fromkeys(found))


def check_fit(task: Task, settings: Settings) -> None:
  """Raises ValueError where the settings do not fit the task's network, classes or length."""
  for _, theta in settings.thetas:
    check_theta(theta, len(task.class_names))
  count_updates(task, settings)
  # A run that goes on has parameters of its own.
  if not (pathlib.Path(settings.workdir) / "config.json").exists():
    load_initial_params(task, settings)
  settings.schedule_of("beta", task.updates_per_epoch)
  settings.schedule_of("theta", task.updates_per_epoch)


def note_beta(task: Task, settings: Settings) -> Task:
  """Returns the task with a note where beta, at the end, lies above what lets a network spike.

  Args:
    task: that is to be trained.
    settings: of its training; objectives other than "rc" have no such limit.
  """
  beta, theta, classes = settings.betas[-1][1], settings.theta, len(task.class_names)
  limit = beta_limit(theta, classes)
  if settings.objective != "rc" or beta <= limit:
    return task
  note = (
    f"--beta={beta:g} lies above {limit:.3g}, the limit for {classes} classes at theta {theta:g}: "
    "the loss is then least without a spike, and a network learns to wait for the end; for early "
    "decisions give less"
  )
  return task._replace(notes=(*task.notes, note))


def finish(run: RunState) -> None:
  """Reads the test split at the chosen checkpoint; writes and shows the result and pictures.

  Args:
    run: one that has come to its end.

  Raises:
    ValueError: the test split holds bad data, the training has diverged, or a file cannot be
      written.
  """
  params = run.params if run.settings.choose == "last" else run.best_params
  result = _describe_training(run) | _read_test(run, params)
  if run.files is not None:
    workdir = run.files.workdir
    with workdir.naming_failure():
      _write(run, devices.take_local(params), result, workdir.path)
    print(report.tabulate(workdir.path))


def _write(run: RunState, params: Params, result: dict[str, Any], path: pathlib.Path) -> None:
  """Writes what a run leaves at its end into its folder, the result last."""
  _save_examples(run, params, path)
  task, example = run.task, take_example_inputs(run.task)
  save_model(
    path,
    experiment=task.name,
    model=task.model,
    params=params,
    input_shape=example.shape[2:],
    class_names=task.class_names,
    theta=run.settings.theta,
    statistics=task.statistics,
    reading=task.reading,
    objective=run.settings.objective if needs_reader(run.settings.objective) else None,
  )
  write_json(path / "result.json", result)
  report.write(path)


def _describe_training(run: RunState) -> dict[str, Any]:
  """What result.json says of the training, and of what its numbers measure."""
  task, last = run.task, run.settings.choose == "last"
  return {
    "experiment": task.name,
    "best_validation_rc_accuracy": run.best.rc_accuracy,
    "chosen": run.settings.choose,
    "chosen_at": run.describe_position(run.step if last else run.best.step),
    "trained": run.describe_position(run.step),
    "stopped_early": run.stopped_early,
    **run.read_cost(),
    "seconds": run.seconds,
    "step_ms": task.step_ms,
    "axes": task.axes._asdict(),
    "class_names": task.class_names,
  }


def _read_test(run: RunState, params: Params) -> dict[str, Any]:
  """What result.json says of the test split; the network runs over it once."""
  task, classes = run.task, len(run.task.class_names)
  theta = FRONTIER_ODDS / (1 + FRONTIER_ODDS)
  with naming_split("test"):
    recorded, batches = record(task.read_classifier, params, run.read_split("test"))
    evaluation = evaluate(recorded, (), batches, run.settings.theta)
    curve = frontier(recorded, (), batches, theta[theta > 1.05 / classes])
    at_step = accuracy_at_step(recorded, (), batches)
  return {
    "split": "test",
    "num_test": len(evaluation.label),
    **summarize(evaluation),
    **task.measure(task, "test", evaluation, params),
    "num_steps": len(at_step),
    **_count_spike_steps(evaluation, len(at_step), classes),
    "frontier": curve._asdict(),
    "accuracy_at_step": at_step,
  }


def _count_spike_steps(evaluation: Evaluation, steps: int, classes: int) -> dict[str, Any]:
  """Counts examples by spike step: `[C, T]` of those that spiked, by label, `[T]` of the others."""
  spiked, step = evaluation.spiked, evaluation.step
  count = lambda which: np.bincount(step[which], minlength=steps)
  by_class = [count(spiked & (evaluation.label == c)) for c in range(classes)]
  return {"spike_steps": by_class, "silent_steps": count(~spiked)}


def _save_examples(run: RunState, params: Params, path: pathlib.Path) -> None:
  """Writes examples.npz: the sequences that a report draws, with what the network says of them."""
  if run.task.pictures is None:
    return
  batch, arrays = run.task.pictures()
  classifier = run.task.read_classifier
  carry = classifier.initial_carry(params)
  functions = {"encode": classifier.encode, "decode": classifier.decode}
  unroll_one = lambda x: unroll(classifier.step, params, carry, x, **functions)
  np.savez_compressed(
    path / "examples.npz",
    inputs=np.asarray(batch.inputs),
    labels=np.asarray(batch.labels),
    lengths=np.asarray(batch.lengths),
    probabilities=np.asarray(jax.nn.softmax(jax.jit(jax.vmap(unroll_one))(batch.inputs))),
    theta=run.settings.theta,
    **arrays,  # type: ignore[arg-type]
  )

"""A binary's work: train, or go on, and leave the files of the run."""

import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments import large_pages, report
from experiments.flags import Settings
from experiments.task import Task
from experiments.training import Loop, in_dtype, naming_split, num_updates, summary, train
from experiments.workdir import Workdir, read_metrics, write_json
from rc_jax import accuracy_at_step, check_theta, evaluate, frontier, record, unroll
from rc_jax.types import Params

# Beyond theta = .95 the curve is about certainty: steps in the odds, not in the probability.
FRONTIER_ODDS = np.geomspace(0.25, 1e4, 49)


def run(task: Task, settings: Settings) -> int:
  """Trains a task, or goes on with it, and leaves the files of design.md in its workdir.

  Args:
    task: what to train.
    settings: how, where and how long.

  Returns:
    Exit status: 0, or 130 if a signal ended the training (nothing is lost).

  Raises:
    ValueError: a workdir that cannot be used, bad data, or a training that diverged.
  """
  return run_together([(task, settings)])


def run_together(runs: Sequence[tuple[Task, Settings]]) -> int:
  """As `run`, of several runs in one program; each leaves the files that it would leave alone.

  Args:
    runs: of one experiment, with the same settings but for seed, constant beta and workdir.

  Returns:
    Exit status, as `run`.

  Raises:
    ValueError: as `run`.
  """
  for task, settings in runs:  # all that can be wrong is told before anything is written
    for _, theta in settings.thetas:
      check_theta(theta, len(task.class_names))
    num_updates(task, settings)
    settings.schedule_of("beta", task.updates_per_epoch)
    settings.schedule_of("theta", task.updates_per_epoch)
  classifier = in_dtype(*runs[0]).classifier  # one object, so that each function compiles once
  loops = [
    Loop(task._replace(classifier=classifier), s, Workdir(s.workdir, task.name, s.flags))
    for task, s in runs
  ]
  if runs[0][1].progress and (advice := large_pages.advice()):
    print(advice, file=sys.stderr)
  ended = train(loops)
  for loop in loops:
    if ended:
      finish(loop)
      print(report.table(loop.workdir.path))
    loop.close()
  if not ended:
    steps = ", ".join(str(loop.step) for loop in loops)
    print(f"stopped after update {steps}; the same command goes on from there", file=sys.stderr)
  return 0 if ended else 130


def finish(loop: Loop) -> dict[str, Any]:
  """Reads the test split at the chosen checkpoint and writes the result, report and pictures."""
  task, last = loop.task, loop.settings.choose == "last"
  params = loop.params if last else loop.best_params
  classes = len(task.class_names)
  theta = FRONTIER_ODDS / (1 + FRONTIER_ODDS)
  with naming_split("test"):
    recorded, batches = record(task.classifier, params, task.test.batches())
    evaluation = evaluate(recorded, (), batches, loop.settings.theta)
    curve = frontier(recorded, (), batches, theta[theta > 1.05 / classes])
    at_step = accuracy_at_step(recorded, (), batches)
  steps = len(at_step)
  last_line = read_metrics(loop.workdir.path)[-1]
  spiked, step = evaluation.spiked, evaluation.step
  histogram = [
    np.bincount(step[spiked & (evaluation.label == c)], minlength=steps) for c in range(classes)
  ]
  result = {
    "experiment": task.name,
    "split": "test",
    "num_test": len(evaluation.label),
    **summary(evaluation),
    **task.measure("test", evaluation, params),
    "best_validation_rc_accuracy": loop.best.rc_accuracy,
    "chosen": loop.settings.choose,
    "chosen_at": loop.position(loop.step if last else loop.best.step),
    "trained": loop.position(loop.step),
    "stopped_early": loop.stopped_early,
    "computed_fraction": last_line["computed_fraction"],
    "update_ms": last_line.get("update_ms"),
    "seconds": loop.seconds,
    "num_steps": steps,
    "step_ms": task.step_ms,
    "class_names": task.class_names,
    "spike_steps": histogram,
    "silent_steps": np.bincount(step[~spiked], minlength=steps),
    "frontier": curve._asdict(),
    "accuracy_at_step": at_step,
  }
  _save_pictures(loop, params)
  write_json(loop.workdir.path / "result.json", result)
  report.write(loop.workdir.path)
  return result


def _save_pictures(loop: Loop, params: Params) -> None:
  if loop.task.pictures is None:
    return
  batch, arrays = loop.task.pictures()
  classifier = loop.task.classifier
  carry = classifier.initial_carry(params)
  run = lambda x: unroll(
    classifier.step, params, carry, x, encode=classifier.encode, decode=classifier.decode
  )
  np.savez_compressed(
    loop.workdir.path / "examples.npz",
    inputs=np.asarray(batch.inputs),
    labels=np.asarray(batch.labels),
    lengths=np.asarray(batch.lengths),
    probabilities=np.asarray(jax.nn.softmax(jax.jit(jax.vmap(run))(batch.inputs))),
    theta=loop.settings.theta,
    **arrays,  # type: ignore[arg-type]
  )

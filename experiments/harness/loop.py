"""The one training loop, for a run alone or for several at once: a lone run is a group of one."""

import functools
import time
from collections.abc import Sequence

import jax
import numpy as np
import tqdm

from experiments.harness.joint import join, join_data, make_joint_update, split
from experiments.harness.processes import Agreement, is_writer
from experiments.harness.run_state import DivergedError, RunState
from experiments.harness.signals import StopOnSignal
from experiments.harness.updates import Update
from rc_jax import Metrics


def train(runs: Sequence[RunState]) -> bool:
  """Trains a run, or several of one experiment in one program, each as if it were alone.

  Args:
    runs: of the same classifier and settings but for seed, constant beta and workdir.

  Returns:
    Whether all came to their end; False if a signal stopped them before, with all saved.

  Raises:
    DivergedError: bad data, or a training that diverged; what was before that is saved then.
  """
  bar = tqdm.tqdm(
    total=sum(run.updates for run in runs),
    initial=sum(run.step for run in runs),
    unit="update",
    disable=not (runs[0].settings.progress and is_writer()) or all(run.ended for run in runs),
    dynamic_ncols=True,
  )
  # A group that comes again, after others have caught up or ended, is not compiled again.
  update = functools.cache(lambda *members: make_joint_update([runs[k] for k in members]))
  with StopOnSignal() as stop, bar:
    agreement = Agreement(stop.is_set, runs[0].settings.checkpoint_seconds)
    while not agreement.stops and (waiting := [k for k, run in enumerate(runs) if not run.ended]):
      step = min(runs[k].step for k in waiting)
      group = [k for k in waiting if runs[k].step == step]  # all, but after a kill
      ahead = [runs[k].step for k in waiting if k not in group]
      members = [runs[k] for k in group]
      before = [run.remember() for run in members]
      try:
        _advance(members, update(*group), ahead, agreement, bar)
      except DivergedError as error:
        for run, moment in zip(members, before, strict=True):
          run.return_to(moment)
        for run in runs:
          run.save()
        raise DivergedError(error.run, error.run.describe_divergence(str(error))) from error
      if agreement.pauses:
        for run in runs:
          run.save()
        agreement.note_save()
    for run in runs:
      if run.ended and run.best.rc_accuracy < 0:  # resumed before the first validation
        run.validate(bar.write)
      run.save()
  return all(run.ended for run in runs)


def _advance(
  runs: Sequence[RunState],
  update: Update,
  ahead: Sequence[int],
  agreement: Agreement,
  bar: tqdm.tqdm,
) -> None:
  """Makes updates until the next validation is done, others ahead are reached, or a pause is due.

  Args:
    runs: all at the same step.
    update: their joint update.
    ahead: steps of the runs that have come further.
    agreement: says whether to pause between two updates, for a checkpoint or a signal.
    bar: of the progress.
  """
  task, step = runs[0].task, runs[0].step
  every = task.evaluate_every
  validation = min(step - step % every + every, runs[0].updates)
  data, state = join_data(runs), join([run.state for run in runs])
  previous = None
  while step < min([validation, *ahead]) and not agreement.ask():
    started = time.monotonic()
    state, metrics = update(state, data, join([run.next_item() for run in runs]))
    if previous is not None:
      # A step late, so that the device never waits.
      _record_metrics(previous, step, runs, bar)
    step, previous = step + 1, metrics
    if step == validation:
      _record_metrics(previous, step, runs, bar)
      previous = None
    share = (time.monotonic() - started) / len(runs)
    for run in runs:
      run.seconds += share
      run.measured.add_seconds(share)
  if previous is not None:
    _record_metrics(previous, step, runs, bar)
  for run, own in zip(runs, split(state, len(runs)), strict=True):
    run.state, run.step = own, step
    if step == validation:
      run.validate(bar.write)


def _record_metrics(
  metrics: Metrics, update: int, runs: Sequence[RunState], bar: tqdm.tqdm
) -> None:
  """Fetches the metrics of an update, gives each run its own, and shows their means.

  Args:
    metrics: on the device.
    update: its number, from 1 on.
    runs: whose metrics they are, stacked.
    bar: of the progress.

  Raises:
    DivergedError: loss or gradient of a run is not finite.
  """
  metrics = jax.device_get(metrics)
  for run, own in zip(runs, split(metrics, len(runs)), strict=True):
    if not own.finite:
      raise DivergedError(run, f"loss or gradient of update {update} is not finite")
    run.measured.add(own)
  bar.set_postfix_str(
    f"loss {np.mean(metrics.loss):.3f}, accuracy at spike {np.mean(metrics.accuracy):.3f}, "
    f"mean spike step {np.mean(metrics.mean_spike_step):.1f}, "
    f"computed {np.mean(metrics.computed_fraction):.0%}",
    refresh=False,
  )
  bar.update(len(runs))

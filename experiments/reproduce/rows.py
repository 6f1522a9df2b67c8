"""The quantities of section 3, a row each: the paper's, ours over seeds, and the ceiling."""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from data_pipelines import two_sequence
from experiments.reproduce.runs import Done, Runs, speech_runs

Result = dict[str, Any]
Measure = Callable[[Result], float | None]
SHARE, POINTS, STEPS = "{0:.2%}", "{1:.2f} points", "{0:.2f}"  # of a value and its hundredfold
COLUMNS = ("quantity", "paper", "ours", "best seed", "ceiling", "seeds", "trained", "test examples")


class Row(NamedTuple):
  """A quantity.

  Attributes:
    run: whose results hold it.
    text: its name.
    measure: a key of result.json, or a function of it; None where a run has no such value.
    paper: what the paper says.
    ceiling: a text, or what it is for one of our results, given all runs.
    form: SHARE, of which more is better, POINTS, of which less is, or STEPS.
  """

  run: str
  text: str
  measure: str | Measure
  paper: str = ""
  ceiling: str | Callable[[Result, Runs], float | None] = ""
  form: str = SHARE


def at_mean_step(step: float) -> Measure:
  """Test accuracy where theta makes the mean spike step `step`; None beyond the curve."""
  return lambda result: _read_curve(result, step)


def after_steps(steps: int) -> Measure:
  """Accuracy of everyone read after so many steps."""
  return lambda result: (
    result["accuracy_at_step"][steps - 1] if "accuracy_at_step" in result else None
  )


def same(key: str) -> Callable[[Result, Runs], float | None]:
  """The ceiling that the run itself knows."""
  return lambda result, runs: result.get(key)


def curve_of(run: str, step: float | None = None) -> Callable[[Result, Runs], float | None]:
  """The curve of another run at a mean step; None: at that of the result."""
  return lambda result, runs: (
    _read_curve(runs[run][0].result, result[STEP] if step is None else step)
    if run in runs
    else None
  )


def end_of(run: str) -> Callable[[Result, Runs], float | None]:
  """What another run reaches at the end of the input."""
  return lambda result, runs: runs[run][0].result[AT_END] if run in runs else None


def _ideal_after(steps: int) -> str:
  return _text(two_sequence.accuracy_after(steps), SHARE)


def _text(value: float, form: str) -> str:
  return form.format(value, 100 * value).replace("%", " %")


def _read_curve(result: Result, step: float) -> float | None:
  x, y = (np.asarray(result["frontier"][key]) for key in (STEP, "accuracy"))
  return float(np.interp(step, x, y)) if x[0] <= step <= x[-1] else None


AT_SPIKE, STEP, AT_END = "rc_accuracy", "mean_spike_step", "eos_accuracy"
CURVE_STEPS = (30, 45, 60, 75)

SPOTTING = (
  Row("spotting", "spotting: at the first spike", AT_SPIKE, "100 %", "100 %"),
  Row(
    "spotting",
    "spotting: positive spikes at the earliest step",
    "positive_spikes_at_earliest_step",
    "almost all",
    "100 %",
  ),
  Row(
    "spotting",
    "spotting: mean step, positives",
    "positive_mean_spike_step",
    ceiling=same("ideal_positive_mean_spike_step"),
    form=STEPS,
  ),
  Row(
    "spotting",
    "spotting: mean step, negatives",
    "negative_mean_spike_step",
    "before the last",
    same("ideal_negative_mean_spike_step"),
    STEPS,
  ),
  Row("spotting-eos", "spotting, eos: at the first spike", AT_SPIKE),
  Row(
    "spotting-eos",
    "spotting, eos: positives whose first spike is negative",
    "positives_with_negative_first_spike",
    "all",
  ),
  Row("spotting-eos", "spotting, eos: negative spikes ignored", "positive_only_accuracy", "better"),
  Row(
    "spotting-eos",
    "spotting, eos: then, steps later than the earliest",
    "positive_only_delay",
    "1",
    form=STEPS,
  ),
  Row("spotting-eos", "spotting, eos: at the end", AT_END, ceiling="100 %"),
)
TWO_SEQUENCE = (
  Row(
    "two_sequence",
    "2-sequence: at the first spike",
    AT_SPIKE,
    "95.45 %",
    same("ideal_accuracy"),
  ),
  Row("two_sequence", "2-sequence: mean step", STEP, "14", form=STEPS),
  Row(
    "two_sequence",
    "2-sequence: regret to the ideal observer at that step",
    "regret",
    ceiling="0",
    form=POINTS,
  ),
  Row(
    "two_sequence-eos",
    "2-sequence, eos: at the first spike",
    AT_SPIKE,
    "96.32 %",
    same("ideal_accuracy"),
  ),
  Row("two_sequence-eos", "2-sequence, eos: mean step", STEP, "23", form=STEPS),
  Row(
    "two_sequence-eos",
    "2-sequence, eos: everyone read after 14 steps",
    after_steps(14),
    "89 %",
    _ideal_after(14),
  ),
  Row(
    "two_sequence-eos",
    "2-sequence, eos: everyone read after 15 steps",
    after_steps(15),
    "",
    _ideal_after(15),
  ),
  Row("two_sequence-eos", "2-sequence, eos: at the end", AT_END, "96.84 %", _ideal_after(40)),
)
MNIST = (
  *(
    row
    for run, text, paper, step in (
      ("mnist-lstm", "LSTM-340", "98.14 %", "< 1.5"),
      ("mnist-lstm-shift", "LSTM-340, shifted images", "", ""),
      ("mnist-lstm-ours", "LSTM-340, ours", "98.14 %", "< 1.5"),
      ("mnist-conv-10", "ConvLSTM-10", "98.90 %", "< 1.5"),
      ("mnist-conv-10-3x3", "ConvLSTM-10, ours, 3 x 3 kernels", "98.90 %", "< 1.5"),
      ("mnist-conv-10-ours", "ConvLSTM-10, ours", "98.90 %", "< 1.5"),
      ("mnist-conv-10-switch", "ConvLSTM-10, slow, shifted", "99.16 %", "> 3.5"),
      ("mnist-conv-10-slow", "ConvLSTM-10, slow, ours", "99.16 %", "> 3.5"),
      ("mnist-conv-20-3x3", "ConvLSTM-20, ours, 3 x 3 kernels", "99.19 %", "< 1.5"),
      ("mnist-conv-20-ours", "ConvLSTM-20, ours", "99.19 %", "< 1.5"),
      ("mnist-conv-20-slow", "ConvLSTM-20, slow, ours", "99.29 %", "> 3.5"),
      ("mnist-cnn-lstm", "LSTM-128 on a CNN, ours", "", ""),
      ("mnist-cnn-lstm-slow", "LSTM-128 on a CNN, slow, ours", "", ""),
    )
    for row in (
      Row(
        run, f"temporal MNIST, {text}: at the first spike", AT_SPIKE, paper, curve_of("mnist-cnn")
      ),
      Row(run, f"temporal MNIST, {text}: mean step", STEP, step, form=STEPS),
    )
  ),
  *(
    Row(
      run,
      f"temporal MNIST, {text}, ours: theta for a mean step of {step}",
      at_mean_step(step),
      paper,
      curve_of("mnist-cnn", step),
    )
    for run, text, step, paper in (
      ("mnist-lstm-ours", "LSTM-340", 1.4, "98.14 %"),
      ("mnist-conv-10-ours", "ConvLSTM-10", 1.4, "98.90 %"),
      ("mnist-conv-10-ours", "ConvLSTM-10", 3.5, "99.16 %"),
      ("mnist-conv-20-ours", "ConvLSTM-20", 1.4, "99.19 %"),
      ("mnist-conv-20-ours", "ConvLSTM-20", 3.5, "99.29 %"),
      ("mnist-cnn-lstm", "LSTM-128 on a CNN", 1.4, ""),
      ("mnist-cnn-lstm", "LSTM-128 on a CNN", 3.5, ""),
      ("mnist-cnn-lstm-slow", "LSTM-128 on a CNN, slow", 3.5, ""),
    )
  ),
  Row(
    "mnist-cnn-lstm",
    "temporal MNIST, LSTM-128 on a CNN, ours: read at the end",
    AT_END,
    ceiling=end_of("mnist-cnn"),
  ),
  Row("mnist-cnn", "temporal MNIST, a CNN of any step: the first", after_steps(1)),
  Row("mnist-cnn-1", "temporal MNIST, a CNN of the first step alone", AT_END),
  Row("mnist-cnn", "temporal MNIST, a CNN of any step: the last", AT_END),
  Row("mnist-cnn-10", "temporal MNIST, a CNN of the last step alone", AT_END),
)
SPEECH = (
  Row("speech", "speech: at the first spike", AT_SPIKE, "curves", end_of("speech-cnn")),
  Row("speech", "speech: mean step of 81", STEP, "curves", form=STEPS),
  Row("speech", "speech: read at the end", AT_END, "curves", end_of("speech-cnn")),
  Row("speech-eos", "speech, eos: at the first spike", AT_SPIKE, "curves", end_of("speech-cnn")),
  Row("speech-eos", "speech, eos: mean step of 81", STEP, "curves", form=STEPS),
  Row("speech-eos", "speech, eos: read at the end", AT_END, "curves", end_of("speech-cnn")),
  *(
    Row(run, f"{text}: theta for a mean step of {step}", at_mean_step(step), "curves")
    for step in CURVE_STEPS
    for run, text in (
      ("speech", "speech"),
      ("speech-middle", "speech, beta .15"),
      ("speech-early", "speech, beta .1"),
      ("speech-eos", "speech, eos"),
    )
  ),
  *(
    row
    for run, text in (
      ("speech-middle", "speech, beta .15"),
      ("speech-early", "speech, beta .1"),
      ("speech-ours", "speech, ours"),
      ("speech-ours-early", "speech, ours, beta .1"),
      ("speech-dense-ours", "speech, ours, beta .1, LSTM-128 on dense layers"),
    )
    for row in (
      Row(run, f"{text}: at the first spike", AT_SPIKE, "", end_of("speech-cnn")),
      Row(run, f"{text}: mean step of 81", STEP, form=STEPS),
      Row(run, f"{text}: theta for a mean step of 47", at_mean_step(47), "", end_of("speech-cnn")),
      Row(run, f"{text}: read at the end", AT_END, "", end_of("speech-cnn")),
    )
  ),
  Row("speech-cnn", "speech, a CNN on the whole clip", AT_END),
)
ROWS = SPOTTING + TWO_SEQUENCE + MNIST + SPEECH


def table(runs: Runs) -> list[tuple[str, ...]]:
  """The rows of what has been run, as texts in the order of COLUMNS."""
  cells = [_cells(row, runs) for row in ROWS if row.run in runs]
  return [row for row in cells if row is not None]


def _cells(row: Row, runs: Runs) -> tuple[str, ...] | None:
  results = [done.result for done in runs[row.run]]
  measure = row.measure
  read: Measure = measure if callable(measure) else lambda result: result.get(measure)
  values = [value for result in results if (value := read(result)) is not None]
  if not values:
    return None
  spread = f" ± {_text(statistics.stdev(values), row.form)}" if len(values) > 1 else ""
  best = {SHARE: max, POINTS: min}.get(row.form)
  return (
    row.text,
    row.paper,
    _text(statistics.mean(values), row.form) + spread,
    _text(best(values), row.form) if best else "",
    _ceiling(row, results, runs),
    str(len(values)),
    _trained(results[0]),
    f"{results[0]['num_test']:,}",
  )


def _ceiling(row: Row, results: list[Result], runs: Runs) -> str:
  if isinstance(row.ceiling, str):
    return row.ceiling
  values = [value for result in results if (value := row.ceiling(result, runs)) is not None]
  return _text(statistics.mean(values), row.form) if values else ""


def _trained(result: Result) -> str:
  trained = result["trained"]
  if "epoch" in trained:
    return f"{trained['epoch']:g} epochs"
  return f"{trained['examples']:,} examples"


def each_run(runs: Runs) -> list[tuple[str, ...]]:
  """Every finished run: name, seed, at the first spike, mean step, at the end, share computed."""
  return [
    (
      name,
      str(done.seed),
      *(_text(done.result[key], form) for key, form in (
        (AT_SPIKE, SHARE), (STEP, STEPS), (AT_END, SHARE),
      )),
      _trained(done.result),
      done.result["chosen"],
      f"{done.result['computed_fraction']:.0%}",
      f"{done.result['seconds']:.0f}",
    )
    for name, members in runs.items()
    for done in members
  ]  # fmt: skip


def speech_curves(runs: Runs) -> list[tuple[str, ...]]:
  """Fig. 5 in numbers: test accuracy over theta, by mean step.

  First those that have several seeds, their mean; then each beta's first seed. No value where a
  curve, or one of several, does not reach.
  """
  by_beta = [(kind, *run) for kind, members in speech_runs(runs).items() for run in members]
  means = [
    (f"{kind}, beta {beta:g}, mean of {len(several)} seeds", *_curve_cells(several))
    for kind, beta, several in by_beta
    if len(several) > 1
  ]
  return means + [
    (f"{kind}, beta {beta:g}, seed {several[0].seed}", *_curve_cells(several[:1]))
    for kind, beta, several in by_beta
  ]


def _curve_cells(several: list[Done]) -> list[str]:
  cells = []
  for step in CURVE_COLUMNS[1:]:
    values = [_read_curve(done.result, float(step)) for done in several]
    reached = [value for value in values if value is not None]
    all_reach = len(reached) == len(values)
    cells.append(_text(statistics.mean(reached), SHARE) if all_reach else "")
  return cells


CURVE_COLUMNS = ("mean step", *(str(step) for step in range(30, 80, 5)))
RUN_COLUMNS = (
  *("run", "seed", "at the first spike", "mean step", "at the end", "trained", "checkpoint"),
  *("computed at the end", "training, s"),
)

"""The tables of a reproduction: arithmetic over seeds, and its numbers as text."""

import statistics

from experiments.reproduce.measures import AT_END, AT_SPIKE, STEP, Measure, read_curve
from experiments.reproduce.records import POINTS, SHARE, STEPS, Row
from experiments.reproduce.results import Done, Result, Runs
from experiments.reproduce.runs import RUNS, pick_speech_runs

COLUMNS = ("quantity", "paper", "ours", "best seed", "ceiling", "seeds", "trained", "test examples")
CURVE_COLUMNS = ("mean step", *(str(step) for step in range(30, 80, 5)))
RUN_COLUMNS = (
  *("run", "seed", "at the first spike", "mean step", "at the end", "trained", "checkpoint"),
  *("computed at the end", "training, s"),
)


def tabulate(runs: Runs) -> list[tuple[str, ...]]:
  """Returns the rows of what has been run, as texts in the order of COLUMNS.

  Args:
    runs: `read_finished(folder)`, or some of them.
  """
  found = [(name, row) for name, run in RUNS.items() for row in run.rows if name in runs]
  found.sort(key=lambda pair: pair[1].group)  # stable: within a group by run
  cells = [_format_row(name, row, runs) for name, row in found]
  return [row for row in cells if row is not None]


def _format_row(name: str, row: Row, runs: Runs) -> tuple[str, ...] | None:
  """Returns the cells of a row, or None where no seed has the quantity."""
  results = [done.result for done in runs[name]]
  measure = row.measure
  read: Measure = measure if callable(measure) else lambda result: result.get(measure)
  values = [value for result in results if (value := read(result)) is not None]
  if not values:
    return None
  spread = f" ± {_format(statistics.stdev(values), row.form)}" if len(values) > 1 else ""
  best = {SHARE: max, POINTS: min}.get(row.form)
  return (
    RUNS[name].label + (f": {row.text}" if row.text else ""),
    row.paper,
    _format(statistics.mean(values), row.form) + spread,
    _format(best(values), row.form) if best else "",
    _format_ceiling(row, results, runs),
    str(len(values)),
    _format_length(results[0]),
    f"{results[0]['num_test']:,}",
  )


def _format(value: float, form: str) -> str:
  return form.format(value, 100 * value).replace("%", " %")


def _format_ceiling(row: Row, results: list[Result], runs: Runs) -> str:
  """Returns the ceiling's text: its mean over our seeds; empty where its run is missing."""
  if isinstance(row.ceiling, str):
    return row.ceiling
  values = [value for result in results if (value := row.ceiling(result, runs)) is not None]
  return _format(statistics.mean(values), row.form) if values else ""


def _format_length(result: Result) -> str:
  trained = result["trained"]
  if "epoch" in trained:
    return f"{trained['epoch']:g} epochs"
  return f"{trained['examples']:,} examples"


def list_runs(runs: Runs) -> list[tuple[str, ...]]:
  """Returns a row for every finished run, as texts in the order of RUN_COLUMNS."""
  return [
    (
      name,
      str(done.seed),
      *(_format(done.result[key], form) for key, form in (
        (AT_SPIKE, SHARE), (STEP, STEPS), (AT_END, SHARE),
      )),
      _format_length(done.result),
      done.result["chosen"],
      f"{done.result['computed_fraction']:.0%}",
      f"{done.result['seconds']:.0f}",
    )
    for name, members in runs.items()
    for done in members
  ]  # fmt: skip


def tabulate_curves(runs: Runs) -> list[tuple[str, ...]]:
  """Returns Fig. 5 in numbers: test accuracy at the theta with each mean step of CURVE_COLUMNS.

  First come the means of runs that have several seeds, then each beta's first seed. A cell is
  empty where a curve, or one of several, does not reach the step.
  """
  by_beta = [(kind, *run) for kind, members in pick_speech_runs(runs).items() for run in members]
  means = [
    (f"{kind}, beta {beta:g}, mean of {len(several)} seeds", *_format_curve(several))
    for kind, beta, several in by_beta
    if len(several) > 1
  ]
  return means + [
    (f"{kind}, beta {beta:g}, seed {several[0].seed}", *_format_curve(several[:1]))
    for kind, beta, several in by_beta
  ]


def _format_curve(several: list[Done]) -> list[str]:
  """Returns the cells of a curve, or of the mean of several."""
  cells = []
  for step in CURVE_COLUMNS[1:]:
    values = [read_curve(done.result, float(step)) for done in several]
    reached = [value for value in values if value is not None]
    all_reach = len(reached) == len(values)
    cells.append(_format(statistics.mean(reached), SHARE) if all_reach else "")
  return cells

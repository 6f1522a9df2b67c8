"""The page of a comparison: a table a data set, and the figure, from the files of the runs."""

import functools
import pathlib
import statistics
from collections.abc import Iterable
from typing import Any

from experiments.harness.tables import format_mean, format_table
from experiments.harness.workdir import write_text
from experiments.rivals import figure
from experiments.rivals.curves import Curve, find_time, measure_area, read_at
from experiments.rivals.methods import Method, find_optimum, read_methods
from experiments.rivals.records import DATASETS

TIMES = (0.25, 0.5, 0.75, 1)
COLUMNS = (
  *("objective", "area", *(f"at {time:.0%}" for time in TIMES), "time to 95 % of the best"),
  *("computed in training", "training, s", "seeds", "values"),
)
INTRODUCTION = """Test data; mean ± standard deviation where there are several seeds. Each
objective has the same network, optimizer, number of examples and number of trials. A curve is
accuracy against the mean share of the steps seen, over one threshold, or over the cost of a step
where there is a threshold a step. "Area" is the mean over all mean times of the accuracy that the
curve reaches within them; before its first point an answer is a guess. "At 25 %" and so on read the
curve at that mean time. "Time to 95 % of the best": the least mean time at which a curve reaches
95 % of the highest accuracy of any objective on the data set. "Computed" is the share of the
row-steps at the end of the training."""


def write(folder: pathlib.Path) -> str:
  """Writes rivals.md and figures/rivals.png from the runs that have ended.

  Args:
    folder: with runs in `DATASET/OBJECTIVE/SEED`.

  Returns:
    The page as Markdown.
  """
  folder.mkdir(parents=True, exist_ok=True)
  found = {dataset: read_methods(folder / dataset) for dataset in DATASETS}
  found = {dataset: methods for dataset, methods in found.items() if methods}
  texts = ["# Rank coding and its rivals", INTRODUCTION]
  optima = {}
  for dataset, methods in found.items():
    optima[dataset] = find_optimum(folder) if dataset == "two_sequence" else None
    texts += [f"## {dataset}", _describe_runs(folder / dataset, methods)]
    texts.append(format_table(*tabulate(methods, optima[dataset])))
  if found:
    (folder / "figures").mkdir(exist_ok=True)
    figure.draw(found, optima, folder / "figures" / "rivals.png")
    texts += ["![rivals](figures/rivals.png)", figure.CAPTION]
  text = "\n\n".join(texts) + "\n"
  write_text(folder / "rivals.md", text)
  return text


def tabulate(
  methods: list[Method], optimum: Curve | None = None
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
  """Returns the names of the columns and the rows of a data set, the largest area first.

  Args:
    methods: of the data set.
    optimum: where it is known; the regret is its area less that of the method.
  """
  top = max(statistics.mean(max(curve.accuracy) for curve in m.curves) for m in methods)
  areas = [statistics.mean(_read(m, measure_area)) for m in methods]
  order = sorted(range(len(methods)), key=lambda k: -areas[k])
  columns = COLUMNS if optimum is None else (*COLUMNS[:2], "regret", *COLUMNS[2:])
  return columns, [_format_row(methods[k], 0.95 * top, optimum) for k in order]


def _read(method: Method, measure: Any) -> list[Any]:
  """Reads each seed's curve: `measure(curve, chance)`."""
  pairs = zip(method.curves, method.chances, strict=True)
  return [measure(curve, chance) for curve, chance in pairs]


def _format_row(method: Method, target: float, optimum: Curve | None) -> tuple[str, ...]:
  areas = _read(method, measure_area)
  cells = [method.label, _format(areas)]
  if optimum is not None:
    best = [measure_area(optimum, chance) for chance in method.chances]
    cells.append(_format([b - area for b, area in zip(best, areas, strict=True)]))
  at = [_read(method, functools.partial(_read_share, time=time)) for time in TIMES]
  cells += [_format(values) for values in at]
  times = _read(method, lambda curve, chance: find_time(curve, target, chance))
  reached = [time for time in times if time is not None]
  cells.append(_format(reached) if len(reached) == len(times) else "not reached")
  computed = [done.result["computed_fraction"] for done in method.seeds]
  seconds = statistics.mean(done.result["seconds"] for done in method.seeds)
  cells += [_format(computed, digits=0), f"{seconds:.0f}", str(len(method.seeds))]
  return (*cells, _describe_choice(method))


def _read_share(curve: Curve, chance: float, *, time: float) -> float:
  return float(read_at(curve, time, chance))


def _format(values: list[float], digits: int = 2) -> str:
  return f"{format_mean([100 * value for value in values], digits)} %"


def _describe_choice(method: Method) -> str:
  """Says which values the first seed had: what the search has chosen, or the first candidate."""
  flags = method.seeds[0].config["flags"]
  own = {"rc": "beta", "until_spike": "theta"}.get(flags["objective"], "learning_rate")
  said = [f"{name} {flags[name]}" for name in ("objective", own)]
  said += [f"patience {', '.join(map(str, method.steps))}"] if method.steps else []
  return ", ".join(said)


def _describe_runs(folder: pathlib.Path, methods: list[Method]) -> str:
  """Says what was trained and searched, how long, and on which machines."""
  done = [one for method in methods for one in method.seeds]
  of = lambda *path: _list(functools.reduce(lambda d, k: d[k], path, one.config) for one in done)
  lengths = _list(f"{one.result['trained']['examples']:,}" for one in done)
  tests = _list(f"{one.result['num_test']:,}" for one in done)
  searched = [len(list(path.glob("trial-*/result.json"))) for path in folder.iterdir()]
  trials = _list(str(n) for n in searched if n) or "none, the first candidate was taken"
  return (
    f"{of('flags', 'model')} of {of('flags', 'units')} units, batches of "
    f"{of('flags', 'batch_size')}, {lengths} training examples, {tests} test examples; trials of "
    f"each objective: {trials}. JAX {of('packages', 'jax')}, {of('device')}, {of('cpu_count')} "
    f"cores; revisions {of('git_revision')}."
  )


def _list(values: Iterable[Any]) -> str:
  return ", ".join(sorted({str(value) for value in values}))

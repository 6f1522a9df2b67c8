"""What the engines cost on a GPU: one prepared script for a card that is lent for minutes.

    python -m benchmarks.device --minutes=12 --out=device.jsonl
    python -m benchmarks.device --table=device.jsonl
    python -m benchmarks.device --smoke

Every row is printed and saved as soon as it is measured, what matters most first, so that a cut-off
loses only the tail. No cell begins after the minutes are over; a cell that fails leaves a row that
says why. Times are medians in alternation, in milliseconds; inputs are arguments, and spikes are
forced through an input channel. `--smoke` runs every section at small sizes, on any device: what
needs a GPU leaves a row that says so. JAX, Flax, optax and NumPy suffice; PyTorch is measured where
it is installed.
"""

import argparse
import importlib.metadata
import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax

from benchmarks import device_cells
from benchmarks.device_cells import ALL, SMOKE, Cells, Sizes
from benchmarks.forced_runs import Row

SECTIONS: dict[str, Callable[[Sizes], Cells]] = {
  "equal": device_cells.check_engines,
  "full scan": device_cells.time_full_scan,
  "command buffers": device_cells.time_command_buffers,
  "rivals": device_cells.time_rivals,
  "early exit": device_cells.time_early_exit,
  "evaluation": device_cells.time_evaluation,
  "updates": device_cells.time_updates,
}
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")


def list_cells(sizes: Sizes, sections: list[str]) -> Iterator[tuple[str, str, Callable[[], Row]]]:
  """Section, name and measurement of every cell, in the order in which they run."""
  for section in sections:
    for name, measure in SECTIONS[section](sizes):
      yield section, name, measure


def run(
  minutes: float, out: pathlib.Path | None, sizes: Sizes = ALL, sections: list[str] | None = None
) -> list[Row]:
  """Measures cell after cell until the time is over; prints and saves each row."""
  started, rows, seconds = time.monotonic(), [], dict[str, float]()
  same = {"device": jax.devices()[0].device_kind, **find_versions()}
  for section, name, measure in list_cells(sizes, sections or list(SECTIONS)):
    begun = time.monotonic()
    if begun - started > 60 * minutes:
      print(f"the {minutes:g} minutes are over; not measured: {section}, {name} and what follows")
      break
    try:
      values = measure()
    except Exception as error:  # a cell that fails must not cost those that follow
      first_line = next(iter(str(error).strip().splitlines()), "no message")
      values = {"error": f"{type(error).__name__}: {first_line}"}
    took = time.monotonic() - begun
    seconds[section] = seconds.get(section, 0.0) + took
    row = {"section": section, "name": name, **same, **values, "seconds": round(took, 1)}
    rows.append(row)
    print(json.dumps(row), flush=True)
    if out is not None:
      with open(out, "a") as file:
        file.write(json.dumps(row) + "\n")
  print("seconds: " + ", ".join(f"{section} {took:.0f}" for section, took in seconds.items()))
  return rows


def find_versions() -> dict[str, str | None]:
  """The installed version of each package, None where there is none."""

  def find(name: str) -> str | None:
    try:
      return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      return None

  return {f"{name}_version": find(name) for name in PACKAGES}


def print_tables(path: pathlib.Path) -> None:
  """Prints Markdown tables of the rows of a file, one a section."""
  from experiments.harness.tables import format_table  # the measurements do without experiments

  rows = [json.loads(line) for line in path.read_text().splitlines()]
  hidden = {"section", "device", "seconds", "rows", *(f"{name}_version" for name in PACKAGES)}
  for section in dict.fromkeys(row["section"] for row in rows):
    of_section = [row for row in rows if row["section"] == section]
    columns = [
      key for key in dict.fromkeys(k for row in of_section for k in row) if key not in hidden
    ]
    cells = [[_format(row.get(column, "")) for column in columns] for row in of_section]
    print(f"\n{section}\n\n{format_table(columns, cells)}")


def _format(value: Any) -> str:
  return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
  """Measures, or prints the tables of what was measured."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("--minutes", type=float, default=12, help="after which no cell begins")
  parser.add_argument("--out", type=pathlib.Path, help="file to which each row is appended")
  parser.add_argument("--sections", default=",".join(SECTIONS), help="in the order given")
  parser.add_argument("--smoke", action="store_true", help="small sizes, on any device")
  parser.add_argument("--table", type=pathlib.Path, help="print Markdown tables of such a file")
  given = parser.parse_args()
  sections = given.sections.split(",")
  if unknown := set(sections) - set(SECTIONS):
    parser.error(f"unknown section {sorted(unknown)}; choose of {', '.join(SECTIONS)}")
  if given.table is not None:
    print_tables(given.table)
    return
  if given.smoke:  # its times tell nothing, and compiling takes nearly all of it
    jax.config.update("jax_disable_most_optimizations", True)
  run(given.minutes, given.out, SMOKE if given.smoke else ALL, sections)


if __name__ == "__main__":
  main()

"""Markdown tables: the one writer of the whole project."""

import statistics
from collections.abc import Iterable, Sequence


def format_row(cells: Iterable[str]) -> str:
  """Returns one line of a table; a `|` within a cell is escaped.

  Args:
    cells: texts without line breaks.

  Raises:
    ValueError: a cell has a line break, which would end the table.
  """
  texts = list(cells)
  if broken := [text for text in texts if "\n" in text]:
    raise ValueError(f"a cell of a table is {broken[0]!r}; it must be one line")
  return f"| {' | '.join(text.replace('|', chr(92) + '|') for text in texts)} |"


def format_head(columns: Sequence[str], widths: Sequence[int] = ()) -> str:
  """Returns the two lines above a table's rows: names of the columns, and the rule below them.

  Args:
    columns: their names.
    widths: of the leading columns that are padded, in characters.
  """
  rule = ["-" * width for width in widths] + ["---"] * (len(columns) - len(widths))
  return f"{format_row(_pad(columns, widths))}\n{format_row(rule)}"


def format_mean(values: Sequence[float], digits: int = 2) -> str:
  """Returns `mean ± standard deviation` of a sample; of one value the value alone."""
  spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
  return f"{statistics.mean(values):.{digits}f}{spread}"


def format_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, padded: int = 0) -> str:
  """Returns a table in Markdown, without a line break at its end.

  Args:
    columns: their names.
    rows: texts, one for each column.
    padded: so many leading columns are filled with spaces, which reads better in a terminal.

  Raises:
    ValueError: a row is shorter or longer than the head, or a cell has a line break.
  """
  lines = [list(row) for row in rows]
  for line in lines:
    if len(line) != len(columns):
      raise ValueError(f"a row has {len(line)} cells, the table {len(columns)} columns: {line}")
  widths = [max(len(line[k]) for line in [list(columns), *lines]) for k in range(padded)]
  body = [format_row(_pad(line, widths)) for line in lines]
  return "\n".join([format_head(columns, widths), *body])


def _pad(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
  """Fills the leading cells up to these widths."""
  return [f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)] + list(
    cells[len(widths) :]
  )

"""Markdown tables, and that nobody else writes any."""

import pathlib

import pytest

from experiments.harness import tables

ROOT = pathlib.Path(tables.__file__).parents[2]


def test_a_table_by_hand():
  rows = [("one", "1"), ("twenty", "20")]
  assert tables.format_table(("n", "value"), rows) == (
    "| n | value |\n| --- | --- |\n| one | 1 |\n| twenty | 20 |"
  )
  assert tables.format_table(("n", "value"), rows, padded=1) == (
    "| n      | value |\n| ------ | --- |\n| one    | 1 |\n| twenty | 20 |"
  )


def test_what_would_break_a_table():
  assert tables.format_row(["a|b", "c"]) == "| a\\|b | c |"
  with pytest.raises(ValueError, match="must be one line"):
    tables.format_row(["a\nb"])
  with pytest.raises(ValueError, match="a row has 1 cells, the table 2 columns"):
    tables.format_table(("a", "b"), [("1",)])


def test_there_is_one_writer():
  files = [*(ROOT / "experiments").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
  assert [path.name for path in files if "---" + " |" in path.read_text()] == []

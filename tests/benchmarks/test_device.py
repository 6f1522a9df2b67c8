"""The prepared script for a GPU runs here, at small sizes, and saves row by row."""

import json

from benchmarks import device


def test_rows_are_saved_one_by_one_and_the_time_is_kept(tmp_path, monkeypatch, capsys):
  cells = [
    ("equal", "one", lambda: {"gradient_difference": 0.0}),
    ("equal", "two", lambda: 1 / 0),
    ("update", "three", lambda: {"full": 1.5}),
  ]
  monkeypatch.setattr(device, "list_cells", lambda smoke: iter(cells))
  path = tmp_path / "device.jsonl"
  device.run(1, path, smoke=True)
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  assert [row["name"] for row in rows] == ["one", "two", "three"]
  assert rows[1]["error"] == "ZeroDivisionError: division by zero"
  assert all({"device", "jax_version", "seconds"} <= set(row) for row in rows)
  assert device.run(-1, path, smoke=True) == []
  assert "minutes are over" in capsys.readouterr().out
  device.print_tables(path)
  assert "| three | 1.5 |" in capsys.readouterr().out


def test_both_engines_are_compared():
  section, _, measure = next(device.list_cells(smoke=True))
  row = measure()
  assert section == "equal" and row["same_mean_step"] and row["gradient_difference"] < 1e-5

"""The prepared script for a GPU runs here, at small sizes, and saves row by row."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.experimental import rnn

from benchmarks import command_buffers, device, forced_runs, rivals
from benchmarks.device_cells import SMOKE

FIELDS = {"section", "name", "device", "jax_version", "flax_version", "torch_version", "seconds"}


@pytest.fixture(autouse=True)
def little_compiling(less_compiling):
  """As `--smoke`: compiling takes nearly all of the time."""
  jax.config.update("jax_disable_most_optimizations", True)


def test_rows_are_saved_one_by_one_and_the_time_is_kept(tmp_path, monkeypatch, capsys):
  cells = [
    ("equal", "one", lambda: {"gradient_difference": 0.0}),
    ("equal", "two", lambda: 1 / 0),
    ("updates", "three", lambda: {"full": 1.5}),
    ("updates", "four", lambda: np.testing.assert_(False)),  # an error without a message
  ]
  monkeypatch.setattr(device, "list_cells", lambda sizes, sections: iter(cells))
  path = tmp_path / "device.jsonl"
  device.run(1, path)
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  assert [row["name"] for row in rows] == ["one", "two", "three", "four"]
  assert rows[1]["error"] == "ZeroDivisionError: division by zero"
  assert rows[3]["error"] == "AssertionError: no message"
  assert all(set(row) >= FIELDS for row in rows)
  assert "seconds: equal 0, updates 0" in capsys.readouterr().out
  assert device.run(-1, path) == []
  assert "minutes are over" in capsys.readouterr().out
  device.print_tables(path)
  assert "| three | 1.5 |  |" in capsys.readouterr().out


@pytest.mark.parametrize(
  "section, name, fields",
  [
    ("equal", "LSTM, wide input", {"f", "gradient_difference", "input_gradient_difference"}),
    ("full scan", "speech, unroll", {"f", "full", "unroll_1", "unroll_2", "difference"}),
    ("command buffers", "speech, full, +WHILE", {"skipped"}),
    ("rivals", "speech, cuDNN", {"skipped"}),
    ("evaluation", "speech, f=0.5", {"f", "to_end", "to_spike"}),
  ],
)
def test_a_row_of_a_section(section, name, fields):
  if jax.default_backend() == "gpu" and "skipped" in fields:
    pytest.skip("this row is measured on a GPU")
  row = dict(device.SECTIONS[section](SMOKE))[name]()
  assert set(row) >= fields
  assert all(0 <= row[key] < 1e-5 for key in row if key.endswith("difference"))
  assert "GPU" in row.get("skipped", "GPU")


def test_differences_are_relative_to_the_largest_entry():
  reference, other = {"a": np.ones(2), "b": np.float32(-4)}, {"a": np.ones(2), "b": np.float32(-3)}
  assert forced_runs.compare(reference, other) == 0.25


def test_spikes_that_are_not_the_forced_ones_are_an_error():
  shape = SMOKE.shapes["speech"]
  _, _, spikes = forced_runs.make_data(shape, 4, 0.5)
  silent = lambda params, xs, labels: ((0.0, forced_runs.Metrics(*[0.0] * 7)), None)
  with pytest.raises(AssertionError):
    forced_runs.time_gradients({"silent": silent}, shape, 4, 0.5, 1)
  assert forced_runs.find_f(shape, spikes) == pytest.approx(0.5, abs=0.25)


def test_a_process_that_crashes_or_hangs_leaves_a_row():
  say = "import os, time, sys; print('{\"executions\": 1}', flush=True); "
  watch = lambda code, seconds: command_buffers.watch([sys.executable, "-c", code], "", seconds)
  crashed = watch(say + "print('{\"exec', end='', flush=True); os.abort()", 60)
  assert crashed["executions"] == 1 and crashed["error"].startswith("exit -6")
  assert watch("raise ValueError('no card')", 60) == {
    "xla_flags": crashed["xla_flags"],
    "executions": 0,
    "error": "exit 1: ValueError: no card",
  }
  hung = watch(say + "time.sleep(60)", 3)
  assert hung["executions"] == 1 and hung["error"] == "stopped after 3 seconds"


def test_a_process_prints_how_far_it_came(monkeypatch, capsys):
  monkeypatch.setitem(command_buffers.SHAPES, "small", SMOKE.shapes["speech"])
  command_buffers.measure("small", "full", 4, 1)
  rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert [row["executions"] for row in rows] == [1, 2, 4]
  assert {"first_ms", "second_ms", "full"} <= set(rows[-1])


def test_the_loss_over_cudnn(monkeypatch):
  def reference(x, h, c, weights, lengths, inputs, units, layers, dropout, both):
    parts = rnn.unpack_lstm_weights(weights, inputs, units, layers, both)
    return rnn.lstm_ref(x, h, c, *parts, lengths, inputs, units, layers, dropout, both)

  monkeypatch.setattr(rnn, "lstm", reference)
  shape, labels = SMOKE.shapes["speech"], np.zeros(4, np.int32)
  loss, state = rivals.make_cudnn_loss(shape, labels)
  xs = np.ones((4, shape.steps, *shape.features), np.float32)
  value, gradient = jax.jit(jax.value_and_grad(loss))(state, xs)
  assert 0 < value < 10
  assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_measuring_needs_no_experiments():
  code = "import sys, benchmarks.device; print(*{'experiments', 'matplotlib'} & set(sys.modules))"
  done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
  assert done.stdout.strip() == ""

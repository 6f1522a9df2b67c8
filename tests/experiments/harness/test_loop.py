"""The training loop: stopped and resumed, longer and shorter, ended early."""

import os
import re
import signal

import jax
import pytest
from running import BINARIES, lines, mnist_setup, read_json, run

from experiments.harness import loop, run_state
from experiments.harness.updates import make_initial_state, set_dtype
from rc_jax import evaluate, record


@pytest.mark.usefixtures("no_pictures")
def test_killed_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, capsys):
  """SIGINT in the middle of an epoch; the same command goes on to the same numbers.

  With an average of the parameters, which must travel too, and what else an optimizer may have.
  """
  module, given = BINARIES["temporal_mnist"]
  given = given | dict(epochs="3", average="0.9", schedule="cosine", weight_decay="0.01")
  given |= {"batch_size": "128", "widths": "2"}
  assert run(module, tmp_path / "whole", **given) == 0

  record = loop._record_metrics

  def record_and_kill(metrics, update, *given):
    record(metrics, update, *given)
    if update == 13:  # of 9 to an epoch
      os.kill(os.getpid(), signal.SIGINT)

  with monkeypatch.context() as patch:
    patch.setattr(loop, "_record_metrics", record_and_kill)
    assert run(module, tmp_path / "parts", **given) == 130
  assert "the same command goes on" in capsys.readouterr().err
  assert not (tmp_path / "parts" / "result.json").exists()
  assert run(module, tmp_path / "parts", **given) == 0
  assert lines(tmp_path / "parts") == lines(tmp_path / "whole")
  results = [read_json(tmp_path / name) for name in ("parts", "whole")]
  times = {"seconds": 0, "update_ms": 0}
  assert results[0] | times == results[1] | times


@pytest.mark.usefixtures("no_pictures", "shared_programs")
def test_more_epochs_go_on_and_fewer_report(tmp_path, capsys):
  module, given = BINARIES["temporal_mnist"]
  given = given | {"engine": "full", "batch_size": "320"}
  assert run(module, tmp_path, **given) == 0
  assert run(module, tmp_path, **(given | {"epochs": "2"})) == 0
  assert [line["epoch"] for line in lines(tmp_path)] == [1, 2]
  assert "it is reported as it is" not in capsys.readouterr().err
  assert run(module, tmp_path, **given) == 0
  assert read_json(tmp_path)["trained"]["epoch"] == 2
  assert re.search(
    r"has made (\d+) updates, and .* for \d+: it is reported", capsys.readouterr().err
  )


@pytest.mark.usefixtures("no_pictures", "shared_programs")
def test_early_stop_below_the_largest_class(tmp_path, monkeypatch):
  """Validation at 0, 1 and 0 of 1: only the second fall is one from above (A.4)."""
  module, given = BINARIES["temporal_mnist"]
  accuracies = iter([0.0, 1.0, 0.0, 1.0, 1.0])

  def scripted(*given):
    evaluation = evaluate(*given)
    right = next(accuracies) == 1.0
    return evaluation._replace(predicted=evaluation.label + (not right))

  monkeypatch.setattr(
    run_state, "evaluate", scripted
  )  # of validation; the test split is read elsewhere
  given = given | {"epochs": "5", "early_stop": "true", "engine": "full", "batch_size": "320"}
  assert run(module, tmp_path, **given) == 0
  result = read_json(tmp_path)
  assert result["stopped_early"] and result["trained"]["epoch"] == 3
  assert result["chosen_at"]["epoch"] == 2
  assert "The early stop of A.4 ended this run" in (tmp_path / "report.md").read_text()
  assert run(module, tmp_path, **given) == 0  # and stays ended
  assert read_json(tmp_path)["trained"]["epoch"] == 3
  accuracies = iter([0.0, 1.0, 0.0, 1.0, 1.0])
  assert run(module, tmp_path / "on", **(given | {"early_stop": "false"})) == 0
  assert read_json(tmp_path / "on")["trained"]["epoch"] == 5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtype_is_of_the_computation_not_of_the_parameters(dtype):
  task, settings = mnist_setup(dtype=dtype)
  task = set_dtype(task, settings)
  state = make_initial_state(task, settings)
  carry = task.classifier.initial_carry(state.params)
  assert {str(a.dtype) for a in jax.tree.leaves(state.params)} == {"float32"}
  assert {str(a.dtype) for a in jax.tree.leaves(carry)} == {dtype}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_is_read_as_its_objective_decides(dtype):
  """A stop head's decisions are of ten classes, its network has an output more."""
  task, settings = mnist_setup(dtype=dtype, objective="stop_head", beta="0")
  task = set_dtype(task, settings)
  batch = next(iter(task.validation.batches()))
  params = make_initial_state(task, settings).params
  outputs = lambda classifier: record(classifier, params, batch)[1][0].inputs.shape[-1]
  assert (outputs(task.classifier), outputs(task.read_classifier)) == (11, 10)

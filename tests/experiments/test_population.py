"""Members of a population against the same runs alone."""

import chex
import jax
import pytest
from absl.testing import flagsaver
from running import lines, read_json

from experiments import population, two_sequence

pytestmark = pytest.mark.usefixtures("no_pictures", "shared_programs")
GIVEN = {
  "batch_size": "8", "num_examples": "800", "engine": "early_exit", "num_test": "1000",
  "units": "8", "theta": "0.55", "learning_rate": "0.01", "progress": "false",
}  # fmt: skip


def alone(folder, **given):
  with flagsaver.as_parsed(workdir=str(folder), **(GIVEN | given)):
    return two_sequence.main()


def together(folder, **given):
  with flagsaver.as_parsed(workdir=str(folder), **(GIVEN | given)):
    return population.main("two_sequence")


def assert_same_lines(folder, other, count=2):
  ours, theirs = lines(folder), lines(other)
  assert len(ours) == count
  chex.assert_trees_all_close(ours, theirs, rtol=2e-4)


def test_members_equal_lone_runs(tmp_path):
  """Of two betas, one of them far ahead; rows spike, so early exit is at work."""
  assert alone(tmp_path / "a", seed="7", beta="0.3") == 0
  assert alone(tmp_path / "b", seed="7", beta="0") == 0
  ahead, other = tmp_path / "p" / "beta-0.3" / "7", tmp_path / "p" / "beta-0" / "7"
  assert alone(ahead, seed="7", beta="0.3", num_examples="400") == 0
  assert together(tmp_path / "p", seeds="7", betas="0.3,0") == 0
  assert_same_lines(ahead, tmp_path / "a")
  assert_same_lines(other, tmp_path / "b")
  assert lines(ahead)[-1]["mean_spike_step"] < 30
  assert lines(ahead) != lines(other)
  ours, theirs = (read_json(folder)["rc_accuracy"] for folder in (other, tmp_path / "b"))
  assert ours == pytest.approx(theirs, abs=2e-3)


def test_on_a_gpu_members_go_through_the_full_scan_at_once(tmp_path, monkeypatch):
  """Of two seeds."""
  monkeypatch.setitem(GIVEN, "engine", "auto")
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  monkeypatch.setattr(jax.lax, "map", None)  # one by one
  assert alone(tmp_path / "a", seed="7", num_examples="400") == 0
  assert together(tmp_path / "p", seeds="0,7", num_examples="400") == 0
  assert all(line["computed_fraction"] == 1 for line in lines(tmp_path / "p" / "0"))
  assert_same_lines(tmp_path / "p" / "7", tmp_path / "a", count=1)


@pytest.mark.parametrize(
  "given, message",
  [
    ({"seeds": "0,0"}, "--seeds is '0,0'; give one or more, each once"),
    ({"seeds": "0,-1"}, "--seeds has '-1'; give whole numbers"),
    ({"betas": "0.2,x"}, "--beta is 'x'; give a number"),
  ],
)
def test_bad_members(given, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    together(tmp_path / "p", **given)
  assert not (tmp_path / "p").exists()

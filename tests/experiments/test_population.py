"""Members of a population against the same runs alone, and their table."""

import json

import chex
import jax
import pytest
from absl.testing import flagsaver
from running import lines, read_json, set_up

from experiments import population, two_sequence
from experiments.harness import processes

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
  assert (
    f"| 0    | 7    | {ours:.2%}".replace("%", " %")
    in (tmp_path / "p" / "population.md").read_text()
  )


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
    ({"betas": "0.2,0.20"}, "--betas is '0.2,0.20'; give one or more, each once"),
    ({"seeds": "0,-1"}, "--seeds has '-1'; give whole numbers"),
    ({"betas": "0.2,x"}, "--beta is 'x'; give a number"),
    ({"seeds": "0,1", "seed": "3"}, "--seed and --seeds are both given; leave one of them out"),
    ({"betas": "0,1", "beta": "0"}, "--beta and --betas are both given; leave one of them out"),
  ],
)
def test_bad_members(given, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    together(tmp_path / "p", **given)
  assert not (tmp_path / "p").exists()


def write_member(folder, seed, beta, accuracy=None, **given):
  """Settings of a member, and its result where there is an accuracy."""
  _, settings = set_up(two_sequence, workdir=str(folder), seed=str(seed), beta=beta, units="4")
  folder.mkdir(parents=True)
  if accuracy is not None:
    result = {
      "experiment": "two_sequence", "rc_accuracy": accuracy, "mean_spike_step": 40 * accuracy,
      "no_spike_fraction": 0.5, "eos_accuracy": 0.75, "num_test": 1000, "chosen": "last",
    }  # fmt: skip
    (folder / "result.json").write_text(json.dumps(result | given))
  return settings


def test_the_table_by_hand(tmp_path):
  """Of two betas: one has two seeds, and a third without a result; the other has one seed."""
  members = [
    write_member(tmp_path / "a", 0, "0.3", 0.25),
    write_member(tmp_path / "b", 7, "0.3", 0.75),
    write_member(tmp_path / "c", 8, "0.3"),
    write_member(tmp_path / "d", 0, "0", 1.0),
  ]
  text = population.summarize(members)
  assert text.startswith("# two_sequence: 3 members\n")
  assert "read on 1,000 test examples, at the end of the training. sd is the sample" in text
  assert text.partition("---|")[0].count("beta") == 1
  rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[6:]]
  assert rows == [
    ["0.3", "0", "25.00 %", "10.00", "50.00 %", "75.00 %"],
    ["0.3", "7", "75.00 %", "30.00", "50.00 %", "75.00 %"],
    ["0.3", "mean ± sd", "50.00 ± 35.36 %", "20.00 ± 14.14", "50.00 ± 0.00 %", "75.00 ± 0.00 %"],
    ["0", "0", "100.00 %", "40.00", "50.00 %", "75.00 %"],
  ]


def test_one_beta_has_no_column_and_one_seed_no_mean(tmp_path):
  text = population.summarize([write_member(tmp_path / "a", 7, "0.3", 0.25, chosen="best")])
  assert "| seed | accuracy at the first spike |" in text
  assert "best validation accuracy at the first spike" in text
  assert "±" not in text and "beta" not in text and "sd" not in text


@pytest.mark.parametrize("status, is_writer", [(0, True), (0, False), (130, True)])
def test_the_table_is_written_once_all_have_ended(status, is_writer, tmp_path, monkeypatch, capsys):
  """By one process, and not after a stop."""

  def train(members):
    for k, (_, own) in enumerate(members):
      write_member(tmp_path / own.workdir, own.seed, own.flags["beta"], 0.25 + k / 4)
    return status

  monkeypatch.setattr(population, "run_together", train)
  monkeypatch.setattr(processes, "is_writer", lambda: is_writer)
  assert together(tmp_path / "p", seeds="3,1") == status
  said = capsys.readouterr().out
  if status or not is_writer:
    assert not (tmp_path / "p" / "population.md").exists() and not said
  else:
    assert said.startswith("The tables above are those of seed 3; seed 1, in this order.")
    assert (tmp_path / "p" / "population.md").read_text() in said

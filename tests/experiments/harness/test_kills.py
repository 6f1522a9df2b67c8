"""Kills without warning: a few of those of `make test-survival`."""

from tests.survival.__main__ import COMMAND
from tests.survival.kills import run_kills
from tests.survival.starts import make_context

KILLS = ("kill at any time", "kill in a save", "kill in training") * 2 + (
  *("kill in a save", "kill in training"),
)


def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path):
  """Five at random moments, three in the midst of a save."""
  arguments = [*COMMAND, "--epochs=8", "--devices=1"]
  tally = run_kills(make_context(), tmp_path, arguments, len(KILLS), 0, KILLS, longest_s=1.0)
  assert tally.faults == []
  assert sum(tally.kills.values()) == len(KILLS) and tally.kills["kill in a save"] >= 3
  assert tally.ends[0] >= 1

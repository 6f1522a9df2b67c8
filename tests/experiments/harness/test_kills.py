"""Kills without warning: a few of those of `make test-survival`."""

import collections
import random

from tests.survival.__main__ import COMMAND
from tests.survival.kills import run_kills
from tests.survival.starts import make_context

KINDS = (
  *("kill at any time", "kill in a save", "kill in training"),
  *("kill in a save", "kill at any time"),
)


def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path):
  """Three at random moments, two in the midst of a save."""
  arguments = [*COMMAND, "--epochs=8", "--devices=1"]
  tally = run_kills(make_context(), tmp_path, arguments, KINDS, random.Random(0), longest_s=1.0)
  assert tally.faults == []
  assert tally.kills == collections.Counter(KINDS)
  assert tally.ends[0] >= 1

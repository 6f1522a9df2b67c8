"""What tests of the binaries share."""

import pytest

from experiments import figures, flags


@pytest.fixture(autouse=True, scope="module")
def parsed_flags():
  """No command line: tests set flags by `flagsaver`."""
  flags.FLAGS(["test"])


@pytest.fixture
def no_pictures(monkeypatch):
  """For tests that look at a run's numbers alone: drawing was a quarter of their time."""
  monkeypatch.setattr(figures, "draw_all", lambda *given, **named: [])

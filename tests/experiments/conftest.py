"""What tests of the binaries share."""

import pytest

from experiments import flags


@pytest.fixture(autouse=True, scope="module")
def parsed_flags():
  """No command line: tests set flags by `flagsaver`."""
  flags.FLAGS(["test"])

"""Values that change with epochs."""

import pytest
from running import mnist_setup

from experiments.harness.schedules import format_points, parse_points


@pytest.mark.parametrize(
  "text, points",
  [
    ("0.2", ((0, 0.2),)),
    ("0", ((0, 0),)),
    ("0.5,30:0.165", ((0, 0.5), (30, 0.165))),
    ("1, 2:.5, 4.5:1e-3", ((0, 1), (2, 0.5), (4.5, 0.001))),
    ("+1., 3:0.99999995", ((0, 1), (3, 0.99999995))),
  ],
)
def test_a_schedule_is_parsed(text, points):
  assert parse_points("beta", text) == points
  assert parse_points("beta", format_points(points)) == points


@pytest.mark.parametrize("name", ["beta", "theta"])
def test_a_schedule_changes_at_its_epoch(name):
  _, s = mnist_setup(epochs="4", **{name: "0.5,3:0.165"})
  value = s.schedule_of(name, updates_per_epoch=10)
  assert [float(value(k)) for k in (0, 29, 30, 100)] == pytest.approx([0.5, 0.5, 0.165, 0.165])
  assert s.flags[name] == "0.5,3:0.165"

"""What two runs are compared by."""

from experiments import workdir


def lines(folder):
  """metrics.jsonl without the times, which no two runs share."""
  return [
    {k: v for k, v in line.items() if k not in ("seconds", "update_ms")}
    for line in workdir.read_metrics(folder)
  ]

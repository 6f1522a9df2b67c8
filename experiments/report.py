"""Redraws the report of a finished run, its table and pictures, from its files alone.

python -m experiments.report --workdir=runs/speech
"""

import os
import pathlib

from experiments.harness import report
from experiments.harness.flags import FLAGS, run_main


def main() -> int:
  """Redraws the report of the run in --workdir; returns the exit status.

  Raises:
    ValueError: no --workdir, or one without a finished run.
  """
  if FLAGS.workdir is None:
    raise ValueError("name the folder of a finished run with --workdir")
  workdir = pathlib.Path(os.path.expanduser(FLAGS.workdir))
  report.write(workdir)
  print(workdir / "report.md")
  return 0


if __name__ == "__main__":
  run_main(main)

"""Writes a trained run in a form that needs no Python.

    python -m deploy.export RUN --out=FOLDER [--weights=int8]

leaves `rc_model.c` and `rc_model.h`: samples in, decisions out, in C99, without dependencies and
without allocation. The header says how to call it.
"""

import argparse
import pathlib

from deploy.commands import add_run, load_speech_run, run_command
from deploy.export.c import WEIGHTS, write_c


def main() -> int:
  """Exports and says what was written; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m deploy.export", description=(__doc__ or "").partition("\n")[0]
  )
  add_run(parser)
  parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
  parser.add_argument("--weights", choices=WEIGHTS, default="float32")
  given = parser.parse_args()
  run = load_speech_run(given.run)
  try:
    sizes = write_c(
      given.out,
      constructor=run.model.constructor,
      params=run.params,
      class_names=run.class_names,
      theta=run.theta if given.theta is None else given.theta,
      weights=given.weights,
      **run.statistics,
    )
  except OSError as error:
    raise ValueError(f"--out={given.out} cannot be written: {error.strerror}") from error
  print(
    f"{pathlib.Path(given.out) / 'rc_model.c'} and rc_model.h: {sizes['parameters']} parameters, "
    f"{sizes['constant_bytes']} bytes of constants, {sizes['state_bytes']} of state"
  )
  return 0


if __name__ == "__main__":
  run_command(main)

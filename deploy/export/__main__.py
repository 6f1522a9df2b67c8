"""Writes a trained run in a form that needs nothing of this project.

    python -m deploy.export RUN --out=FOLDER [--format=c] [--weights=int8]

`--format=c`, the default, leaves `rc_model.c` and `rc_model.h`: samples in, decisions out, in C99,
without dependencies and without allocation. The header says how to call it. `--format=onnx` and
`--format=stablehlo` leave front end and network as graphs, and `bundle.json`, which says how to
call them. `--format=web` leaves one web page that hears a microphone or a recording.
"""

import argparse
import pathlib

from deploy.commands import add_refractory, add_run, load_speech_run, run_command, with_arguments
from deploy.export.c import WEIGHTS, write_c
from deploy.export.graphs import FORMATS, write_graphs
from deploy.export.web import write_page


def main() -> int:
  """Exports and says what was written; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m deploy.export", description=(__doc__ or "").partition("\n")[0]
  )
  add_run(parser)
  add_refractory(parser)
  parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
  parser.add_argument("--format", choices=("c", "web", *FORMATS), default="c")
  parser.add_argument("--weights", choices=WEIGHTS, default="float32", help="of the C code")
  given = parser.parse_args()
  run = with_arguments(load_speech_run(given.run), given)
  if given.weights != "float32" and given.format != "c":
    raise ValueError(f"--weights={given.weights} is for --format=c; leave it out")
  try:
    if given.format != "c":
      if given.format == "web":
        files = write_page(given.out, run, run.rule)
      else:
        files = write_graphs(given.out, run, run.rule, given.format)
      print("\n".join(f"{path}: {path.stat().st_size} bytes" for path in files))
      return 0
    sizes = write_c(
      given.out,
      constructor=run.model.constructor,
      params=run.params,
      class_names=run.class_names,
      rule=run.rule,
      weights=given.weights,
      mean=run.statistics["mean"],
      std=run.statistics["std"],
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

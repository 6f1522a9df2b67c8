"""Writes a trained run in a form that needs nothing of this project.

    python -m deploy.export RUN --out=FOLDER [--format=c] [--weights=int8]

`--format=c`, the default, leaves `rc_model.c` and `rc_model.h`: samples in, decisions out, in C99,
without dependencies and without allocation. The header says how to call it. It takes a run of
experiments.speech, with its front end, or of experiments.series, with its standardisation.

For speech alone, `--format=onnx` and `--format=stablehlo` leave front end and network as graphs,
and `bundle.json`, which says how to call them. `--format=web` leaves one web page that hears a
microphone or a recording.
"""

import argparse
import os
import pathlib

from deploy.commands import add_refractory, add_run, check_speech_run, run_command, with_arguments
from deploy.export.c import WEIGHTS, write_run
from deploy.export.graphs import FORMATS, write_graphs
from deploy.export.web import write_page
from deploy.run_files import Run, load_run
from deploy.series import check_series_run


def main() -> int:
  """Exports and says what was written; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m deploy.export", description=(__doc__ or "").partition("\n")[0]
  )
  add_run(parser, of="experiments.speech or, as C, of experiments.series")
  add_refractory(parser)
  parser.add_argument("--out", required=True, metavar="FOLDER", help="where the files go")
  parser.add_argument("--format", choices=("c", "web", *FORMATS), default="c")
  parser.add_argument("--weights", choices=WEIGHTS, default="float32", help="of the C code")
  given = parser.parse_args()
  if not given.out:
    raise ValueError("--out is empty; name a folder")
  given.out = os.path.expanduser(given.out)
  run = with_arguments(_load(given), given)
  if given.weights != "float32" and given.format != "c":
    raise ValueError(f"--weights={given.weights} is for --format=c; leave it out")
  try:
    print("\n".join(_write(run, given)))
  except OSError as error:
    raise ValueError(f"--out={given.out} cannot be written: {error.strerror}") from error
  return 0


def _load(given: argparse.Namespace) -> Run:
  """Loads the run; raises ValueError where it cannot be written in the format that was asked."""
  run = load_run(given.run)
  if run.experiment != "series":
    return check_speech_run(run, given.run, "experiments.speech or experiments.series")
  if given.format != "c":
    raise ValueError(f"--format={given.format} is for sound; a run of series goes to --format=c")
  if given.refractory is not None:
    raise ValueError("--refractory is for sound, which goes on after an event; leave it out")
  return check_series_run(run, given.run)


def _write(run: Run, given: argparse.Namespace) -> list[str]:
  """Writes the files; returns a line about each."""
  if given.format != "c":
    if given.format == "web":
      files = write_page(given.out, run, run.rule)
    else:
      files = write_graphs(given.out, run, run.rule, given.format)
    return [f"{path}: {path.stat().st_size} bytes" for path in files]
  sizes = write_run(given.out, run, weights=given.weights)
  lines = [
    f"{pathlib.Path(given.out) / 'rc_model.c'} and rc_model.h: {sizes['parameters']} parameters, "
    f"{sizes['constant_bytes']} bytes of constants, {sizes['state_bytes']} of state"
  ]
  if run.reading.get("missing") == "interpolate":
    lines.append(
      "the run was trained and read with --missing=interpolate, which looks ahead; the code holds "
      "the value before, so where values are missing it decides later or otherwise than the report"
    )
  return lines


if __name__ == "__main__":
  run_command(main)

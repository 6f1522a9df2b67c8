"""Says for each recording, or time series, what a run decides, and when it is sure.

    python -m deploy.decide RUN FILE... [--theta=0.9] [--json]

Of a run of experiments.speech, a line a recording: the word that it hears first, its probability,
and the milliseconds of sound that were heard until the decision; "silent" where the network is
never sure. A folder stands for all recordings below it. Any sample rate and any length will do.

Of a run of experiments.series, a line a series of each file (`.csv`, `.npz`, `.npy` or `.ts`, with
or without labels): its class, the probability, and how many samples were seen; "not sure" where the
network is never sure, with the most probable class at the end. Of series with labels it also says
how many are right.

The exit status is 0 where the network was sure of all, 1 where it was not of one, 2 where a file
is missing or cannot be read; the others are decided all the same.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

import numpy as np

from data_pipelines.speech.source import show_name
from deploy.commands import (
  add_run,
  check_speech_run,
  make_run_spotter,
  run_command,
  with_arguments,
)
from deploy.front_end import HALF
from deploy.recordings import find_recordings, read_pieces
from deploy.run_files import Run, load_run
from deploy.series import SeriesDecision, check_series_run, decide_file
from deploy.spotter import Event, Spotter


def decide(spotter: Spotter, path: pathlib.Path) -> Event | None:
  """Returns the first decision about a recording; what follows it is not read.

  Args:
    spotter: one that reports every class.
    path: of the recording.

  Raises:
    ValueError: it cannot be read.
  """
  state = spotter.init()
  for samples in read_pieces(path):
    state, events, _ = spotter.push(state, samples)
    if events:
      return events[0]
  # Half a window of zeros, as a clip has it in training, so that its last step is there too.
  _, events, _ = spotter.push(state, np.zeros(HALF, np.float32))
  return events[0] if events else None


def main() -> int:
  """Decides and prints; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m deploy.decide", description=(__doc__ or "").partition("\n")[0]
  )
  wanted = "experiments.speech or experiments.series"
  add_run(parser, of=wanted)
  parser.add_argument(
    "files", metavar="FILE", nargs="+", help="recordings, folders of them, series"
  )
  parser.add_argument("--json", action="store_true", help="one JSON object a line")
  given = parser.parse_args()
  run = load_run(given.run)
  if run.experiment == "series":
    return _decide_series(with_arguments(check_series_run(run, given.run), given), given)
  return _decide_recordings(with_arguments(check_speech_run(run, given.run, wanted), given), given)


def _decide_recordings(run: Run, given: argparse.Namespace) -> int:
  spotter = make_run_spotter(run, not_reported=())
  status = 0
  for name in given.files:
    try:
      for path in find_recordings(name):
        status = max(status, _decide_recording(spotter, path, given.json))
    except ValueError as error:
      print(f"error: {error}", file=sys.stderr)
      status = 2
  return status


def _decide_recording(spotter: Spotter, path: pathlib.Path, as_json: bool) -> int:
  """Prints what is decided about a recording; returns the exit status."""
  try:
    event = decide(spotter, path)
  except ValueError as error:
    print(f"error: {error}", file=sys.stderr)
    return 2
  print(_describe(path, event, as_json), flush=True)
  return int(event is None)


def _describe(path: pathlib.Path, event: Event | None, as_json: bool) -> str:
  if as_json:
    said: dict[str, Any] = {"file": str(path), "word": None}
    if event is not None:
      heard = {"heard_ms": round(1000 * event.seconds, 1)}
      said |= {"word": event.word, "probability": round(event.probability, 4), **heard}
    return json.dumps(said)
  name = show_name(str(path))
  if event is None:
    return f"{name}\tsilent"
  return f"{name}\t{event.word}\t{event.probability:.3f}\t{1000 * event.seconds:.0f} ms"


def _decide_series(run: Run, given: argparse.Namespace) -> int:
  status, labelled = 0, []
  for path in map(pathlib.Path, given.files):
    try:
      decisions, notes = decide_file(run, path)
    except ValueError as error:
      print(f"error: {error}", file=sys.stderr)
      status = 2
      continue
    for note in notes:
      print(note, file=sys.stderr)
    for one in decisions:
      if not one.sure:
        status = max(status, 1)
      print(_describe_series(path, one, given))
    labelled += [one for one in decisions if one.true is not None]
  if labelled:
    right = sum(one.label == one.true for one in labelled)
    seen = np.mean([one.samples / one.length for one in labelled])
    print(
      f"{right} of {len(labelled)} are right, after {seen:.0%} of a series on average",
      file=sys.stderr,
    )
  return status


def _describe_series(path: pathlib.Path, one: SeriesDecision, given: argparse.Namespace) -> str:
  if given.json:
    said = {"file": str(path), "series": one.name, "label": one.label, "sure": one.sure}
    said |= {"probability": round(one.probability, 4), "samples": one.samples, "of": one.length}
    return json.dumps(said | ({} if one.true is None else {"true": one.true}))
  of_file = f"{show_name(str(path))}\t" if len(given.files) > 1 else ""
  verdict = one.label if one.sure else f"not sure, {one.label}"
  said_when = f"{one.samples} of {one.length} samples"
  return f"{of_file}{show_name(one.name)}\t{verdict}\t{one.probability:.3f}\t{said_when}"


if __name__ == "__main__":
  run_command(main)

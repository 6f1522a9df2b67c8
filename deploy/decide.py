"""Says for each recording which word a run hears first, and when it is sure.

    python -m deploy.decide RUN FILE... [--theta=0.9] [--json]

A line a file: the word, its probability, and the milliseconds of sound that were heard until the
decision; "silent" where the network is never sure. A folder stands for all recordings below it. Any
sample rate and any length will do. The exit status is 0 where every file was decided, 1 where one
is silent, 2 where one cannot be read.
"""

import argparse
import json
import pathlib
import sys
from typing import Any

import numpy as np

from data_pipelines.speech.source import show_name
from deploy.commands import add_run, load_speech_run, make_run_spotter, run_command, with_arguments
from deploy.front_end import HALF
from deploy.recordings import find_recordings, read_pieces
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
  add_run(parser)
  parser.add_argument("files", metavar="FILE", nargs="+", help="recordings, or folders of them")
  parser.add_argument("--json", action="store_true", help="one JSON object a line")
  given = parser.parse_args()
  run = with_arguments(load_speech_run(given.run), given)
  spotter = make_run_spotter(run, not_reported=())
  status = 0
  for path in find_recordings(given.files):
    try:
      event = decide(spotter, path)
    except ValueError as error:
      print(f"error: {error}", file=sys.stderr)
      status = 2
      continue
    if event is None:
      status = max(status, 1)
    print(_describe(path, event, given.json), flush=True)
  return status


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


if __name__ == "__main__":
  run_command(main)

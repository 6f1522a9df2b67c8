"""Listens and says each word when it is heard.

    python -m deploy.listen RUN                          the microphone
    python -m deploy.listen RUN --input=FILE.wav         a recording, as fast as it can be read
    arecord -t raw -c 1 -f S16_LE -r 16000 | python -m deploy.listen RUN --input=-     raw samples

A line an event: the time, the word, its probability, and how long the network had listened since it
last began anew. `--log` writes them as JSON lines, `--plot` draws waveform, probabilities and
events. Ctrl-C ends it.
"""

import argparse
import collections
import contextlib
import json
import pathlib
import queue
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import numpy as np

from data_pipelines.speech import HOP, SAMPLE_RATE
from deploy.commands import (
  add_policy,
  add_run,
  load_pyplot,
  load_speech_run,
  make_run_spotter,
  run_command,
  with_arguments,
)
from deploy.recordings import read_pieces, read_raw, resample_pieces
from deploy.run_files import CALIBRATION, Run
from deploy.spotter import Event, Spotter

PLOTTED_S = 120  # seconds that are kept for the picture, the latest ones


class Heard:
  """The latest sound, probabilities and events, for the picture.

  Args:
    is_kept: whether there is to be a picture at all; without it nothing is kept.
  """

  def __init__(self, is_kept: bool):
    self._is_kept = is_kept
    self._pieces: collections.deque[tuple[np.ndarray, np.ndarray]] = collections.deque()
    self._kept = 0  # samples in them
    self.events: list[Event] = []
    self.count = 0  # of all events
    self.seconds = 0.0

  def add(self, samples: np.ndarray, probabilities: np.ndarray, events: list[Event]) -> None:
    """Keeps what a piece of sound brought; forgets what is older than the picture."""
    self.seconds += len(samples) / SAMPLE_RATE
    self.count += len(events)
    if not self._is_kept:
      return
    self._pieces.append((samples, probabilities))
    self._kept += len(samples)
    while self._kept - len(self._pieces[0][0]) > PLOTTED_S * SAMPLE_RATE:
      self._kept -= len(self._pieces.popleft()[0])
    start = self.seconds - self._kept / SAMPLE_RATE
    self.events = [event for event in self.events + events if event.seconds >= start]

  def draw(self, path: str, class_names: tuple[str, ...], theta: float) -> None:
    """Draws waveform, probabilities and events over time.

    Raises:
      ValueError: matplotlib is missing, or the file cannot be written.
    """
    plt = load_pyplot()
    samples = np.concatenate([np.zeros(0, np.float32), *(s for s, _ in self._pieces)])
    kept = [p for _, p in self._pieces if len(p)]
    start = self.seconds - len(samples) / SAMPLE_RATE
    figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(10, 4), layout="constrained")
    top.plot(start + np.arange(len(samples)) / SAMPLE_RATE, samples, linewidth=0.3, color="0.3")
    top.set_ylabel("amplitude")
    bottom.set_prop_cycle(color=plt.get_cmap("tab20")(range(20)))
    if kept:
      shown = np.concatenate(kept)
      end = (self.seconds * SAMPLE_RATE) // HOP * HOP / SAMPLE_RATE
      bottom.plot(end + (np.arange(len(shown)) - len(shown) + 1) * HOP / SAMPLE_RATE, shown)
      bottom.legend(class_names, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)
    bottom.axhline(theta, linestyle=":", color="0.5")
    bottom.set(xlabel="seconds", ylabel="probability", ylim=(0, 1.02))
    for event in self.events:
      top.axvline(event.seconds, color="C3", linewidth=0.8)
      at = {"xycoords": ("data", "axes fraction"), "rotation": 50, "fontsize": 8}
      top.annotate(event.word, (event.seconds, 1.01), **at)
    try:
      figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
      raise ValueError(f"--plot={path} cannot be written: {error}") from error


def hear_microphone(device: str | None, heard_late: list[int]) -> Iterator[np.ndarray]:
  """Yields the microphone's samples `[n]` at 16 kHz.

  Args:
    device: name or number of the input; None: the system's default.
    heard_late: its one number counts the pieces that were lost because they were read too late.

  Raises:
    ValueError: there is no microphone, no library to reach it, or the microphone went away.
  """
  try:
    import sounddevice
  except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing
    raise ValueError(
      f"the microphone needs sounddevice and PortAudio ({error}): pip install 'rc-jax[deploy]', or "
      "give --input=FILE.wav"
    ) from error
  arrived: queue.Queue[np.ndarray | None] = queue.Queue()

  def take(samples: np.ndarray, frames: int, time: Any, status: Any) -> None:
    del frames, time
    heard_late[0] += bool(status.input_overflow)
    arrived.put(samples[:, 0].copy())

  number = int(device) if device is not None and device.isdigit() else device
  try:
    rate = int(sounddevice.query_devices(number, "input")["default_samplerate"])
    stream = sounddevice.InputStream(
      rate,
      device=number,
      channels=1,
      dtype="float32",
      callback=take,
      finished_callback=lambda: arrived.put(None),
    )
    stream.start()
  except (sounddevice.PortAudioError, ValueError) as error:
    raise ValueError(f"no microphone can be opened ({error}); give --input=FILE.wav") from error
  with stream:
    print("listening; Ctrl-C ends", file=sys.stderr)
    yield from resample_pieces(_take_all(arrived), rate, "the microphone")
    raise ValueError("the microphone went away; connect it and start again")


def _take_all(arrived: queue.Queue[np.ndarray | None]) -> Iterator[np.ndarray]:
  while (samples := arrived.get()) is not None:
    yield samples


def listen(
  spotter: Spotter, pieces: Iterator[np.ndarray], heard: Heard, log: TextIO | None
) -> Iterator[Event]:
  """Yields events as they are heard, and writes them to the log.

  Args:
    spotter: of a run.
    pieces: samples `[n]` at 16 kHz, as they arrive.
    heard: keeps what is to be drawn.
    log: of JSON lines, or None.
  """
  state = spotter.init()
  for samples in pieces:
    state, events, probabilities = spotter.push(state, samples)
    heard.add(samples, probabilities, events)
    for event in events:
      if log is not None:
        said = event._asdict() | {
          "probabilities": [round(float(p), 5) for p in event.probabilities]
        }
        log.write(json.dumps(said) + "\n")
        log.flush()
      yield event


def main() -> int:
  """Listens until the input ends, or Ctrl-C; returns the exit status."""
  given = _read_arguments()
  run = with_arguments(load_speech_run(given.run), given)
  if given.theta is None and not (pathlib.Path(given.run) / CALIBRATION).is_file():
    print(
      f"theta {run.theta:g} is that of the training; python -m deploy.calibrate chooses one for "
      "the false alarms that you allow",
      file=sys.stderr,
    )
  if given.plot:
    load_pyplot()  # not after an hour of listening
  spotter = make_run_spotter(run, timeout_s=given.timeout)
  spotter.push(spotter.init(), np.zeros(SAMPLE_RATE, np.float32))  # compiles before sound arrives
  heard, late = Heard(given.plot is not None), [0]
  try:
    with open_log(given.log) as log, contextlib.suppress(KeyboardInterrupt):
      for event in listen(spotter, _open_input(given, late), heard, log):
        print(
          f"{event.seconds:9.2f} s  {event.word:<12} {event.probability:.3f}  "
          f"after {event.waited_seconds:.2f} s",
          flush=True,
        )
  except ValueError:  # the microphone went away, or the file is cut short
    if heard.seconds:
      try:
        _summarize(heard, late[0], run, given.plot)
      except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
    raise
  _summarize(heard, late[0], run, given.plot)
  return 0


def _open_input(given: argparse.Namespace, late: list[int]) -> Iterator[np.ndarray]:
  """The samples that the arguments name, `[n]` at 16 kHz; `late` as of `hear_microphone`."""
  if given.input is None:
    return hear_microphone(given.device, late)
  if given.input == "-":
    return read_raw(sys.stdin.buffer, given.rate)
  return read_pieces(pathlib.Path(given.input))


def _summarize(heard: Heard, late: int, run: Run, plot: str | None) -> None:
  """Says how much was heard, and draws it; raises ValueError as `Heard.draw`."""
  lost = f"; {late} pieces of sound were lost" if late else ""
  print(f"{heard.count} events in {heard.seconds:.1f} s{lost}", file=sys.stderr)
  if plot:
    heard.draw(plot, run.class_names, run.theta)


def open_log(path: str | None) -> contextlib.AbstractContextManager[TextIO | None]:
  """Opens the file of events; without one there is nothing to write to.

  Raises:
    ValueError: it cannot be written.
  """
  if path is None:
    return contextlib.nullcontext()
  try:
    return open(path, "w", encoding="utf-8")
  except OSError as error:
    raise ValueError(f"--log={path} cannot be written: {error.strerror}") from error


def _read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m deploy.listen", description=(__doc__ or "").partition("\n")[0]
  )
  add_run(parser)
  parser.add_argument("--input", help="a recording, or - for raw 16-bit samples; else microphone")
  parser.add_argument("--rate", type=int, default=SAMPLE_RATE, help="of raw samples, in Hz")
  parser.add_argument("--device", help="name or number of the microphone")
  add_policy(parser)
  parser.add_argument("--log", metavar="FILE.jsonl", help="events as JSON lines")
  parser.add_argument("--plot", metavar="FILE.png", help="a picture of what was heard")
  return parser.parse_args()


if __name__ == "__main__":
  run_command(main)

"""espeak-ng in a process of its own: text -> samples.

The engine is one global machine, not safe in threads, whose state runs on from one utterance to
the next (the same word said twice is not the same samples). In a fresh process the same requests
give the same samples, so every call of `speak` has one. Run as a file, this module is that
process; it then imports nothing but the standard library.
"""

import contextlib
import ctypes
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from typing import NamedTuple

# Of espeak-ng's speak_lib.h.
# Samples go to the callback before the call returns. The other mode with a callback,
# AUDIO_OUTPUT_RETRIEVAL, has a thread whose waits cost 20 ms an utterance, where saying it takes 1.
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report errors instead of ending the process
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_UTF8 = 1  # espeakCHARS_UTF8
_SEED = 1  # of the engine's own noise, which it would draw from the clock
_HEADER = struct.Struct("<ii")  # sample rate, bytes of samples that follow
_VARIANTS = pathlib.Path("voices", "!v")


class Utterance(NamedTuple):
  """One request.

  Attributes:
    text: to be said.
    voice: `language+variant`.
    rate: words a minute, 80 to 450.
    pitch: 0 to 99.
  """

  text: str
  voice: str
  rate: int
  pitch: int


class Engine(NamedTuple):
  """Where the shared library and its data are."""

  library: str
  data: str


def find_engine() -> Engine:
  """The engine in the espeakng-loader wheel.

  Raises:
    ValueError: the wheel is not installed.
  """
  try:
    import espeakng_loader
  except ImportError as error:
    raise ValueError(
      "dataset 'synthetic' needs espeak-ng; install it with `pip install rc-jax[demo]`"
    ) from error
  return Engine(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())


def check_variants(engine: Engine, variants: Sequence[str]) -> None:
  """Raises ValueError where a variant is not there: the engine would say nothing of it."""
  absent = [
    name for name in variants if not (pathlib.Path(engine.data) / _VARIANTS / name).is_file()
  ]
  if absent:
    raise ValueError(
      f"this espeak-ng has no voice {absent[0]!r}; install the version of `rc-jax[demo]`"
    )


def speak(
  engine: Engine, utterances: Sequence[Utterance]
) -> Generator[tuple[int, bytes], None, None]:
  """Says utterances in order; yields the sample rate in Hz and the 16-bit samples of each.

  Raises:
    ValueError: the engine failed.
  """
  command = [sys.executable, "-I", __file__, *engine]
  pipe = subprocess.PIPE
  with (
    tempfile.TemporaryFile() as complaints,
    subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=complaints) as process,
  ):
    assert process.stdin is not None
    assert process.stdout is not None
    try:
      with contextlib.suppress(BrokenPipeError), process.stdin as requests:
        requests.write(json.dumps(utterances).encode())
      for _ in utterances:
        header = process.stdout.read(_HEADER.size)
        if len(header) < _HEADER.size:
          process.wait()
          complaints.seek(0)
          last = complaints.read().decode(errors="replace").strip().rpartition("\n")[-1]
          raise ValueError(f"espeak-ng failed: {last or process.returncode}")
        rate, size = _HEADER.unpack(header)
        yield rate, process.stdout.read(size)
    finally:
      process.kill()


def _serve(library: str, data: str) -> None:
  """Reads utterances as JSON from stdin; writes (rate, size, samples) of each to stdout."""
  say = _start(ctypes.CDLL(library), data)
  for fields in json.load(sys.stdin):
    rate, samples = say(Utterance(*fields))
    sys.stdout.buffer.write(_HEADER.pack(rate, len(samples)) + samples)
  sys.stdout.flush()


def _start(library, data: str):
  """Starts the engine; returns `utterance -> (rate, samples)`."""
  callback_type = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
  )
  chunks: list[bytes] = []

  @callback_type
  def collect(samples, count, events):
    if samples and count > 0:
      chunks.append(ctypes.string_at(samples, 2 * count))
    return 0

  sample_rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _DONT_EXIT)
  if sample_rate <= 0:
    sys.exit("espeak-ng does not start")
  library.espeak_SetSynthCallback(collect)

  def say(utterance: Utterance) -> tuple[int, bytes]:
    chunks.clear()
    library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
    text = utterance.text.encode()
    failed = library.espeak_SetVoiceByName(utterance.voice.encode())
    failed = failed or library.espeak_SetParameter(_RATE, utterance.rate, 0)
    failed = failed or library.espeak_SetParameter(_PITCH, utterance.pitch, 0)
    failed = failed or library.espeak_Synth(text, len(text) + 1, 0, 0, 0, _UTF8, None, None)
    if failed or library.espeak_Synchronize():
      sys.exit(f"espeak-ng cannot say {utterance.text!r} with the voice {utterance.voice!r}")
    _ = collect  # the engine calls it: it must live as long as this function
    return sample_rate, b"".join(chunks)

  return say


if __name__ == "__main__":
  _serve(*sys.argv[1:])

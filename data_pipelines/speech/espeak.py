"""Speech synthesis: text becomes samples in a process of its own that runs espeak-ng.

The engine is a single global object that is not thread-safe. Its state carries over from one
utterance to the next, so that the same word said twice gives different samples. In a new process
the same requests always give the same samples; each call of `speak` therefore starts one. That
process runs this very file, which imports nothing but the standard library.
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

# The constants come from espeak-ng's speak_lib.h.
# In the synchronous mode the engine hands over all samples before the call returns. The other mode
# with a callback, AUDIO_OUTPUT_RETRIEVAL, uses a thread whose waits take 20 ms for each utterance,
# while the synthesis takes 1 ms.
_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report errors instead of ending the process
_RATE, _PITCH = 1, 3  # espeak_PARAMETER
_UTF8 = 1  # espeakCHARS_UTF8
_SEED = 1  # seeds the engine's noise generator, which it would otherwise seed from the clock
_HEADER = struct.Struct("<ii")  # the sample rate, and how many bytes of samples follow
_VARIANTS = pathlib.Path("voices", "!v")


class Utterance(NamedTuple):
  """One request to the engine.

  Attributes:
    text: the text to say.
    voice: the voice, as `language+variant`.
    rate: the speed in words per minute, 80 to 450.
    pitch: the pitch, 0 to 99, on the engine's own scale.
  """

  text: str
  voice: str
  rate: int
  pitch: int


class Engine(NamedTuple):
  """The paths of the engine's shared library and of its data folder."""

  library: str
  data: str


def find_engine() -> Engine:
  """Finds the engine that the package espeakng-loader brings.

  Raises:
    ValueError: if the package is not installed.
  """
  try:
    import espeakng_loader
  except ImportError as error:
    raise ValueError(
      "dataset 'synthetic' needs espeak-ng; install it with `pip install rc-jax[demo]`"
    ) from error
  return Engine(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())


def check_variants(engine: Engine, variants: Sequence[str]) -> None:
  """Checks that the engine has all of these voice variants.

  The engine itself does not report a variant that it lacks; it speaks with its default voice.

  Raises:
    ValueError: if a variant is missing. The message names the first one.
  """
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
  """Says utterances in order, in a new process that ends with the generator.

  Args:
    engine: the engine's paths.
    utterances: the requests.

  Yields:
    For each utterance the sample rate in Hz, and its samples as bytes of little-endian int16.

  Raises:
    ValueError: if the engine fails. The message ends with the engine's last line.
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
  """Reads utterances as JSON from stdin; writes a header and the samples of each to stdout."""
  say = _start(ctypes.CDLL(library), data)
  for fields in json.load(sys.stdin):
    rate, samples = say(Utterance(*fields))
    sys.stdout.buffer.write(_HEADER.pack(rate, len(samples)) + samples)
  sys.stdout.flush()


def _start(library, data: str):
  """Starts the engine; returns a function from an utterance to its sample rate and samples."""
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
    # The engine keeps only a C pointer to the callback. This reference keeps Python's object
    # alive as long as `say`; without it the engine would call into freed memory.
    _ = collect
    return sample_rate, b"".join(chunks)

  return say


if __name__ == "__main__":
  _serve(*sys.argv[1:])

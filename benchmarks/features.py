"""How much faster than by a loop over librosa are log-mel frames by SciPy, or by XLA?

  python -m benchmarks.features [--clips=512] [--rounds=25] [--json]

Each way turns decoded audio into frames `[N, 101, 20]`; no file is read. The ways take turns in one
process. The table has the median round, and the best round, which says more on a machine that
others use. SciPy and XLA use both cores, the loop one.
"""

import argparse
import concurrent.futures
import json
import os
import statistics
import time
from collections.abc import Callable

import jax
import librosa
import numpy as np

from data_pipelines.speech import features
from data_pipelines.speech.build import BATCH_SIZE


def compute_by_librosa(audio: np.ndarray) -> np.ndarray:
  """Computes frames `[..., 101, 20]` from samples `[..., 16000]` with librosa."""
  mel = librosa.feature.melspectrogram(
    y=audio,
    sr=features.SAMPLE_RATE,
    n_fft=features.WINDOW,
    hop_length=features.HOP,
    window="hamming",
    center=True,
    pad_mode="constant",
    power=2.0,
    n_mels=features.NUM_BANDS,
  )
  return np.log(mel + features.LOG_OFFSET).swapaxes(-1, -2)


def loop_over_librosa(audio: np.ndarray) -> np.ndarray:
  """Computes frames clip by clip with librosa, as data pipelines are commonly written."""
  return np.stack([compute_by_librosa(clip) for clip in audio])


def run_on_host(audio: np.ndarray) -> np.ndarray:
  """Computes frames batch by batch with SciPy's transform, as recordings are read."""
  batches = audio.reshape(-1, BATCH_SIZE, audio.shape[-1])
  return np.concatenate(list(_pool.map(features.log_mel_of_clips, batches)))


def run_jitted(audio: np.ndarray) -> np.ndarray:
  """Computes frames batch by batch with one compiled program, called from a thread per core."""
  batches = audio.reshape(-1, BATCH_SIZE, audio.shape[-1])
  return np.concatenate(list(_pool.map(lambda batch: np.asarray(_log_mel(batch)), batches)))


_log_mel = jax.jit(features.log_mel)
# Within a batch, XLA's threads wait for each other after each of five short steps, so that several
# batches run at once: one after the other they took 1.5 times as long on two cores. More threads
# than cores were no faster.
_pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())

WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  "librosa, a clip at a time": loop_over_librosa,
  "librosa, all clips at once": compute_by_librosa,
  f"scipy, batches of {BATCH_SIZE}": run_on_host,
  f"jax, batches of {BATCH_SIZE}": run_jitted,
}


def measure(num_clips: int, rounds: int) -> list[dict[str, float | str]]:
  """Measures each way: milliseconds per clip, and its speed relative to the loop's.

  Raises:
    ValueError: if there is no round, or if the clips are not a multiple of a batch.
  """
  if num_clips < BATCH_SIZE or num_clips % BATCH_SIZE or rounds < 1:
    raise ValueError(
      f"clips is {num_clips} and rounds is {rounds}; give a multiple of {BATCH_SIZE} clips and at "
      "least one round"
    )
  noise = np.random.default_rng(0).uniform(-0.3, 0.3, (num_clips, features.NUM_SAMPLES))
  audio = noise.astype(np.float32)
  expected = loop_over_librosa(audio)
  for way in WAYS.values():  # compiles the program, and shows that all ways agree
    np.testing.assert_allclose(way(audio), expected, atol=1e-4, rtol=0)
  seconds: dict[str, list[float]] = {name: [] for name in WAYS}
  for _ in range(rounds):
    for name, way in WAYS.items():
      start = time.perf_counter()
      way(audio)
      seconds[name].append(time.perf_counter() - start)
  loop = seconds[next(iter(WAYS))]
  return [
    {
      "way": name,
      "ms_per_clip": 1e3 * statistics.median(times) / num_clips,
      "speedup": statistics.median(loop) / statistics.median(times),
      "best_ms_per_clip": 1e3 * min(times) / num_clips,
      "best_speedup": min(loop) / min(times),
    }
    for name, times in seconds.items()
  ]


def main() -> None:
  """Reads the command line and prints the measurements as a table or as JSON."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--clips", type=int, default=512)
  parser.add_argument("--rounds", type=int, default=25)
  parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
  arguments = parser.parse_args()
  try:
    rows = measure(arguments.clips, arguments.rounds)
  except ValueError as error:
    parser.error(str(error))
  if arguments.json:
    print(json.dumps({"device": jax.devices()[0].device_kind, "rows": rows}, indent=2))
    return
  print(f"{'way':28s} {'ms a clip':>10s} {'times':>6s} {'best ms':>10s} {'times':>6s}")
  for row in rows:
    print(
      f"{row['way']:28s} {row['ms_per_clip']:10.3f} {row['speedup']:6.1f} "
      f"{row['best_ms_per_clip']:10.3f} {row['best_speedup']:6.1f}"
    )


if __name__ == "__main__":
  main()

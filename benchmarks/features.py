"""How much faster are log-mel frames by one jitted program than by a loop over librosa?

  python -m benchmarks.features [--clips=512] [--rounds=25] [--json]

From decoded audio to frames `[N, 101, 20]`, no files. The ways take turns in one process. Medians
of the rounds, and the best round, which says more on a machine that others use. Seen on 2 free
cores: 8 times the loop's speed; beside other work 5 to 7. The program uses both, the loop one.
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


def by_librosa(audio: np.ndarray) -> np.ndarray:
  """`[..., 16000]` -> `[..., 101, 20]`."""
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


def librosa_loop(audio: np.ndarray) -> np.ndarray:
  """One clip at a time, as pipelines are commonly written."""
  return np.stack([by_librosa(clip) for clip in audio])


def jitted(audio: np.ndarray) -> np.ndarray:
  """Batches through one compiled program, from a thread for each core."""
  batches = audio.reshape(-1, BATCH_SIZE, audio.shape[-1])
  return np.concatenate(list(_pool.map(lambda batch: np.asarray(_log_mel(batch)), batches)))


_log_mel = jax.jit(features.log_mel)
# Within a batch XLA's threads wait for each other after each of five short steps: on two cores, one
# batch after the other took half as long again. More threads than cores were no faster.
_pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())

WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
  "librosa, a clip at a time": librosa_loop,
  "librosa, all clips at once": by_librosa,
  f"jax, batches of {BATCH_SIZE}": jitted,
}


def measure(num_clips: int, rounds: int) -> list[dict[str, float | str]]:
  """Milliseconds a clip of each way, and how many times the loop's speed that is."""
  if num_clips < BATCH_SIZE or num_clips % BATCH_SIZE or rounds < 1:
    raise ValueError(f"give a multiple of {BATCH_SIZE} clips and at least one round")
  noise = np.random.default_rng(0).uniform(-0.3, 0.3, (num_clips, features.NUM_SAMPLES))
  audio = noise.astype(np.float32)
  expected = librosa_loop(audio)
  for way in WAYS.values():  # compiles, and shows that all do the same work
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
  """Prints a table, or JSON."""
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

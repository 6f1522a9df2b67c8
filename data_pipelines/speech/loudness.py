"""How loud speech is, and where a word begins and ends: one rule for all that mixes or joins sound.

Speech is where 10 ms are within 20 dB of the loudest 10 ms.
"""

import numpy as np

from data_pipelines.speech.features import HOP

# Root mean squares where full scale is 1: of the loud parts of words, and of background.
SPEECH_LEVEL = 0.05
BACKGROUND_LEVEL = 0.1
LOUD = 0.1  # share of the largest root mean square of 10 ms: -20 dB


def rms(samples: np.ndarray) -> float:
  """Root mean square of samples `[n]`; a tiny number for silence, so that it may divide."""
  return max(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))), 1e-9)


def find_word(samples: np.ndarray) -> tuple[int, int, float]:
  """Finds the speech in samples.

  Args:
    samples: `[n]` at 16 kHz, n >= 160.

  Returns:
    The first sample of speech, the one after its last, and the root mean square of its loud 10 ms.
  """
  frames = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
  loudness = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
  loud = np.flatnonzero(loudness >= LOUD * loudness.max())
  return int(loud[0]) * HOP, (int(loud[-1]) + 1) * HOP, rms(loudness[loud])

"""The speech front end for sound that arrives bit by bit: samples in, steps out.

It gives the steps of `data_pipelines.speech`, to 1e-6, whatever pieces the samples come in. Two
things differ from a clip: nothing is padded at the end, since live sound has none, and a step is
there as soon as the last window that it needs has been heard. The first window is centred on the
first sample, as in a clip, with zeros before it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from data_pipelines.speech import features
from deploy.statistics import check_mean_and_std

HALF = features.WINDOW // 2
_LARGEST = 32768  # that is taken for a sample


class FrontEndState(NamedTuple):
  """What a front end has heard and still needs.

  Attributes:
    samples: `[n]` float32, n < 400: from the start of the next window on; `[S, n]` of S streams.
    frames: `[k, 20]` float32 standardised, k <= 20: the latest ones; `[S, k, 20]` of S streams.
  """

  samples: np.ndarray
  frames: np.ndarray


class FrontEnd(NamedTuple):
  """Two pure functions.

  Attributes:
    init: `(streams=None) -> FrontEndState`, of silence; S streams are heard side by side.
    push: `(state, samples [n]) -> (state, steps [k, 420])`, float32; n and k may be 0. Of S streams
      `[S, n]` and `[S, k, 420]`.
  """

  init: Callable[..., FrontEndState]
  push: Callable[[FrontEndState, np.ndarray], tuple[FrontEndState, np.ndarray]]


def make_front_end(mean: Any, std: Any) -> FrontEnd:
  """Makes a front end.

  Args:
    mean: `[20]`, of each log-mel band of the training split (`Run.statistics`).
    std: `[20]`, its standard deviation, > 0.

  Returns:
    FrontEnd(init, push). `push` raises ValueError where samples are integers, have another shape or
    are not finite; they are taken for 16 kHz in [-1, 1].

  Raises:
    ValueError: mean or std are not such numbers.
  """
  mean, std = check_statistics(mean, std)
  features.mel_filters()  # takes a second, not at the first sound

  def init(streams: int | None = None) -> FrontEndState:
    if streams is not None and streams < 1:
      raise ValueError(f"streams is {streams}; give 1 or more, or None for one without an axis")
    rows = () if streams is None else (streams,)
    frames = np.zeros((*rows, 0, features.NUM_BANDS), np.float32)
    return FrontEndState(np.zeros((*rows, HALF), np.float32), frames)

  def push(state: FrontEndState, samples: np.ndarray) -> tuple[FrontEndState, np.ndarray]:
    rows = state.samples.shape[:-1]
    samples = _check_samples(samples, rows)
    samples = np.concatenate([state.samples, samples], axis=-1)
    number = max(0, 1 + (samples.shape[-1] - features.WINDOW) // features.HOP)
    frames = state.frames
    if number:
      windows = np.lib.stride_tricks.sliding_window_view(samples, features.WINDOW, axis=-1)
      windows = windows[..., : number * features.HOP : features.HOP, :]
      new = (features.log_mel_of_windows(windows) - mean) / std
      frames = np.concatenate([frames, new.astype(np.float32)], axis=-2)
    span = 2 * features.CONTEXT + 1
    steps = np.zeros((*rows, 0, features.STEP_SIZE), np.float32)
    if frames.shape[-2] >= span:
      views = np.lib.stride_tricks.sliding_window_view(frames, span, axis=-2)
      steps = np.swapaxes(views, -2, -1).reshape(*rows, -1, features.STEP_SIZE)
    left = FrontEndState(
      samples[..., number * features.HOP :].copy(), frames[..., -2 * features.CONTEXT :, :].copy()
    )
    return left, steps

  return FrontEnd(init, push)


def check_statistics(mean: Any, std: Any) -> tuple[np.ndarray, np.ndarray]:
  """Mean and standard deviation of the log-mel bands, `[20]` float32; as `check_mean_and_std`."""
  return check_mean_and_std(mean, std, features.NUM_BANDS, of="band", dtype=np.float32)


def _check_samples(samples: np.ndarray, rows: tuple[int, ...]) -> np.ndarray:
  """Samples as float32; raises ValueError as `FrontEnd.push`."""
  samples = np.asarray(samples)
  if np.issubdtype(samples.dtype, np.integer):
    raise ValueError(f"samples are {samples.dtype}; give floats in [-1, 1]: int16 divided by 32768")
  samples = samples.astype(np.float32, copy=False)
  if not samples.ndim or samples.shape[:-1] != rows:
    wanted = f"[{rows[0]}, n]" if rows else "[n]"
    raise ValueError(f"samples have shape {list(samples.shape)}; give {wanted}")
  # Beyond this the power of a window may overflow, which the network's state would keep.
  bad = np.argwhere(~(np.abs(samples) <= _LARGEST))
  if bad.size:
    where = f" of stream {bad[0, 0]}" if rows else ""
    raise ValueError(
      f"samples{where} hold {samples[tuple(bad[0])]}; give finite numbers in [-1, 1]"
    )
  return samples

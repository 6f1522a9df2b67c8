"""A network of time series as C: their samples in, a decision out, by `series.h` and `series.c`."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.series import LARGEST
from deploy.export.c.source import (
  Program,
  check_names,
  write_number,
  write_program,
)
from deploy.export.networks import read_network
from deploy.rule import Rule
from deploy.statistics import check_mean_and_std
from rc_jax.types import Params


def write_series(
  folder: str | pathlib.Path,
  *,
  constructor: str,
  params: Params,
  class_names: Sequence[str],
  channels: Sequence[str],
  rule: Rule,
  mean: Any,
  std: Any,
  samples_per_step: int = 1,
  weights: str = "float32",
) -> dict[str, int]:
  """Writes `rc_model.c` and `rc_model.h`, which turn the samples of a series into a decision.

  Args:
    folder: where to; made if missing.
    constructor: one of `EXPORTABLE`, of any number of layers.
    params: the network's parameters, as the classifier's `init` returns them.
    class_names: of the C classes, in the order of the logits.
    channels: names of the F channels, in the order of a sample.
    rule: when it is sure; its refractory time says nothing here.
    mean: `[F]`, of each channel.
    std: `[F]`, standard deviation of each channel, > 0.
    samples_per_step: samples that are joined into a step.
    weights: as of `write_sound`.

  Returns:
    Sizes, as `write_program`.

  Raises:
    ValueError: an unknown constructor or kind of weights, a rule out of range, or parameters,
      names, mean or std that do not fit.
  """
  names, channels = check_names("class_names", class_names, 2), check_names("channels", channels, 1)
  size = samples_per_step * len(channels)
  network = read_network(constructor, params, len(names), step_size=size)
  mean, std = check_mean_and_std(mean, std, len(channels), of="channel", dtype=np.float64)
  program = Program(
    about="Decides on a time series while it arrives",
    files="series",
    network=network,
    weights=weights,
    rule=rule,
    sizes={
      "RC_NUM_CHANNELS": len(channels),
      "RC_SAMPLES_PER_STEP": samples_per_step,
      "RC_LARGEST": write_number(np.float64(LARGEST)),
    },
    constants={},
    names={"rc_class_names": names, "rc_channel_names": channels},
    tables={"rc_mean": mean, "rc_std": std},
    state=(size + len(channels) + 2, 1),
  )
  return write_program(folder, program)

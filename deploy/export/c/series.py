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
    constructor: "lstm" or "gru", of any number of layers.
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
    tables=_check_statistics(mean, std, len(channels)),
    state=(size + len(channels) + 2, 1),
  )
  return write_program(folder, program)


def _check_statistics(mean: Any, std: Any, channels: int) -> dict[str, np.ndarray]:
  """Returns the tables of mean and standard deviation, float64.

  Raises:
    ValueError: another shape, a number that is not finite, or a standard deviation of 0 or less.
  """
  tables = {"rc_mean": np.asarray(mean, np.float64), "rc_std": np.asarray(std, np.float64)}
  for name, table in tables.items():
    if table.shape != (channels,) or not np.isfinite(table).all():
      raise ValueError(
        f"{name.removeprefix('rc_')} has shape {list(table.shape)}; give {channels} finite numbers"
      )
  if not (tables["rc_std"] > 0).all():
    raise ValueError(f"std is {tables['rc_std'].min()} for a channel; it must be above 0")
  return tables

"""A network that hears as C: samples of sound in, events out, by `sound.h` and `sound.c`."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.speech import UNKNOWN, features
from deploy.export.c.source import (
  Program,
  check_names,
  write_number,
  write_program,
)
from deploy.export.networks import read_network
from deploy.front_end import check_statistics
from deploy.rule import Rule
from rc_jax.types import Params

_FRAMES = 2 * features.CONTEXT + 1  # of a step


def write_sound(
  folder: str | pathlib.Path,
  *,
  constructor: str,
  params: Params,
  class_names: Sequence[str],
  rule: Rule,
  mean: Any,
  std: Any,
  not_reported: Sequence[str] = (UNKNOWN,),
  weights: str = "float32",
) -> dict[str, int]:
  """Writes `rc_model.c` and `rc_model.h`, which turn samples of sound into events.

  Args:
    folder: where to; made if missing.
    constructor: one of `EXPORTABLE`, of any number of layers.
    params: the network's parameters, as the classifier's `init` returns them.
    class_names: of the C classes, in the order of the logits.
    rule: when a decision is an event.
    mean: `[20]`, of each log-mel band.
    std: `[20]`, standard deviation of each log-mel band, > 0.
    not_reported: classes whose decisions are no events.
    weights: "float32", or "int8": each output's weights are rounded to 255 levels that are
      symmetric about 0, and biases stay float32.

  Returns:
    Sizes, as `write_program`.

  Raises:
    ValueError: an unknown constructor or kind of weights, a rule out of range, or parameters,
      names, mean or std that do not fit.
  """
  names = check_names("class_names", class_names, 2)
  network = read_network(constructor, params, len(names), step_size=features.STEP_SIZE)
  mean, std = check_statistics(mean, std)
  tables = {**_tabulate_front_end(), "rc_mean": mean, "rc_std": std}
  tables["rc_is_event"] = np.array([name not in not_reported for name in names], np.int16)
  sizes = {
    "RC_SAMPLE_RATE": features.SAMPLE_RATE,
    "RC_WINDOW": features.WINDOW,
    "RC_HOP": features.HOP,
    "RC_NUM_BANDS": features.NUM_BANDS,
    "RC_CONTEXT": _FRAMES,
    "RC_REFRACTORY": round(rule.refractory_s * features.SAMPLE_RATE),
  }
  program = Program(
    about="Decides on 16 kHz audio while it arrives",
    files="sound",
    network=network,
    weights=weights,
    rule=rule,
    sizes=sizes,
    constants={"RC_LOG_OFFSET": write_number(np.float32(features.LOG_OFFSET))},
    names={"rc_class_names": names},
    tables=tables,
    state=(features.WINDOW + features.STEP_SIZE + 2, 2),
  )
  return write_program(folder, program)


def _tabulate_front_end() -> dict[str, np.ndarray]:
  """Computes the tables of the front end; of each mel filter only what is not zero."""
  angles = 2 * np.pi * np.arange(features.WINDOW) / features.WINDOW
  filters = features.mel_filters()
  bounds = [np.flatnonzero(filters[:, band])[[0, -1]] for band in range(features.NUM_BANDS)]
  weights = [filters[first : last + 1, band] for band, (first, last) in enumerate(bounds)]
  return {
    "rc_hamming": features.hamming_window(),
    "rc_cosine": np.cos(angles).astype(np.float32),
    "rc_sine": np.sin(angles).astype(np.float32),
    "rc_band_first": np.array([first for first, _ in bounds], np.int16),
    "rc_band_width": np.array([last - first + 1 for first, last in bounds], np.int16),
    "rc_band_weights": np.concatenate(weights),
  }

"""Writes a speech network, its front end and when it is sure as one C99 file and a header.

`rc_model.c` needs nothing but the C library and allocates nothing; `rc_model.h` says how to use it.
The code itself is in `runtime.c` and `runtime.h` beside this file; what depends on the network
stands before it, as constants.
"""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data_pipelines.speech import UNKNOWN, features
from deploy.export.networks import Layer, Network, read_network
from deploy.front_end import check_statistics
from deploy.rule import Rule, check_rule
from rc_jax.types import Params

WEIGHTS = ("float32", "int8")
BLOCK = 32  # outputs whose sums are held in registers: eight of SSE's sixteen, four of AVX's
_HERE = pathlib.Path(__file__).parent
_FRAMES = 2 * features.CONTEXT + 1  # of a step


def write_c(
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
  """Writes `rc_model.c` and `rc_model.h`, which turn samples into decisions.

  Args:
    folder: where to; made if missing.
    constructor: "lstm" of one layer, or "dense_lstm": two dense relu layers below it.
    params: the network's parameters, as the classifier's `init` returns them.
    class_names: of the C classes, in the order of the logits.
    rule: when a decision is an event.
    mean: `[20]`, of each log-mel band.
    std: `[20]`, standard deviation of each log-mel band, > 0.
    not_reported: classes whose decisions are no events.
    weights: "float32", or "int8": each output's weights are rounded to 255 levels that are
      symmetric about 0, and biases stay float32.

  Returns:
    Sizes: "parameters", their number; "constant_bytes", of all tables in the compiled program,
    weights filled up to whole blocks; "state_bytes", of an `rc_state` where a `long long` lies on
    a multiple of 8; "source_bytes" and "header_bytes", of the files.

  Raises:
    ValueError: an unknown constructor or kind of weights, a rule out of range, or parameters,
      names, mean or std that do not fit.
  """
  if weights not in WEIGHTS:
    raise ValueError(f"weights is {weights!r}; choose one of {', '.join(WEIGHTS)}")
  names = _check_names(class_names)
  check_rule(rule, len(names))
  network = read_network(constructor, params, len(names))
  mean, std = check_statistics(mean, std)

  tables: dict[str, np.ndarray] = {
    **_front_end(),
    "rc_mean": mean,
    "rc_std": std,
    **_layers(network, weights),
  }
  tables["rc_is_event"] = np.array([name not in not_reported for name in names], np.int16)
  header = _write_header(network, names, rule)
  source = _write_source(network, names, weights, tables)
  path = pathlib.Path(folder)
  path.mkdir(parents=True, exist_ok=True)
  (path / "rc_model.h").write_text(header, encoding="ascii", newline="\n")
  (path / "rc_model.c").write_text(source, encoding="ascii", newline="\n")
  floats = features.WINDOW + features.STEP_SIZE + 2 * network.units + len(names)
  return {
    "parameters": sum(a.size for layer in network.layers for a in layer[1:] if a is not None),
    "constant_bytes": sum(table.nbytes for table in tables.values()),
    "state_bytes": -(-(4 * floats + 5 * 4) // 8) * 8 + 2 * 8,
    "source_bytes": len(source),
    "header_bytes": len(header),
  }


def _check_names(class_names: Sequence[str]) -> list[str]:
  if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names):
    raise ValueError(f"class_names is {class_names!r}; give a list of strings")
  if len(class_names) < 2:
    raise ValueError(f"class_names has {len(class_names)} entries; a network has 2 or more classes")
  return list(class_names)


def _front_end() -> dict[str, np.ndarray]:
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


def _layers(network: Network, weights: str) -> dict[str, np.ndarray]:
  """Makes the tables of the layers: weights in blocks, and per output a bias and a scale."""
  tables = {}
  for i, layer in enumerate(network.layers):
    kernel = layer.kernel
    if weights == "int8":
      kernel, scales = _quantise(kernel)
      tables[f"rc_scales_{i}"] = _pad(scales)
    # [inputs, outputs] to [blocks, inputs, BLOCK]
    blocks = _pad(kernel).reshape(len(kernel), -1, BLOCK).swapaxes(0, 1)
    tables[f"rc_weights_{i}"] = blocks.reshape(-1)
    if layer.bias is not None:
      tables[f"rc_bias_{i}"] = _pad(layer.bias)
  return tables


def _quantise(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Rounds weights to int8: `kernel [inputs, outputs]` is about the result times the scales."""
  largest = np.abs(kernel).max(axis=0)
  scales = np.where(largest > 0, largest, 1) / np.float32(127)
  # The smallest floats have a scale of zero: such weights are as good as zero.
  scales = np.maximum(scales, np.finfo(np.float32).tiny)
  return np.clip(np.rint(kernel / scales), -127, 127).astype(np.int8), scales


def _pad(array: np.ndarray) -> np.ndarray:
  """Fills the last axis with zeros up to whole blocks."""
  widths = [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % BLOCK)]
  return np.pad(array, widths)


def _write_header(network: Network, names: list[str], rule: Rule) -> str:
  sizes = {
    "RC_SAMPLE_RATE": features.SAMPLE_RATE,
    "RC_WINDOW": features.WINDOW,
    "RC_HOP": features.HOP,
    "RC_NUM_BANDS": features.NUM_BANDS,
    "RC_CONTEXT": _FRAMES,
    "RC_UNITS": network.units,
    "RC_NUM_CLASSES": len(names),
    "RC_THETA": _literal(np.float32(rule.theta)),
    "RC_PATIENCE": rule.patience,
    "RC_REFRACTORY": round(rule.refractory_s * features.SAMPLE_RATE),
  }
  lines = [
    "/* Decides on 16 kHz audio while it arrives; rc_model.c has the code. */",
    "#ifndef RC_MODEL_H",
    "#define RC_MODEL_H",
    "",
    *(f"#define {name} {value}" for name, value in sizes.items()),
    "",
    '#ifdef __cplusplus\nextern "C" {\n#endif\n',
    (_HERE / "runtime.h").read_text(),
    "#ifdef __cplusplus\n}\n#endif\n",
    "#endif",
  ]
  return "\n".join(lines) + "\n"


def _write_source(
  network: Network, names: list[str], weights: str, tables: dict[str, np.ndarray]
) -> str:
  is_int8 = weights == "int8"
  widest = max(len(_pad(layer.kernel[0])) for layer in network.layers)
  sizes = {
    "RC_INT8": int(is_int8),
    "RC_BLOCK": BLOCK,
    "RC_WIDEST": widest,
    "RC_ENCODER_LAYERS": len(network.encoder),
    "RC_HEAD_LAYERS": len(network.head),
    "RC_LOG_OFFSET": _literal(np.float32(features.LOG_OFFSET)),
  }
  rows = [_layer_row(i, layer, has_scales=is_int8) for i, layer in enumerate(network.layers)]
  lines = [
    f"/* LSTM of {network.units} units, {len(names)} classes, {weights} weights. */",
    '#include "rc_model.h"\n',
    *(f"#include <{name}.h>" for name in ("limits", "math", "string")),
    "",
    *(f"#define {name} {value}" for name, value in sizes.items()),
    "",
    f"typedef {'signed char' if is_int8 else 'float'} rc_weight;",
    "",
    "typedef struct {",
    "  int inputs, outputs;",
    "  const rc_weight *weights;",
    "  const float *bias;",
    *(["  const float *scales;"] if is_int8 else []),
    "} rc_layer;",
    "",
    f"const char *const rc_class_names[RC_NUM_CLASSES] = {{{', '.join(map(_quote, names))}}};",
    "",
    *(_declare(name, table) for name, table in tables.items()),
    f"static const rc_layer rc_layers[] = {{\n{''.join(rows)}}};",
    "",
    (_HERE / "runtime.c").read_text(),
  ]
  return "\n".join(lines)


def _layer_row(i: int, layer: Layer, *, has_scales: bool) -> str:
  bias = "0" if layer.bias is None else f"rc_bias_{i}"
  scales = f", rc_scales_{i}" if has_scales else ""
  inputs, outputs = layer.kernel.shape
  return f"  {{{inputs}, {outputs}, rc_weights_{i}, {bias}{scales}}}, /* {layer.name} */\n"


_TYPES = {"float32": "float", "int8": "signed char", "int16": "short"}


def _declare(name: str, table: np.ndarray) -> str:
  """Declares a constant array in C."""
  text = "".join(_lines(table))
  return f"static const {_TYPES[table.dtype.name]} {name}[{len(table)}] = {{\n{text}}};\n"


def _lines(table: np.ndarray) -> Iterator[str]:
  per_line = 8 if table.dtype == np.float32 else 20
  for start in range(0, len(table), per_line):
    yield ", ".join(map(_literal, table[start : start + per_line])) + ",\n"


def _literal(number: Any) -> str:
  """Writes a number so that C reads the same one."""
  if isinstance(number, np.floating):
    return f"{number:#.9g}f"
  return str(number)


def _quote(text: str) -> str:
  """Writes a C string of UTF-8; what is not a letter, digit or blank is written as its number."""
  plain = lambda byte: chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in " _-")
  return '"' + "".join(chr(b) if plain(b) else f"\\{b:03o}" for b in text.encode()) + '"'

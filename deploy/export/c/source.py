"""The C source of a network: its layers and other constants as tables, before code from files."""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from deploy.export.networks import Layer, Network
from deploy.rule import Rule, check_rule
from deploy.run_files import write_whole

WEIGHTS = ("float32", "int8")
BLOCK = 32  # outputs whose sums are held in registers: eight of SSE's sixteen, four of AVX's
_HERE = pathlib.Path(__file__).parent


class Program(NamedTuple):
  """A network with what stands around it.

  Attributes:
    about: a sentence for the header.
    files: of the code, `FILES.h` and `FILES.c`.
    network: its layers.
    weights: one of WEIGHTS.
    rule: when it is sure.
    sizes: further constants of the header, by name.
    constants: constants of the source, by name.
    names: arrays of strings, by name; each is declared in the header.
    tables: other arrays, by name.
    state: how many numbers of four bytes an `rc_state` has besides the network's, and how many of
      eight.
  """

  about: str
  files: str
  network: Network
  weights: str
  rule: Rule
  sizes: dict[str, Any]
  constants: dict[str, Any]
  names: dict[str, Sequence[str]]
  tables: dict[str, np.ndarray]
  state: tuple[int, int]


def check_names(what: str, names: Sequence[str], least: int) -> list[str]:
  """Returns names as a list.

  Args:
    what: they name, for the message.
    names: to be checked.
    least: number of them.

  Raises:
    ValueError: no strings, or too few.
  """
  if isinstance(names, str) or not all(isinstance(name, str) for name in names):
    raise ValueError(f"{what} is {names!r}; give a list of strings")
  if len(names) < least:
    raise ValueError(f"{what} has {len(names)} entries; give {least} or more")
  return list(names)


def write_program(folder: str | pathlib.Path, program: Program) -> dict[str, int]:
  """Writes `rc_model.c` and `rc_model.h`.

  Args:
    folder: where to; made if missing.
    program: what to write.

  Returns:
    Sizes: "parameters", their number; "constant_bytes", of the tables of numbers in the compiled
    program, weights filled up to whole blocks; "state_bytes", of an `rc_state` where a `long long`
    lies on a multiple of 8; "source_bytes" and "header_bytes", of the files.

  Raises:
    ValueError: an unknown kind of weights, or a rule out of range.
  """
  if program.weights not in WEIGHTS:
    raise ValueError(f"weights is {program.weights!r}; choose one of {', '.join(WEIGHTS)}")
  check_rule(program.rule, _count_classes(program.network))
  tables = program.tables | _tabulate_layers(program.network, program.weights)
  header, source = _write_header(program), _write_source(program, tables)
  path = pathlib.Path(folder)
  path.mkdir(parents=True, exist_ok=True)
  for name, text in (("rc_model.c", source), ("rc_model.h", header)):
    write_whole(path / name, text.encode("ascii"))
  layers = program.network.layers
  return {
    "parameters": sum(a.size for layer in layers for a in layer[1:] if a is not None),
    "constant_bytes": sum(table.nbytes for table in tables.values()),
    "state_bytes": _count_state_bytes(program),
    "source_bytes": len(source),
    "header_bytes": len(header),
  }


def write_number(number: Any) -> str:
  """Writes a number so that C reads the same one."""
  if isinstance(number, np.float32):
    return f"{number:#.9g}f"
  return f"{number:#.17g}" if isinstance(number, np.float64) else str(number)


def _count_classes(network: Network) -> int:
  return network.head[-1].kernel.shape[1]


def _count_state_bytes(program: Program) -> int:
  network, (fours, eights) = program.network, program.state
  per_layer = network.units * (1 if network.kind == "gru" else 2)
  fours += len(network.recurrent) * per_layer + _count_classes(network) + 3
  return 8 * (-(-fours // 2) + eights)


def _tabulate_layers(network: Network, weights: str) -> dict[str, np.ndarray]:
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


def _write_header(program: Program) -> str:
  network = program.network
  sizes = {
    "RC_GRU": int(network.kind == "gru"),
    "RC_RECURRENT_LAYERS": len(network.recurrent),
    "RC_UNITS": network.units,
    "RC_NUM_CLASSES": _count_classes(network),
    "RC_THETA": write_number(np.float32(program.rule.theta)),
    "RC_PATIENCE": program.rule.patience,
    **program.sizes,
  }
  lines = [
    f"/* {program.about}; rc_model.c has the code. */",
    "#ifndef RC_MODEL_H",
    "#define RC_MODEL_H",
    "",
    *(f"#define {name} {value}" for name, value in sizes.items()),
    "",
    '#ifdef __cplusplus\nextern "C" {\n#endif\n',
    *((_HERE / name).read_text() for name in ("network.h", f"{program.files}.h")),
    "#ifdef __cplusplus\n}\n#endif\n",
    "#endif",
  ]
  return "\n".join(lines) + "\n"


def _write_source(program: Program, tables: dict[str, np.ndarray]) -> str:
  network, is_int8 = program.network, program.weights == "int8"
  constants = {
    "RC_INT8": int(is_int8),
    "RC_BLOCK": BLOCK,
    "RC_WIDEST": max(len(_pad(layer.kernel[0])) for layer in network.layers),
    "RC_ENCODER_LAYERS": len(network.encoder),
    "RC_HEAD_LAYERS": len(network.head),
    **program.constants,
  }
  rows = [_write_layer(i, layer, has_scales=is_int8) for i, layer in enumerate(network.layers)]
  name = f"{network.kind.upper()}-{network.units}"
  name += f", {len(network.recurrent)} layers" if len(network.recurrent) > 1 else ""
  lines = [
    f"/* {name}, {_count_classes(network)} classes, {program.weights} weights. */",
    '#include "rc_model.h"\n',
    *(f"#include <{name}.h>" for name in ("limits", "math", "string")),
    "",
    *(f"#define {name} {value}" for name, value in constants.items()),
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
    *(_declare_names(name, entries) for name, entries in program.names.items()),
    "",
    *(_declare(name, table) for name, table in tables.items()),
    f"static const rc_layer rc_layers[] = {{\n{''.join(rows)}}};",
    "",
    (_HERE / "network.c").read_text(),
    (_HERE / f"{program.files}.c").read_text(),
  ]
  return "\n".join(lines)


def _write_layer(i: int, layer: Layer, *, has_scales: bool) -> str:
  bias = "0" if layer.bias is None else f"rc_bias_{i}"
  scales = f", rc_scales_{i}" if has_scales else ""
  inputs, outputs = layer.kernel.shape
  return f"  {{{inputs}, {outputs}, rc_weights_{i}, {bias}{scales}}}, /* {layer.name} */\n"


_TYPES = {"float32": "float", "float64": "double", "int8": "signed char", "int16": "short"}


def _declare(name: str, table: np.ndarray) -> str:
  """Declares a constant array in C."""
  text = "".join(_write_rows(table))
  return f"static const {_TYPES[table.dtype.name]} {name}[{len(table)}] = {{\n{text}}};\n"


def _declare_names(name: str, entries: Sequence[str]) -> str:
  texts = ", ".join(map(_quote, entries))
  return f"const char *const {name}[{len(entries)}] = {{{texts}}};"


def _write_rows(table: np.ndarray) -> Iterator[str]:
  per_row = 8 if np.issubdtype(table.dtype, np.floating) else 20
  for start in range(0, len(table), per_row):
    yield ", ".join(map(write_number, table[start : start + per_row])) + ",\n"


def _quote(text: str) -> str:
  """Writes a C string of UTF-8; what is not a letter, digit or blank is written as its number."""
  plain = lambda byte: chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in " _-")
  return '"' + "".join(chr(b) if plain(b) else f"\\{b:03o}" for b in text.encode()) + '"'

"""Reads the layers of a speech network out of its parameter tree."""

from typing import Any, NamedTuple

import numpy as np

from data_pipelines.speech.features import STEP_SIZE
from rc_jax.types import Params

CONSTRUCTORS = ("lstm", "dense_lstm")


class Layer(NamedTuple):
  """A dense layer, or one product of the LSTM.

  Attributes:
    name: place in the parameter tree, for messages.
    kernel: `[inputs, outputs]` float32.
    bias: `[outputs]` float32, or None for the recurrent product, which has none of its own.
  """

  name: str
  kernel: np.ndarray
  bias: np.ndarray | None


class Network(NamedTuple):
  """Layers in the order of computing. All but `input`, `recurrent` and the last end in a relu.

  Attributes:
    encoder: dense layers on a step's frames; none for "lstm".
    input: of the LSTM, outputs `[4 H]`: gates in the order i, f, g, o.
    recurrent: of the LSTM, outputs `[4 H]`, added to those of `input`.
    head: dense layers, the last one to the logits `[C]`.
  """

  encoder: tuple[Layer, ...]
  input: Layer
  recurrent: Layer
  head: tuple[Layer, ...]

  @property
  def units(self) -> int:
    """H, the width of the LSTM."""
    return self.recurrent.kernel.shape[0]

  @property
  def layers(self) -> tuple[Layer, ...]:
    """All layers in the order of computing."""
    return (*self.encoder, self.input, self.recurrent, *self.head)


def read_network(constructor: str, params: Params, num_classes: int) -> Network:
  """Reads a network's layers out of its parameter tree.

  Args:
    constructor: "lstm", or "dense_lstm": two dense relu layers below an LSTM.
    params: tree of arrays, as the classifier's `init` returns it or a checkpoint holds it.
    num_classes: C, which the last layer must have as outputs.

  Returns:
    Network.

  Raises:
    ValueError: another constructor, an LSTM of several layers, or parameters that do not belong to
      the constructor, to steps `[420]` or to C classes, or that are not finite.
  """
  if constructor not in CONSTRUCTORS:
    raise ValueError(
      f"constructor is {constructor!r}; only {' and '.join(CONSTRUCTORS)} can be written as C or "
      "as a page"
    )
  try:
    network = _read_dense_lstm(params) if constructor == "dense_lstm" else _read_lstm(params, ())
  except (KeyError, IndexError, TypeError, AttributeError) as error:
    text = f"params are not those of {constructor}: {type(error).__name__} {error}"
    raise ValueError(text) from error
  _check_shapes(network, num_classes)
  return network


def _read_dense_lstm(params: Params) -> Network:
  # A linen Sequential numbers its parts, so that the layers without parameters leave gaps.
  layers = params["encoder"]["params"]
  names = sorted(layers, key=lambda name: int(name.rpartition("_")[2]))
  if len(names) != 2:
    raise ValueError(f"the encoder has {len(names)} layers; dense_lstm has two")
  encoder = (_read_dense(f"encoder.{name}", layers[name]) for name in names)
  return _read_lstm(params["classifier"], tuple(encoder))


def _read_lstm(params: Params, encoder: tuple[Layer, ...]) -> Network:
  if upper := params.get("upper"):
    raise ValueError(f"params are of an LSTM of {1 + len(upper)} layers; only one can be written")
  return Network(
    encoder,
    Layer("input", _read_array(params["input"]), _read_array(params["bias"])),
    Layer("recurrent", _read_array(params["recurrent"]), None),
    tuple(_read_dense(f"head.{i}", layer) for i, layer in enumerate(params["head"])),
  )


def _read_dense(name: str, layer: Any) -> Layer:
  return Layer(name, _read_array(layer["kernel"]), _read_array(layer["bias"]))


def _read_array(array: Any) -> np.ndarray:
  return np.asarray(array, np.float32)


def _check_shapes(network: Network, num_classes: int) -> None:
  units = network.recurrent.kernel.shape[0] if network.recurrent.kernel.ndim else 0
  inputs = STEP_SIZE
  for layer in network.encoder:
    inputs = _check_layer(layer, inputs)
  _check_layer(network.input, inputs, 4 * units)
  _check_layer(network.recurrent, units, 4 * units)
  inputs = units
  for layer in network.head[:-1]:
    inputs = _check_layer(layer, inputs)
  _check_layer(network.head[-1], inputs, num_classes)


def _check_layer(layer: Layer, inputs: int, outputs: int | None = None) -> int:
  """Raises ValueError if a layer has other sizes than those given; returns its outputs."""
  shape = layer.kernel.shape
  if len(shape) != 2 or shape[0] != inputs or outputs not in (None, shape[1]):
    wanted = "any" if outputs is None else outputs
    raise ValueError(f"{layer.name} has weights {list(shape)}; expected [{inputs}, {wanted}]")
  if layer.bias is not None and layer.bias.shape != shape[1:]:
    raise ValueError(
      f"{layer.name} has a bias {list(layer.bias.shape)}; expected {list(shape[1:])}"
    )
  if not all(np.isfinite(a).all() for a in (layer.kernel, layer.bias) if a is not None):
    raise ValueError(f"{layer.name} has weights that are not finite; the training has diverged")
  return shape[1]

"""Reads the layers of a network out of its parameter tree."""

from typing import Any, NamedTuple

import numpy as np

from rc_jax.types import Params

EXPORTABLE = ("lstm", "gru", "dense_lstm")


class Layer(NamedTuple):
  """A dense layer, or one of the two products of a recurrent layer.

  Attributes:
    name: place in the parameter tree, for messages.
    kernel: `[inputs, outputs]` float32.
    bias: `[outputs]` float32, or None for the recurrent product of an LSTM, which has none.
  """

  name: str
  kernel: np.ndarray
  bias: np.ndarray | None


class Recurrent(NamedTuple):
  """A recurrent layer of H units: two products, whose sums are its gates.

  Attributes:
    input: outputs `[4 H]` of an LSTM, the gates i, f, g, o; `[3 H]` of a GRU, the gates r, z, n.
    state: of the state h, with the same outputs; they are added to those of `input`, of a GRU's n
      after r has multiplied them.
  """

  input: Layer
  state: Layer


class Network(NamedTuple):
  """Layers in the order of computing. The dense ones but the last end in a relu.

  Attributes:
    kind: of the recurrent layers, "lstm" or "gru".
    encoder: dense layers on a step's input; none but for "dense_lstm".
    recurrent: recurrent layers, one above the other.
    head: dense layers, the last one to the logits `[C]`.
  """

  kind: str
  encoder: tuple[Layer, ...]
  recurrent: tuple[Recurrent, ...]
  head: tuple[Layer, ...]

  @property
  def units(self) -> int:
    """H, the width of a recurrent layer."""
    return self.recurrent[0].state.kernel.shape[0]

  @property
  def layers(self) -> tuple[Layer, ...]:
    """All products in the order of computing."""
    of_recurrent = (product for layer in self.recurrent for product in layer)
    return (*self.encoder, *of_recurrent, *self.head)


def read_network(constructor: str, params: Params, num_classes: int, *, step_size: int) -> Network:
  """Reads a network's layers out of its parameter tree.

  Args:
    constructor: "lstm", "gru", or "dense_lstm": two dense relu layers below an LSTM.
    params: tree of arrays, as the classifier's `init` returns it or a checkpoint holds it.
    num_classes: C, which the last layer must have as outputs.
    step_size: F, numbers of a step, which the first layer must have as inputs.

  Returns:
    Network.

  Raises:
    ValueError: another constructor, or parameters that do not belong to the constructor, to steps
      `[F]` or to C classes, or that are not finite.
  """
  if constructor not in EXPORTABLE:
    raise ValueError(
      f"constructor is {constructor!r}; only {', '.join(EXPORTABLE[:-1])} and {EXPORTABLE[-1]} "
      "can be written"
    )
  try:
    if constructor == "dense_lstm":
      network = _read_dense_lstm(params)
    else:
      network = _read_stack(constructor, params, ())
  except (KeyError, IndexError, TypeError, AttributeError) as error:
    text = f"params are not those of {constructor}: {type(error).__name__} {error}"
    raise ValueError(text) from error
  _check_shapes(network, step_size, num_classes)
  return network


def _read_dense_lstm(params: Params) -> Network:
  # A linen Sequential numbers its parts, so that the layers without parameters leave gaps.
  layers = params["encoder"]["params"]
  names = sorted(layers, key=lambda name: int(name.rpartition("_")[2]))
  if len(names) != 2:
    raise ValueError(f"the encoder has {len(names)} layers; dense_lstm has two")
  encoder = (_read_dense(f"encoder.{name}", layers[name]) for name in names)
  return _read_stack("lstm", params["classifier"], tuple(encoder))


def _read_stack(kind: str, params: Params, encoder: tuple[Layer, ...]) -> Network:
  upper = params.get("upper", ())
  named = [("", params), *((f"upper.{i}.", layer) for i, layer in enumerate(upper))]
  return Network(
    kind,
    encoder,
    tuple(_read_recurrent(name, kind, layer) for name, layer in named),
    tuple(_read_dense(f"head.{i}", layer) for i, layer in enumerate(params["head"])),
  )


def _read_recurrent(prefix: str, kind: str, layer: Any) -> Recurrent:
  bias = None
  if kind == "gru":  # r multiplies the bias of n, too
    candidate = _read_array(layer["candidate_bias"])
    bias = np.concatenate([np.zeros(2 * len(candidate), np.float32), candidate])
  return Recurrent(
    Layer(f"{prefix}input", _read_array(layer["input"]), _read_array(layer["bias"])),
    Layer(f"{prefix}recurrent", _read_array(layer["recurrent"]), bias),
  )


def _read_dense(name: str, layer: Any) -> Layer:
  return Layer(name, _read_array(layer["kernel"]), _read_array(layer["bias"]))


def _read_array(array: Any) -> np.ndarray:
  return np.asarray(array, np.float32)


def _check_shapes(network: Network, step_size: int, num_classes: int) -> None:
  kernel = network.recurrent[0].state.kernel
  units = kernel.shape[0] if kernel.ndim else 0
  gates = {"lstm": 4, "gru": 3}[network.kind] * units
  inputs = step_size
  for layer in network.encoder:
    inputs = _check_layer(layer, inputs)
  for product, state in network.recurrent:
    _check_layer(product, inputs, gates)
    _check_layer(state, units, gates)
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

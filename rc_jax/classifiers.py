"""Ready-made classifiers."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers

from rc_jax.checks import check_float, check_sizes
from rc_jax.convolution import convolve
from rc_jax.engine import keep
from rc_jax.head import make_head
from rc_jax.types import Array, Carry, Classifier, Key, Output, Params

_input_init = initializers.lecun_normal()
_recurrent_init = initializers.orthogonal()


def lstm(
  units: int,
  num_classes: int,
  *,
  layers: int = 1,
  hidden: Sequence[int] = (),
  single_output: bool = False,
  forget_bias: float = 1.0,
) -> Classifier:
  """An LSTM (Hochreiter & Schmidhuber, 1997) with a dense head, on inputs `[F]`.

  Args:
    units: H of each layer.
    num_classes: C.
    layers: number of LSTM layers; each one above the first reads the h `[H]` of the one below.
    hidden: widths of dense relu layers between the LSTM and the last dense layer; `(32,)` is the
      speech model of section 3.4.
    single_output: one output neuron with a sigmoid for two classes (A.1): logits `[0, z]`.
    forget_bias: initial bias of the forget gate; the other biases start at 0.

  Returns:
    Classifier whose `encode` is the first layer's product with the input, its bias added, `[4 H]`;
    gates in the order i, f, g, o. Layers above the first have their parameters in `"upper"`.

  Raises:
    ValueError: sizes below 1, or a single output for other than two classes; at `init` and
      `encode`, a step's input that is not float `[F]`.
  """

  def init(input_key: Key, recurrent_key: Key, features: int) -> Params:
    gates = jax.random.split(recurrent_key, 4)
    return {
      "input": _input_init(input_key, (features, 4 * units)),
      "recurrent": jnp.concatenate([_recurrent_init(k, (units, units)) for k in gates], axis=1),
      "bias": jnp.zeros(4 * units).at[units : 2 * units].set(forget_bias),
    }

  def step(layer: Params, carry: Carry, encoded: Array) -> tuple[Carry, Array]:
    c, h = carry
    c, h = _apply_lstm_gates(c, encoded + h @ layer["recurrent"])
    return (c, h), h

  initial_carry = lambda: (jnp.zeros(units), jnp.zeros(units))
  cell = _Cell("lstm", units, init, initial_carry, step)
  return _stack(cell, layers, num_classes, hidden, single_output)


def gru(
  units: int,
  num_classes: int,
  *,
  layers: int = 1,
  hidden: Sequence[int] = (),
  single_output: bool = False,
) -> Classifier:
  """A GRU (Cho et al., 2014) with a dense head, on inputs `[F]`.

  Args:
    units: H of each layer.
    num_classes: C.
    layers: number of GRU layers; each one above the first reads the h `[H]` of the one below.
    hidden: widths of dense relu layers before the last one.
    single_output: one output neuron with a sigmoid for two classes: logits `[0, z]`.

  Returns:
    Classifier whose `encode` is the first layer's product with the input, its bias added, `[3 H]`;
    gates in the order r, z, n, the reset gate applied after the recurrent product. Layers above the
    first have their parameters in `"upper"`.

  Raises:
    ValueError: as `lstm`.
  """

  def init(input_key: Key, recurrent_key: Key, features: int) -> Params:
    gates = jax.random.split(recurrent_key, 3)
    return {
      "input": _input_init(input_key, (features, 3 * units)),
      "recurrent": jnp.concatenate([_recurrent_init(k, (units, units)) for k in gates], axis=1),
      "bias": jnp.zeros(3 * units),
      "candidate_bias": jnp.zeros(units),
    }

  def step(layer: Params, h: Carry, encoded: Array) -> tuple[Carry, Array]:
    from_input = jnp.split(encoded, 3)
    from_state = jnp.split(h @ layer["recurrent"], 3)
    r = jax.nn.sigmoid(from_input[0] + from_state[0])
    z = jax.nn.sigmoid(from_input[1] + from_state[1])
    n = jnp.tanh(from_input[2] + r * (from_state[2] + layer["candidate_bias"]))
    h = (1 - z) * n + z * h
    return h, h

  cell = _Cell("gru", units, init, lambda: jnp.zeros(units), step)
  return _stack(cell, layers, num_classes, hidden, single_output)


def conv_lstm(
  units: int,
  num_classes: int,
  image_shape: tuple[int, int],
  *,
  kernel: int = 3,
  hidden: Sequence[int] = (),
  forget_bias: float = 1.0,
) -> Classifier:
  """A convolutional LSTM (Shi et al., 2015) with a dense head, on inputs `[Y, X, F]`.

  Args:
    units: H, feature maps of the hidden layer.
    num_classes: C.
    image_shape: (Y, X).
    kernel: odd width of the square kernels of input and recurrence; padding keeps the image's size.
    hidden: widths of dense relu layers before the last one.
    forget_bias: initial bias of the forget gate.

  Returns:
    Classifier whose `encode` is the input's convolution, its bias added, `[Y, X, 4 H]`.

  Raises:
    ValueError: sizes below 1, or an even kernel; at `init` and `encode`, a step's input that is not
      float `[Y, X, F]`.
  """
  if len(np.shape(image_shape)) != 1 or len(image_shape) != 2:
    raise ValueError(f"image_shape is {image_shape}; give (Y, X), as (28, 28)")
  height, width = image_shape
  check_sizes(units=units, kernel=kernel, **{"image_shape[0]": height, "image_shape[1]": width})
  if kernel % 2 == 0:
    raise ValueError(f"kernel is {kernel}; an odd width keeps the image's size")
  head_init, head = make_head(num_classes, hidden, single_output=False)
  state_shape = (*image_shape, units)
  # The five functions stay here together, as they share these sizes: apart, each would take five.

  def init(key: Key, x: Array) -> Params:
    _check_input("conv_lstm", x, 3)
    if x.shape[:2] != tuple(image_shape):
      raise ValueError(f"conv_lstm is built for images {image_shape}, but a step is {x.shape}")
    input_key, recurrent_key, head_key = jax.random.split(key, 3)
    return {
      "input": _input_init(input_key, (kernel, kernel, x.shape[2], 4 * units)),
      "recurrent": _input_init(recurrent_key, (kernel, kernel, units, 4 * units)),
      "bias": jnp.zeros(4 * units).at[units : 2 * units].set(forget_bias),
      "head": head_init(head_key, math.prod(state_shape)),
    }

  def encode(params: Params, x: Array) -> Array:
    _check_features("conv_lstm", x, (*image_shape, params["input"].shape[2]))
    return convolve(x, params["input"]) + params["bias"].reshape(1, 1, -1)

  def step(params: Params, carry: Carry, encoded: Array) -> tuple[Carry, Output]:
    c, h = carry
    c, h = _apply_lstm_gates(c, encoded + convolve(h, params["recurrent"]))
    return (c, h), {"hidden": h}

  def initial_carry(params: Params) -> Carry:
    del params
    return jnp.zeros(state_shape), jnp.zeros(state_shape)

  def decode(params: Params, output: Output) -> Array:
    return head(params["head"], output["hidden"].reshape(-1))

  return Classifier(init, initial_carry, step, encode, decode)


class _Cell(NamedTuple):
  """One recurrent layer.

  Attributes:
    name: of the classifier, for messages.
    units: H.
    init: `(input_key, recurrent_key, features) -> params`, with weights "input" and "bias".
    initial_carry: `() -> carry`.
    step: `(params, carry, encoded) -> (carry, h [H])`, where `encoded` is the input times "input"
      plus "bias".
  """

  name: str
  units: int
  init: Callable[[Key, Key, int], dict[str, Any]]
  initial_carry: Callable[[], Carry]
  step: Callable[[Params, Carry, Array], tuple[Carry, Array]]


def _stack(
  cell: _Cell, layers: int, num_classes: int, hidden: Sequence[int], single_output: bool
) -> Classifier:
  """Makes a classifier of layers of a cell, one above the other, and a dense head.

  The first layer's parameters stand beside the head's, not in a list with those of the others, and
  one layer's carry in no tuple: so a network of one layer reads checkpoints from before `layers`.
  """
  check_sizes(units=cell.units, layers=layers)
  head_init, head = make_head(num_classes, hidden, single_output)

  def init(key: Key, x: Array) -> Params:
    _check_input(cell.name, x, 1)
    input_key, recurrent_key, head_key, *upper_keys = jax.random.split(key, 2 + layers)
    params = cell.init(input_key, recurrent_key, x.shape[0])
    params["head"] = head_init(head_key, cell.units)
    if upper_keys:
      pairs = [jax.random.split(k) for k in upper_keys]
      params["upper"] = [cell.init(pair[0], pair[1], cell.units) for pair in pairs]
    return params

  def encode(params: Params, x: Array) -> Array:
    _check_layers(cell.name, params, layers)
    _check_features(cell.name, x, params["input"].shape[:1])
    return _multiply_input(params, x)

  def step(params: Params, carry: Carry, encoded: Array) -> tuple[Carry, Output]:
    if layers == 1:
      carry, h = cell.step(params, carry, encoded)
      return carry, {"hidden": h}
    first, h = cell.step(params, carry[0], encoded)
    carries = [first]
    for layer, before in zip(params["upper"], carry[1:], strict=True):
      after, h = cell.step(layer, before, _multiply_input(layer, h))
      carries.append(after)
    return tuple(carries), {"hidden": h}

  def initial_carry(params: Params) -> Carry:
    del params
    carry = cell.initial_carry()
    return carry if layers == 1 else (carry,) * layers

  def decode(params: Params, output: Output) -> Array:
    return head(params["head"], output["hidden"])

  return Classifier(init, initial_carry, step, encode, decode)


def _multiply_input(layer: Params, x: Array) -> Array:
  return x @ layer["input"] + layer["bias"]


def _apply_lstm_gates(c: Array, gates: Array) -> tuple[Array, Array]:
  # Early exit stores this sum: the derivative of all that follows needs nothing before it.
  gates = keep(gates)
  # sigmoid(x) = tanh(x / 2) / 2 + 1/2: one kernel for all four gates, to compile and to start.
  halves = np.repeat(np.asarray([0.5, 0.5, 1.0, 0.5], gates.dtype), gates.shape[-1] // 4)
  half = jnp.broadcast_to(halves, gates.shape)
  i, f, g, o = jnp.split(half * jnp.tanh(half * gates) + (1 - half), 4, axis=-1)
  c = f * c + i * g
  return c, o * jnp.tanh(c)


def _check_input(name: str, x: Array, rank: int) -> None:
  check_float(name, x)
  if x.ndim != rank:
    raise ValueError(
      f"{name} takes a float input of rank {rank} a step, but got {x.dtype}{list(x.shape)}; of "
      "inputs [B, T, ...] give one step, inputs[0, 0]"
    )


def _check_layers(name: str, params: Params, layers: int) -> None:
  # Without this check a network of one layer would run, and leave out the layers above.
  given = 1 + len(params.get("upper", ()))
  if given != layers:
    raise ValueError(
      f"{name} has layers={layers}, but its parameters are for layers={given}; build it with these"
    )


def _check_features(name: str, x: Array, shape: tuple[int, ...]) -> None:
  check_float(name, x)
  if x.shape != shape:
    raise ValueError(f"{name}'s parameters are for steps {list(shape)}, but got {list(x.shape)}")

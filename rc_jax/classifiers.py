"""Ready-made classifiers."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers

from rc_jax.engine import keep
from rc_jax.types import Array, Carry, Classifier, Key, Output, Params

_input_init = initializers.lecun_normal()
_recurrent_init = initializers.orthogonal()


def lstm(
  units: int,
  num_classes: int,
  *,
  hidden: Sequence[int] = (),
  single_output: bool = False,
  forget_bias: float = 1.0,
) -> Classifier:
  """An LSTM (Hochreiter & Schmidhuber, 1997) with a dense head, on inputs `[F]`.

  Args:
    units: H.
    num_classes: C.
    hidden: widths of dense relu layers between the LSTM and the last dense layer; `(32,)` is the
      speech model of section 3.4.
    single_output: one output neuron with a sigmoid for two classes (A.1): logits `[0, z]`.
    forget_bias: initial bias of the forget gate; the other biases start at 0.

  Returns:
    Classifier whose `encode` is the input's product, `[4 H]`; gates in the order i, f, g, o.

  Raises:
    ValueError: sizes below 1, or a single output for other than two classes.
  """
  _check_sizes(units=units)
  head_init, head = _head(num_classes, hidden, single_output)

  def init(key: Key, x: Array) -> Params:
    _check_input("lstm", x, 1)
    input_key, recurrent_key, head_key = jax.random.split(key, 3)
    gates = jax.random.split(recurrent_key, 4)
    bias = jnp.zeros(4 * units).at[units : 2 * units].set(forget_bias)
    return {
      "input": _input_init(input_key, (x.shape[0], 4 * units)),
      "recurrent": jnp.concatenate([_recurrent_init(k, (units, units)) for k in gates], axis=1),
      "bias": bias,
      "head": head_init(head_key, units),
    }

  def encode(params: Params, x: Array) -> Array:
    _check_features("lstm", x, params["input"].shape[:1])
    return x @ params["input"] + params["bias"]

  def step(params: Params, carry: Carry, encoded: Array) -> tuple[Carry, Output]:
    c, h = carry
    c, h = _lstm_gates(c, encoded + h @ params["recurrent"])
    return (c, h), {"hidden": h}

  def initial_carry(params: Params) -> Carry:
    del params
    return jnp.zeros(units), jnp.zeros(units)

  def decode(params: Params, output: Output) -> Array:
    return head(params["head"], output["hidden"])

  return Classifier(init, initial_carry, step, encode, decode)


def gru(
  units: int, num_classes: int, *, hidden: Sequence[int] = (), single_output: bool = False
) -> Classifier:
  """A GRU (Cho et al., 2014) with a dense head, on inputs `[F]`.

  Args:
    units: H.
    num_classes: C.
    hidden: widths of dense relu layers before the last one.
    single_output: one output neuron with a sigmoid for two classes: logits `[0, z]`.

  Returns:
    Classifier whose `encode` is the input's product, `[3 H]`; gates in the order r, z, n, the
    reset gate applied after the recurrent product.

  Raises:
    ValueError: as `lstm`.
  """
  _check_sizes(units=units)
  head_init, head = _head(num_classes, hidden, single_output)

  def init(key: Key, x: Array) -> Params:
    _check_input("gru", x, 1)
    input_key, recurrent_key, head_key = jax.random.split(key, 3)
    gates = jax.random.split(recurrent_key, 3)
    return {
      "input": _input_init(input_key, (x.shape[0], 3 * units)),
      "recurrent": jnp.concatenate([_recurrent_init(k, (units, units)) for k in gates], axis=1),
      "bias": jnp.zeros(3 * units),
      "candidate_bias": jnp.zeros(units),
      "head": head_init(head_key, units),
    }

  def encode(params: Params, x: Array) -> Array:
    _check_features("gru", x, params["input"].shape[:1])
    return x @ params["input"] + params["bias"]

  def step(params: Params, carry: Carry, encoded: Array) -> tuple[Carry, Output]:
    from_input = jnp.split(encoded, 3)
    from_state = jnp.split(carry @ params["recurrent"], 3)
    r = jax.nn.sigmoid(from_input[0] + from_state[0])
    z = jax.nn.sigmoid(from_input[1] + from_state[1])
    n = jnp.tanh(from_input[2] + r * (from_state[2] + params["candidate_bias"]))
    h = (1 - z) * n + z * carry
    return h, {"hidden": h}

  def initial_carry(params: Params) -> Carry:
    del params
    return jnp.zeros(units)

  def decode(params: Params, output: Output) -> Array:
    return head(params["head"], output["hidden"])

  return Classifier(init, initial_carry, step, encode, decode)


def conv_lstm(
  units: int,
  num_classes: int,
  image_shape: tuple[int, int],
  *,
  kernel: int = 3,
  hidden: Sequence[int] = (),
  forget_bias: float = 1.0,
) -> Classifier:
  """A convolutional LSTM (Shi et al., 2015), all-to-all to a dense head, on inputs `[Y, X, F]`.

  Args:
    units: H, feature maps of the hidden layer.
    num_classes: C.
    image_shape: (Y, X).
    kernel: odd width of the square kernels of input and recurrence; padding keeps the image's size.
    hidden: widths of dense relu layers before the last one.
    forget_bias: initial bias of the forget gate.

  Returns:
    Classifier whose `encode` is the input's convolution, `[Y, X, 4 H]`.

  Raises:
    ValueError: sizes below 1, or an even kernel.
  """
  if len(np.shape(image_shape)) != 1 or len(image_shape) != 2:
    raise ValueError(f"image_shape is {image_shape}; give (Y, X), as (28, 28)")
  _check_sizes(units=units, kernel=kernel)
  if kernel % 2 == 0:
    raise ValueError(f"kernel is {kernel}; an odd width keeps the image's size")
  head_init, head = _head(num_classes, hidden, single_output=False)
  state_shape = (*image_shape, units)

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
    c, h = _lstm_gates(c, encoded + convolve(h, params["recurrent"]))
    return (c, h), {"hidden": h}

  def initial_carry(params: Params) -> Carry:
    del params
    return jnp.zeros(state_shape), jnp.zeros(state_shape)

  def decode(params: Params, output: Output) -> Array:
    return head(params["head"], output["hidden"].reshape(-1))

  return Classifier(init, initial_carry, step, encode, decode)


def _lstm_gates(c: Array, gates: Array) -> tuple[Array, Array]:
  i, f, g, o = jnp.split(keep(gates), 4, axis=-1)
  c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
  return c, jax.nn.sigmoid(o) * jnp.tanh(c)


def convolve(image: Array, kernel: Array) -> Array:
  """A convolution of odd width, same size: `[Y, X, F]` with `[K, K, F, G]` -> `[Y, X, G]`.

  XLA's CPU backend compiles a convolution inside a loop naively: 10 units, T = 10, B = 128 took
  8.6 s a gradient step, with shifted slices and one product 1.0 s. Elsewhere it is the library's.
  """
  return jax.lax.platform_dependent(image, kernel, cpu=_shifted_product, default=_library_product)


def _library_product(image: Array, kernel: Array) -> Array:
  layout = ("NHWC", "HWIO", "NHWC")
  return jax.lax.conv_general_dilated(
    image[None], kernel, (1, 1), "SAME", dimension_numbers=layout
  )[0]


def _shifted_product(image: Array, kernel: Array) -> Array:
  width, _, features, out = kernel.shape
  height, length, _ = image.shape
  margin = width // 2
  padded = jnp.pad(image, ((margin, margin), (margin, margin), (0, 0)))
  shifted = [
    jax.lax.dynamic_slice(padded, (y, x, 0), image.shape)
    for y in range(width)
    for x in range(width)
  ]
  patches = jnp.concatenate(shifted, axis=-1).reshape(height * length, width * width * features)
  return (patches @ kernel.reshape(-1, out)).reshape(height, length, out)


def _head(
  num_classes: int, hidden: Sequence[int], single_output: bool
) -> tuple[Callable[[Key, int], Params], Callable[[Params, Array], Array]]:
  """Init and apply of dense relu layers and a last dense layer, `[features] -> [C]`."""
  _check_sizes(num_classes=num_classes, **{f"hidden[{i}]": n for i, n in enumerate(hidden)})
  if num_classes < 2 or (single_output and num_classes != 2):
    raise ValueError(
      f"num_classes is {num_classes}; a head has 2 or more, one sigmoid output has 2"
    )
  widths = (*hidden, 1 if single_output else num_classes)

  def init(key: Key, features: int) -> Params:
    keys = jax.random.split(key, len(widths))
    rows = (features, *widths[:-1])
    return [
      {"kernel": _input_init(keys[i], (rows[i], width)), "bias": jnp.zeros(width)}
      for i, width in enumerate(widths)
    ]

  def apply(params: Params, x: Array) -> Array:
    for layer in params[:-1]:
      x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
    logits = x @ params[-1]["kernel"] + params[-1]["bias"]
    return jnp.concatenate([jnp.zeros_like(logits), logits]) if single_output else logits

  return init, apply


def _check_sizes(**sizes: int) -> None:
  for name, size in sizes.items():
    if size < 1:
      raise ValueError(f"{name} is {size}; it must be 1 or more")


def _check_input(name: str, x: Array, rank: int) -> None:
  if x.ndim != rank or not jnp.issubdtype(x.dtype, jnp.floating):
    raise ValueError(
      f"{name} takes a float input of rank {rank} a step, but got {x.dtype}{list(x.shape)}"
    )


def _check_features(name: str, x: Array, shape: tuple[int, ...]) -> None:
  if x.shape != shape:
    raise ValueError(f"{name}'s parameters are for steps {list(shape)}, but got {list(x.shape)}")

"""The networks that a run may have trained, by name: what `model.json` of a run is read with."""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from deploy.convolutional import Front, Network, memoryless
from rc_jax import Classifier, conv_lstm, gru, lstm, with_encoder
from rc_jax.types import Params


class Model(NamedTuple):
  """A network in words, from which `build` makes it: it can be written as JSON.

  Attributes:
    constructor: its name in `CONSTRUCTORS`.
    arguments: keyword arguments of the constructor, JSON values.
  """

  constructor: str
  arguments: dict[str, Any]


def dense_lstm(units: int, num_classes: int) -> Classifier:
  """Makes an LSTM on two dense relu layers of a step's input, of twice its width and of its width.

  Args:
    units: of the LSTM, whose head has a dense layer of 32.
    num_classes: C.
  """
  front = nn.Sequential([nn.Dense(2 * units), nn.relu, nn.Dense(units), nn.relu])
  return with_encoder(lstm(units, num_classes, hidden=(32,)), front)


def cnn(widths: list[int], hidden: int, num_classes: int) -> Classifier:
  """Makes a convolutional network of one step's image, without memory; arguments of `Network`."""
  return memoryless(Network(tuple(widths), hidden, num_classes))


def cnn_lstm(units: int, num_classes: int, widths: list[int]) -> Classifier:
  """Makes an LSTM, with a dense layer of 64 above it, on a convolutional network of each image.

  Args:
    units: of the LSTM.
    num_classes: C.
    widths: feature maps of the convolutions.
  """
  return with_encoder(lstm(units, num_classes, hidden=(64,)), Front(tuple(widths)))


def shift_logit(params: Params, label: int, nats: float) -> Params:
  """Adds a number to one class's logit at every step, in the bias of a network's last layer.

  Args:
    params: of a network with a dense head: `lstm`, `gru` or `dense_lstm`.
    label: the class.
    nats: to be added.

  Raises:
    ValueError: a network without such a head, with one logit for two classes, or without the class.
  """
  inner = params.get("classifier", params)  # of a network on an encoder
  if "head" not in inner:
    raise ValueError("the network has no dense head whose logits could be shifted")
  *lower, last = inner["head"]
  logits = len(last["bias"])
  if logits == 1:
    raise ValueError("the network has one logit for two classes; none can be shifted alone")
  if not 0 <= label < logits:
    raise ValueError(f"the network has no class {label}; give one of 0..{logits - 1}")
  shifted = {
    **inner,
    "head": [*lower, {**last, "bias": jnp.asarray(last["bias"]).at[label].add(nats)}],
  }
  return {**params, "classifier": shifted} if "classifier" in params else shifted


# Nothing else is ever called with what a file says.
CONSTRUCTORS: dict[str, Callable[..., Classifier]] = {
  "lstm": lstm,
  "gru": gru,
  "conv_lstm": conv_lstm,
  "dense_lstm": dense_lstm,
  "cnn": cnn,
  "cnn_lstm": cnn_lstm,
}


def build(model: Model) -> Classifier:
  """Makes the network, once in a process: what was compiled for it is found again.

  Raises:
    ValueError: an unknown constructor, or arguments that it does not take.
  """
  if model.constructor not in CONSTRUCTORS:
    raise ValueError(
      f"constructor {model.constructor!r} is unknown; this version has {', '.join(CONSTRUCTORS)}"
    )
  try:
    return _build(model.constructor, json.dumps(model.arguments, sort_keys=True))
  except TypeError as error:
    raise ValueError(f"arguments of {model.constructor} do not fit: {error}") from error


@functools.cache
def _build(constructor: str, arguments: str) -> Classifier:
  return CONSTRUCTORS[constructor](**json.loads(arguments))

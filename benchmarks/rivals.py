"""The same training as others write it: every step, and the loss at the last.

PyTorch and Flax are benchmarked, never needed: `pip install torch` for the former.
"""

import functools
import importlib.util
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks.shapes import Shape

Call = Callable[[], Any]


def rivals(
  shape: Shape, xs: np.ndarray, labels: np.ndarray, *, update: bool = False
) -> dict[str, Call]:
  """Calls that compute loss and gradients of the last step's cross-entropy, on the same data.

  Args:
    shape: of the network; a ConvLSTM without hidden layers.
    xs: `[B, T, ...]` float32.
    labels: `[B]` int32.
    update: update the parameters too, by Adam.

  Returns:
    name -> call; without PyTorch where it is not installed.
  """
  calls = {"flax": flax_step(shape, xs, labels, update)}
  if importlib.util.find_spec("torch"):
    calls["torch"] = torch_step(shape, xs, labels, update)
  return calls


class FlaxNet(nnx.Module):
  """`nnx.RNN` over Flax's own cell, and dense layers."""

  def __init__(self, shape: Shape, rngs: nnx.Rngs):
    self.units = shape.units
    self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(shape.features[0], shape.units, rngs=rngs))
    widths = itertools.pairwise((shape.units, *shape.hidden, shape.classes))
    self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in widths])

  def __call__(self, xs: jax.Array) -> jax.Array:
    """Logits `[B, C]` of the last step."""
    zeros = jnp.zeros((len(xs), self.units))
    h = self.rnn(xs, initial_carry=(zeros, zeros))[:, -1]
    for layer in self.layers[:-1]:
      h = jax.nn.relu(layer(h))
    return self.layers[-1](h)


def flax_step(shape: Shape, xs: np.ndarray, labels: np.ndarray, update: bool = False) -> Call:
  """Flax nnx for LSTMs, linen's ConvLSTMCell for images; jitted, with optax's loss and Adam."""
  x, y = jnp.asarray(xs), jnp.asarray(labels)
  state: Any
  mean_loss = lambda logits: jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, y))
  if len(shape.features) == 1:
    graph, state, *rest = nnx.split(FlaxNet(shape, nnx.Rngs(0)), nnx.Param, ...)
    loss = lambda state, x: mean_loss(nnx.merge(graph, state, *rest)(x))
  else:
    from flax import linen

    rnn = linen.RNN(linen.ConvLSTMCell(shape.units, (3, 3)))
    head = linen.Dense(shape.classes)
    last = lambda variables, x: jnp.asarray(rnn.apply(variables, x))[:, -1].reshape(len(x), -1)
    rnn_state = jax.jit(rnn.init)(jax.random.key(0), x[:2])
    head_state = head.init(
      jax.random.key(1), jnp.zeros((1, np.prod(shape.features[:2]) * shape.units))
    )
    state = (rnn_state, head_state)
    loss = lambda state, x: mean_loss(head.apply(state[1], last(state[0], x)))
  if not update:
    gradient = jax.jit(jax.value_and_grad(loss)).lower(state, x).compile()
    return lambda: gradient(state, x)
  adam = optax.adam(0.001)

  @functools.partial(jax.jit, donate_argnums=0)
  def updated(own, x):
    state, opt_state = own
    updates, opt_state = adam.update(jax.grad(loss)(state, x), opt_state)
    return optax.apply_updates(state, updates), opt_state

  own = [(state, adam.init(state))]

  def call() -> Any:
    own[0] = updated(own[0], x)
    return own[0]

  return call


def cudnn_step(shape: Shape, xs: np.ndarray, labels: np.ndarray) -> Call:
  """`jax.experimental.rnn.lstm`, which is cuDNN's and needs a GPU, and dense layers; jitted."""
  loss, state = make_cudnn_loss(shape, labels)
  gradient, x = jax.jit(jax.value_and_grad(loss)), jnp.asarray(xs)
  return lambda: gradient(state, x)


def make_cudnn_loss(shape: Shape, labels: np.ndarray) -> tuple[Callable[..., jax.Array], Any]:
  """`(state, xs) -> mean cross-entropy of the last step`, and a random state."""
  from jax.experimental import rnn

  sizes = (shape.features[0], shape.units, 1)  # inputs, units, layers
  key = jax.random.key(0)
  widths = list(itertools.pairwise((shape.units, *shape.hidden, shape.classes)))
  keys = jax.random.split(jax.random.fold_in(key, 1), len(widths))
  layers = [
    (jax.random.normal(k, (a, b)) / a**0.5, jnp.zeros(b))
    for k, (a, b) in zip(keys, widths, strict=True)
  ]
  state = (rnn.init_lstm_weight(key, *sizes, False), layers)
  y = jnp.asarray(labels)

  def loss(state: Any, x: jax.Array) -> jax.Array:
    weights, layers = state
    zeros = jnp.zeros((1, x.shape[0], shape.units))
    lengths = jnp.full(x.shape[0], x.shape[1], jnp.int32)
    h = rnn.lstm(x, zeros, zeros, weights, lengths, *sizes, 0.0, False)[1][0]
    for k, (weight, bias) in enumerate(layers):
      h = (jax.nn.relu(h) if k else h) @ weight + bias[None]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(h, y))

  return loss, state


def torch_step(shape: Shape, xs: np.ndarray, labels: np.ndarray, update: bool = False) -> Call:
  """`torch.nn.LSTM`, or a ConvLSTM of `conv2d` in a Python loop, as PyTorch has none.

  On the kind of device that JAX has: a GPU's LSTM is cuDNN's.
  """
  import torch

  torch.manual_seed(0)
  on_gpu = jax.default_backend() == "gpu"
  device = "cuda" if on_gpu else "cpu"
  x = torch.from_numpy(xs).to(device)
  y = torch.from_numpy(labels).long().to(device)
  rnn, width, last = make_torch_net(shape, x)
  widths = itertools.pairwise((width, *shape.hidden, shape.classes))
  layers = [torch.nn.Linear(a, b) for a, b in widths]
  parameters = [p for module in (rnn, *layers) for p in module.to(device).parameters()]
  adam = torch.optim.Adam(parameters, lr=0.001, fused=True)

  def call() -> None:
    work()
    if on_gpu:
      torch.cuda.synchronize()

  def work() -> None:
    h = last()
    for layer in layers[:-1]:
      h = torch.relu(layer(h))
    loss = torch.nn.functional.cross_entropy(layers[-1](h), y)
    if not update:
      torch.autograd.grad(loss, parameters)
      return
    adam.zero_grad()
    loss.backward()
    adam.step()

  return call


def make_torch_net(shape: Shape, x: Any) -> tuple[Any, int, Callable[[], Any]]:
  """The recurrent layer, the size of its output, and a call that gives its last output."""
  import torch

  if len(shape.features) == 1:
    lstm: Any = torch.nn.LSTM(shape.features[0], shape.units, batch_first=True)
    return lstm, shape.units, lambda: lstm(x)[0][:, -1]
  channels, units = shape.features[2], shape.units
  gates = torch.nn.Conv2d(channels + units, 4 * units, 3, padding=1)
  images = x.permute(1, 0, 4, 2, 3).contiguous()  # [T, B, F, Y, X]

  def last() -> Any:
    h = c = images.new_zeros(images.shape[1], units, *images.shape[3:])
    for image in images:
      i, f, g, o = gates(torch.cat([image, h], dim=1)).chunk(4, dim=1)
      c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
      h = torch.sigmoid(o) * torch.tanh(c)
    return h.flatten(1)

  return gates, int(np.prod(shape.features[:2])) * units, last

"""Classifiers made of other things: Flax cells, heads and encoders, another float type."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from rc_jax.types import Array, Carry, Classifier, Encoded, Key, Output, Params


def from_linen(cell: Any, head: Any, *, input_shape: tuple[int, ...] = (1,)) -> Classifier:
  """A classifier of a Flax linen recurrent cell and any linen head.

  The carry starts as the cell's `carry_init` says: zeros by default, the same draw each time else.

  Args:
    cell: a linen `RNNCellBase`, or any module with its `initialize_carry` and `(carry, x)` call.
    head: a linen module from the cell's output to logits `[C]`.
    input_shape: of one step's input, for cells whose carry depends on it (ConvLSTM).

  Returns:
    Classifier; its `step` is the cell, its `decode` the head.

  Raises:
    ValueError: the cell wants an input of another rank than `input_shape`, or keeps state.
  """
  axes = getattr(cell, "num_feature_axes", len(input_shape))
  if axes != len(input_shape):
    raise ValueError(
      f"{type(cell).__name__} takes inputs of rank {axes}; give from_linen their input_shape"
    )

  def init(key: Key, x: Array) -> Params:
    cell_key, head_key = jax.random.split(key)
    variables = cell.init(cell_key, initial_carry(None), x)
    _, output = cell.apply(variables, initial_carry(None), x)
    head_variables = head.init(head_key, output)
    _check_stateless(cell, variables)
    _check_stateless(head, head_variables)
    return {"cell": variables, "head": head_variables}

  def initial_carry(params: Params) -> Carry:
    del params
    return cell.initialize_carry(jax.random.key(0), input_shape)

  def step(params: Params, carry: Carry, x: Array) -> tuple[Carry, Output]:
    carry, output = cell.apply(params["cell"], carry, x)
    return carry, {"output": output}  # no bare array, which could be taken for logits

  def decode(params: Params, output: Output) -> Array:
    return head.apply(params["head"], output["output"])

  return Classifier(init, initial_carry, step, decode=decode)


def from_nnx(
  cell: Callable[[nnx.Rngs], Any],
  head: Callable[[nnx.Rngs], Any],
  *,
  input_shape: tuple[int, ...] = (1,),
) -> Classifier:
  """A classifier of a Flax nnx recurrent cell and any nnx head.

  An nnx module holds its parameters from its construction on, and `init` must draw new ones from
  its key; so this takes the constructors: `lambda rngs: nnx.LSTMCell(28, 64, rngs=rngs)`. The carry
  starts as the cell's `carry_init` says: zeros by default, the same draw each time else.

  Args:
    cell: `rngs -> cell`, an nnx `RNNCellBase`.
    head: `rngs -> module` from the cell's output to logits `[C]`.
    input_shape: of one step's input, for cells whose carry depends on it.

  Returns:
    Classifier; its `step` is the cell's and the head's, without `encode`.

  Raises:
    ValueError: something other than a constructor, or a module that keeps state besides params or
      draws random numbers in a step.
  """
  if isinstance(cell, nnx.Module) or isinstance(head, nnx.Module):
    raise ValueError(
      "from_nnx takes constructors `rngs -> module`, not modules: `lambda rngs: ...`"
    )
  example = (cell(nnx.Rngs(0)), head(nnx.Rngs(0)))
  graph, *states = nnx.split(example, nnx.Param, ...)
  rest = states[1]
  kept = {type(v).__name__ for _, v in nnx.to_flat_state(rest) if not isinstance(v, nnx.RngState)}
  if kept:
    raise ValueError(f"the modules keep {sorted(kept)}, which a step cannot hand on")

  def init(key: Key, x: Array) -> Params:
    del x
    cell_key, head_key = jax.random.split(key)
    modules = (cell(nnx.Rngs(cell_key)), head(nnx.Rngs(head_key)))
    return nnx.to_pure_dict(nnx.state(modules, nnx.Param))

  def initial_carry(params: Params) -> Carry:
    del params
    return example[0].initialize_carry(input_shape, nnx.Rngs(0))

  def step(params: Params, carry: Carry, x: Array) -> tuple[Carry, Array]:
    state = nnx.state(example, nnx.Param)
    nnx.replace_by_pure_dict(state, params)
    modules = nnx.merge(graph, state, rest, copy=True)
    drawn = _draws(modules)
    carry, output = modules[0](carry, x)
    logits = modules[1](output)
    if any(a is not b for a, b in zip(drawn, _draws(modules), strict=True)):
      raise ValueError(
        "the modules draw random numbers in a step (nnx.Dropout?); a step must not, so put noise "
        "into `augment` of make_train"
      )
    return carry, logits

  return Classifier(init, initial_carry, step)


def with_encoder(classifier: Classifier, encoder: Any) -> Classifier:
  """The classifier of what a Flax linen module makes of each step's input.

  The module becomes a part of `encode`: it needs no carry, so the engine computes it up to a spike
  alone and, where it has many weights, forms their gradient in few large products.

  Args:
    classifier: takes what `encoder` gives.
    encoder: a linen module of one step's input, without randomness, e.g. a convolutional network of
      a frame.

  Returns:
    Classifier with parameters `{"encoder", "classifier"}`.

  Raises:
    ValueError: no linen module, or one that keeps state (at `init`).
  """
  _check_linen(encoder)

  def init(key: Key, x: Array) -> Params:
    encoder_key, classifier_key = jax.random.split(key)
    variables = encoder.init(encoder_key, x)
    _check_stateless(encoder, variables)
    inner = classifier.init(classifier_key, encoder.apply(variables, x))
    return {"encoder": variables, "classifier": inner}

  return Classifier(
    init,
    initial_carry=lambda params: classifier.initial_carry(params["classifier"]),
    step=lambda params, carry, encoded: classifier.step(params["classifier"], carry, encoded),
    encode=lambda params, x: classifier.encode(
      params["classifier"], encoder.apply(params["encoder"], x)
    ),
    decode=lambda params, output: classifier.decode(params["classifier"], output),
  )


def with_dtype(classifier: Classifier, dtype: Any) -> Classifier:
  """The classifier computed in another float type; parameters and logits stay float32.

  So confidence and loss are those of float32, and an optimizer's small steps are not lost. Inputs,
  the carry and what `encode` gives are of the type too: half the memory for bfloat16.

  Args:
    classifier: any `Classifier`.
    dtype: a floating type, as `jnp.bfloat16`.

  Returns:
    Classifier with the same `init`.

  Raises:
    ValueError: not a floating type.
  """
  if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
    raise ValueError(f"dtype is {dtype}; give a floating type, as jnp.bfloat16")

  def cast(tree: Any) -> Any:
    is_float = lambda a: jnp.issubdtype(jnp.result_type(a), jnp.floating)
    return jax.tree.map(lambda a: jnp.asarray(a, dtype) if is_float(a) else a, tree)

  def step(params: Params, carry: Carry, encoded: Encoded) -> tuple[Carry, Array]:
    return cast(classifier.step(cast(params), carry, encoded))

  def decode(params: Params, output: Output) -> Array:
    return classifier.decode(cast(params), output).astype(jnp.float32)

  return Classifier(
    classifier.init,
    initial_carry=lambda params: cast(classifier.initial_carry(params)),
    step=step,
    encode=lambda params, x: cast(classifier.encode(cast(params), cast(x))),
    decode=decode,
  )


def _check_linen(encoder: Any) -> None:
  if not isinstance(encoder, linen.Module):
    text = f"{encoder!r:.60}".replace("\n", " ")
    raise ValueError(f"encoder is {text}; give a Flax linen module, as linen.Dense(8)")


def _check_stateless(module: Any, variables: Any) -> None:
  if extra := set(variables) - {"params"}:
    raise ValueError(f"{type(module).__name__} keeps {sorted(extra)}, which a step cannot hand on")


def _draws(modules: Any) -> list[Array]:
  """Counts of random draws so far, as objects: a draw puts another one in its place."""
  return jax.tree.leaves(nnx.state(modules, nnx.RngCount))

"""Classifiers made of Flax cells, heads and encoders, or computed in another float type."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from rc_jax.checks import check_classifier, check_float
from rc_jax.types import Array, Carry, Classifier, Encoded, Inputs, Key, Output, Params


def from_linen(cell: Any, head: Any, *, input_shape: tuple[int, ...] = (1,)) -> Classifier:
  """Makes a classifier of a Flax linen recurrent cell and any linen head.

  The cell's `carry_init` gives the first carry: zeros by default; one that draws random numbers
  gives the same ones for every sequence.

  Args:
    cell: a linen `RNNCellBase`, or any module with its `initialize_carry` and `(carry, x)` call.
    head: a linen module from the cell's output to logits `[C]`.
    input_shape: of one step's input, for cells whose carry depends on it (ConvLSTM).

  Returns:
    Classifier; its `step` is the cell, its `decode` the head.

  Raises:
    ValueError: what is no linen module; the cell takes an input of another rank than `input_shape`;
      at `init`, a module has variables besides its parameters; at `init` and `step`, the cell would
      silently promote a step's integers.
  """
  _check_linen("cell", cell, "linen.GRUCell(8)")
  _check_linen("head", head, "linen.Dense(3)")
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
    _check_promotion(cell, lambda x: cell.apply(variables, initial_carry(None), x), x)
    return {"cell": variables, "head": head_variables}

  def initial_carry(params: Params) -> Carry:
    del params
    return cell.initialize_carry(jax.random.key(0), input_shape)

  def step(params: Params, carry: Carry, x: Array) -> tuple[Carry, Output]:
    _check_promotion(cell, lambda x: cell.apply(params["cell"], carry, x), x)
    carry, output = cell.apply(params["cell"], carry, x)
    return carry, {"output": output}  # a dict, so that without `decode` it is not taken for logits

  def decode(params: Params, output: Output) -> Array:
    return head.apply(params["head"], output["output"])

  return Classifier(init, initial_carry, step, decode=decode)


def from_nnx(
  cell: Callable[[nnx.Rngs], Any],
  head: Callable[[nnx.Rngs], Any],
  *,
  input_shape: tuple[int, ...] = (1,),
) -> Classifier:
  """Makes a classifier of a Flax nnx recurrent cell and any nnx head.

  An nnx module holds its parameters from its construction on, and `init` must draw new ones from
  its key; so this takes the constructors: `lambda rngs: nnx.LSTMCell(28, 64, rngs=rngs)`. The
  cell's `carry_init` gives the first carry: zeros by default; one that draws random numbers gives
  the same ones for every sequence.

  Args:
    cell: `rngs -> cell`, an nnx `RNNCellBase`.
    head: `rngs -> module` from the cell's output to logits `[C]`.
    input_shape: of one step's input, for cells whose carry depends on it.

  Returns:
    Classifier; its `step` is the cell, its `decode` the head.

  Raises:
    ValueError: something other than a constructor, or a module that has state besides parameters;
      at `init` and `step`, a cell that would silently promote a step's integers; at `step`, a
      module that draws random numbers.
  """
  if isinstance(cell, nnx.Module) or isinstance(head, nnx.Module):
    raise ValueError(
      "from_nnx takes constructors `rngs -> module`, not modules: `lambda rngs: ...`"
    )
  example = (cell(nnx.Rngs(0)), head(nnx.Rngs(0)))
  apply_cell, apply_head = map(_make_apply, example)

  def init(key: Key, x: Array) -> Params:
    cell_key, head_key = jax.random.split(key)
    modules = (cell(nnx.Rngs(cell_key)), head(nnx.Rngs(head_key)))
    params: Params = nnx.to_pure_dict(nnx.state(modules, nnx.Param))
    _check_promotion(example[0], lambda x: apply_cell(params[0], initial_carry(params), x), x)
    return params

  def initial_carry(params: Params) -> Carry:
    del params
    return example[0].initialize_carry(input_shape, nnx.Rngs(0))

  def step(params: Params, carry: Carry, x: Array) -> tuple[Carry, Output]:
    _check_promotion(example[0], lambda x: apply_cell(params[0], carry, x), x)
    carry, output = apply_cell(params[0], carry, x)
    return carry, {"output": output}  # a dict, so that without `decode` it is not taken for logits

  def decode(params: Params, output: Output) -> Array:
    return apply_head(params[1], output["output"])

  return Classifier(init, initial_carry, step, decode=decode)


def _make_apply(module: Any) -> Callable[..., Any]:
  """Makes a pure function `(params, *arguments) -> result` of an nnx module."""
  graph, *states = nnx.split(module, nnx.Param, ...)
  params_state, rest = states
  kept = {type(v).__name__ for _, v in nnx.to_flat_state(rest) if not isinstance(v, nnx.RngState)}
  if kept:
    raise ValueError(
      f"the modules keep {sorted(kept)}, which a step cannot hand on; use modules without state"
    )

  def apply(params: Params, *arguments: Any) -> Any:
    state = jax.tree.map(lambda a: a, params_state)  # a copy, since the next line writes to it
    nnx.replace_by_pure_dict(state, params)
    merged = nnx.merge(graph, state, rest, copy=True)
    draws = _count_draws(merged)
    result = merged(*arguments)
    # A draw puts another count in place of the old one.
    if any(a is not b for a, b in zip(draws, _count_draws(merged), strict=True)):
      raise ValueError(
        "the modules draw random numbers in a step (nnx.Dropout?); a step must not, so put noise "
        "into `augment` of make_train"
      )
    return result

  return apply


def with_encoder(classifier: Classifier, encoder: Any) -> Classifier:
  """Puts a Flax linen module between each step's input and a classifier.

  The module becomes a part of `encode`: it needs no carry, so early exit computes it only up to a
  row's spike and, where it has many weights, forms their gradient in few large products.

  Args:
    classifier: takes the encoder's output as one step's input.
    encoder: a linen module of one step's input, without randomness, e.g. a convolutional network of
      a frame.

  Returns:
    Classifier with parameters `{"encoder", "classifier"}`.

  Raises:
    ValueError: no `Classifier`, or the encoder is no linen module; at `init`, it has variables
      besides its parameters; at `init` and `encode`, a step holds integers that the module would
      silently promote.
  """
  check_classifier(classifier)
  _check_linen("encoder", encoder, "linen.Dense(8)")

  def init(key: Key, x: Inputs) -> Params:
    encoder_key, classifier_key = jax.random.split(key)
    variables = encoder.init(encoder_key, x)
    _check_stateless(encoder, variables)
    _check_promotion(encoder, lambda x: encoder.apply(variables, x), x)
    inner = classifier.init(classifier_key, encoder.apply(variables, x))
    return {"encoder": variables, "classifier": inner}

  def encode(params: Params, x: Inputs) -> Encoded:
    _check_promotion(encoder, lambda x: encoder.apply(params["encoder"], x), x)
    return classifier.encode(params["classifier"], encoder.apply(params["encoder"], x))

  return Classifier(
    init,
    initial_carry=lambda params: classifier.initial_carry(params["classifier"]),
    step=lambda params, carry, encoded: classifier.step(params["classifier"], carry, encoded),
    encode=encode,
    decode=lambda params, output: classifier.decode(params["classifier"], output),
  )


def with_dtype(classifier: Classifier, dtype: Any) -> Classifier:
  """Computes a classifier in another float type; parameters and logits stay float32.

  Float32 logits keep confidence and loss exact, and float32 parameters keep an optimizer's small
  steps. Inputs, the carry and the results of `encode` have the other type, which halves their
  memory for bfloat16.

  Args:
    classifier: any `Classifier`.
    dtype: a floating type, as `jnp.bfloat16`.

  Returns:
    Classifier with the same `init`.

  Raises:
    ValueError: no `Classifier`, or `dtype` is not a floating type.
  """
  check_classifier(classifier)
  if not _is_float_type(dtype):
    raise ValueError(f"dtype is {dtype}; give a floating type, as jnp.bfloat16")

  def cast(tree: Any) -> Any:
    is_float = lambda a: jnp.issubdtype(jnp.result_type(a), jnp.floating)
    return jax.tree.map(lambda a: jnp.asarray(a, dtype) if is_float(a) else a, tree)

  def step(params: Params, carry: Carry, encoded: Encoded) -> tuple[Carry, Output]:
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


def _is_float_type(dtype: Any) -> bool:
  try:
    return dtype is not None and jnp.issubdtype(dtype, jnp.floating)
  except TypeError:
    return False


def _check_linen(name: str, module: Any, example: str) -> None:
  if not isinstance(module, linen.Module):
    text = f"{module!r:.60}".replace("\n", " ")
    raise ValueError(f"{name} is {text}; give a Flax linen module, as {example}")


def _check_stateless(module: Any, variables: Any) -> None:
  if extra := set(variables) - {"params"}:
    name = type(module).__name__
    raise ValueError(
      f"{name} keeps {sorted(extra)}, which a step cannot hand on; use a module without state"
    )


def _count_draws(module: Any) -> list[Array]:
  return jax.tree.leaves(nnx.state(module, nnx.RngCount))


def _check_promotion(module: Any, apply: Callable[[Inputs], Any], x: Inputs) -> None:
  """Raises ValueError if a module would silently promote integers, such as an image's bytes.

  An embedding takes integers and a module may cast them itself, so the module is traced without
  implicit promotion: it is refused only if floats then pass and the integers do not.
  """
  for leaf in jax.tree.leaves(x):
    if jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
      continue
    floats = jax.tree.map(lambda a: jax.ShapeDtypeStruct(jnp.shape(a), jnp.float32), x)
    if _passes_strictly(apply, floats) and not _passes_strictly(apply, x):
      check_float(type(module).__name__, leaf)


def _passes_strictly(apply: Callable[[Inputs], Any], x: Inputs) -> bool:
  try:
    with jax.numpy_dtype_promotion("strict"):
      jax.eval_shape(apply, x)
  except (TypeError, ValueError):
    return False
  return True

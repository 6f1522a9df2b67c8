"""Checks of arguments.

What is known when JAX traces a function (shapes, types, Python numbers) is checked there; values of
labels and lengths are checked on the host, where data enters.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rc_jax.types import Array, Batch, Carry, Classifier, Inputs


def check_classifier(classifier: Any) -> None:
  """Raises ValueError for what is no `Classifier`, such as its parameters, given first."""
  if not isinstance(classifier, Classifier):
    raise ValueError(
      f"classifier is a {type(classifier).__name__}; give a Classifier, such as rc_jax.lstm makes"
    )
  for name in ("init", "initial_carry", "step"):
    function = getattr(classifier, name)
    if not callable(function):
      raise ValueError(f"the classifier's {name} is a {type(function).__name__}; give a function")


def check_params(params: Any) -> None:
  """Raises ValueError for the whole state of a training in the place of its parameters."""
  if hasattr(params, "params") and hasattr(params, "opt_state"):
    raise ValueError(f"params is a {type(params).__name__}; give its .params")


def check_key(key: Any) -> None:
  """Raises ValueError for what is not one key of `jax.random`, such as a seed or several keys."""
  dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
  is_typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
  if not (is_typed and shape == ()) and not (dtype == jnp.uint32 and len(shape or ()) == 1):
    said = f"{key!r:.40}" if dtype is None else f"{dtype}{list(shape or ())}"
    raise ValueError(f"key is {said}; give one key, as jax.random.key(0)")


def check_theta(theta: Any, num_classes: int | None = None, num_steps: int | None = None) -> None:
  """Checks a threshold, a number or an array; of a traced one it checks the shape alone.

  Args:
    theta: scalar, or `[T]` for a threshold a step.
    num_classes: C, or None where it is not known yet.
    num_steps: T, or None where it is not known yet.

  Raises:
    ValueError: theta is not in (0, 1), is always crossed (<= 1/C), or has not T entries.
  """
  shape = np.shape(theta)
  if len(shape) > 1 or shape == (0,) or (shape and num_steps not in (None, shape[0])):
    steps = "T" if num_steps is None else num_steps
    raise ValueError(f"theta has shape {shape}; give a number, or one threshold a step: [{steps}]")
  if isinstance(theta, jax.core.Tracer):
    return
  if not _is_real(theta):
    raise ValueError(f"theta is {theta!r}; give a number, as 0.95")
  values = np.asarray(theta, np.float64)
  if not np.all((values > 0) & (values < 1)):
    raise ValueError(f"theta is {theta}; a threshold on a probability lies between 0 and 1")
  if num_classes is not None and np.any(values <= 1 / num_classes):
    raise ValueError(
      f"theta is {theta}, which the most probable of {num_classes} classes always reaches; "
      f"choose one above 1/{num_classes}"
    )


def check_classes(num_classes: int) -> None:
  """Raises ValueError for logits of less than two classes."""
  if num_classes < 2:
    raise ValueError(
      f"logits have {num_classes} class; give [..., T, C], C >= 2 (one sigmoid output z: [0, z])"
    )


def check_beta(beta: Any) -> None:
  """Raises ValueError if beta is no number, negative or not finite; a traced one is accepted."""
  if isinstance(beta, jax.core.Tracer):
    return
  if np.ndim(beta) or not _is_real(beta):
    raise ValueError(f"beta is {beta!r}; give one number, the weight of the entropy reward")
  if not 0 <= float(beta) < np.inf:
    raise ValueError(f"beta is {beta}; the weight of the entropy reward must be 0 or more")


def _is_real(value: Any) -> bool:
  """Whether a value is of real numbers, those of bfloat16 included."""
  dtype = np.asarray(value).dtype
  return jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)


def check_lengths(lengths: Any, num_steps: int) -> None:
  """Raises ValueError if lengths are not whole numbers in `1..T`.

  Of traced lengths it checks the type alone.
  """
  dtype = lengths.dtype if hasattr(lengths, "dtype") else np.asarray(lengths).dtype
  if not np.issubdtype(dtype, np.integer):
    raise ValueError(f"lengths are {dtype}; give whole numbers")
  if isinstance(lengths, jax.core.Tracer):
    return
  values = np.asarray(lengths)
  if values.size and not (values.min() >= 1 and values.max() <= num_steps):
    raise ValueError(
      f"lengths go from {values.min()} to {values.max()}; each must lie in 1..{num_steps}"
    )


def read_lengths(lengths: Any, num_steps: int) -> Array:
  """Lengths as int32, checked; traced ones, which cannot be, are clipped to `1..T`.

  A length of 0 would never end a row, one of T + 1 would read its neighbour.

  Raises:
    ValueError: as `check_lengths`.
  """
  check_lengths(lengths, num_steps)
  return jnp.clip(jnp.asarray(lengths, jnp.int32), 1, num_steps)


def check_inputs(inputs: Inputs, name: str = "inputs") -> tuple[int, int]:
  """Checks the shapes of inputs, at trace time.

  Args:
    inputs: `[B, T, ...]`, or a tree of such arrays.
    name: what they are called, for messages.

  Returns:
    B and T.

  Raises:
    ValueError: a leaf is not `[B, T, ...]` with T >= 1 and the B and T of the first leaf, or there
      is no leaf.
  """
  leaves = jax.tree_util.tree_leaves_with_path(inputs)
  if not leaves:
    raise ValueError(f"{name} is an empty tree; give at least one array [B, T, ...]")
  first, rows_and_steps = "", None
  for path, leaf in leaves:
    one, shape = f"{name}{jax.tree_util.keystr(path)}", np.shape(leaf)
    if len(shape) < 2 or not shape[1]:
      raise ValueError(f"{one} has shape {shape}; give [B, T, ...], T >= 1")
    if rows_and_steps is None:
      first, rows_and_steps = one, shape[:2]
    if shape[:2] != rows_and_steps:
      rows, steps = rows_and_steps
      raise ValueError(
        f"{one} has shape {shape}, but {first} has {rows} rows of {steps} steps; give all of them "
        "the same B and T"
      )
  assert rows_and_steps is not None
  return rows_and_steps


def check_shapes(batch: Batch) -> tuple[int, int]:
  """Checks the shapes and types of a batch, at trace time.

  Args:
    batch: inputs `[B, T, ...]` or a tree of such, labels `[B]`, lengths `[B]`.

  Returns:
    B and T.

  Raises:
    ValueError: no `Batch`, shapes that disagree, or labels or lengths that are no array of whole
      numbers.
  """
  if not isinstance(batch, Batch):
    raise ValueError(
      f"the batch is a {type(batch).__name__}; give rc_jax.Batch(inputs, labels, lengths)"
    )
  rows, steps = check_inputs(batch.inputs)
  for name, array in (("labels", batch.labels), ("lengths", batch.lengths)):
    if not hasattr(array, "dtype"):
      raise ValueError(f"{name} is a {type(array).__name__}; give an array [{rows}]")
    if not np.issubdtype(array.dtype, np.integer):
      raise ValueError(f"{name} are {array.dtype}; give whole numbers")
    if np.shape(array) != (rows,):
      raise ValueError(f"{name} has shape {np.shape(array)}; inputs have {rows} rows, so [{rows}]")
  return rows, steps


def check_batch(
  batch: Batch, num_classes: int, *, first: int = 0, finite_inputs: bool = True
) -> None:
  """Checks a batch of concrete arrays, on the host: shapes, types and values.

  Args:
    batch: inputs `[B, T, ...]` or a tree of such, labels `[B]`, lengths `[B]`.
    num_classes: C.
    first: number of the batch's first row in its data set, for messages.
    finite_inputs: whether NaN and infinities before a row's length are errors; give False for a
      network that reads them. What lies in the padding is never looked at.

  Raises:
    ValueError: no `Batch`, shapes that disagree, labels or lengths that are not whole numbers, a
      label outside `0..C-1`, a length outside `1..T`, or an input that is not finite.
  """
  _, steps = check_shapes(batch)
  for name, array, low, high in (
    ("labels", batch.labels, 0, num_classes - 1),
    ("lengths", batch.lengths, 1, steps),
  ):
    values = np.asarray(array)
    outside = np.flatnonzero((values < low) | (values > high))
    if outside.size:
      row = outside[0]
      raise ValueError(f"{name}[{first + row}] is {values[row]}; it must lie in {low}..{high}")
  if finite_inputs:
    _check_finite_inputs(batch, first)


def _check_finite_inputs(batch: Batch, first: int) -> None:
  """Raises ValueError for NaN or an infinity at a step before its row's length."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(batch.inputs):
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      continue
    values = np.asarray(leaf)
    bad = ~np.isfinite(values).all(axis=tuple(range(2, values.ndim)))
    bad &= np.arange(values.shape[1]) < np.asarray(batch.lengths)[:, None]
    if bad.any():
      row, step = np.argwhere(bad)[0]
      name = f"inputs{jax.tree_util.keystr(path)}[{first + row}, {step}]"
      raise ValueError(
        f"{name} is not finite; one such step can make all parameters NaN, so fill it, as with the "
        "value before, or leave the row out"
      )


def check_float(name: str, x: Any) -> None:
  """Raises ValueError if one step's input to the classifier `name` is not one array of floats."""
  if not hasattr(x, "dtype"):
    raise ValueError(
      f"{name} takes one array a step, but a step is {jax.tree.structure(x)}; join its leaves first"
    )
  if not jnp.issubdtype(x.dtype, jnp.floating):
    scaled = x.dtype == np.uint8  # an image's bytes
    cast = "x.astype(jnp.float32) / 255" if scaled else "x.astype(jnp.float32)"
    raise ValueError(
      f"{name} takes float inputs, but a step is {x.dtype}{list(x.shape)}; "
      f"{'scale and ' if scaled else ''}cast it first, as {cast}"
    )


def check_rows(carry: Carry, xs: Any, lengths: Array | None) -> tuple[int, int]:
  """Checks leading axes, and returns B and T."""
  count, steps = check_inputs(xs, "xs")
  if not count:
    raise ValueError("xs has no row; give [B, T, ...], B >= 1")
  rows = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(carry)} | {(count,)}
  if lengths is not None:
    rows.add(jnp.shape(lengths))
    check_lengths(lengths, steps)
  if len(rows) > 1:
    raise ValueError(
      f"xs has {count} rows, but carry and lengths have {sorted(rows - {(count,)})}; "
      "give all of them the same leading axis [B]"
    )
  return count, steps


def check_sizes(**sizes: int) -> None:
  """Raises ValueError if a size, named by its keyword, is no whole number or below 1."""
  for name, size in sizes.items():
    check_whole(name, size, 1)


def check_whole(name: str, value: Any, least: int) -> None:
  """Raises ValueError for what is no whole number, or below the least."""
  if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
    raise ValueError(f"{name} is {value!r}; give a whole number of {least} or more")

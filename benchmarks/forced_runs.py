"""Networks whose spikes are forced, and the time of their gradients.

Compiled programs are shared: a network's gradient by one engine is one jitted function, whoever
asks for it.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import rc_jax
from benchmarks.shapes import Shape, forced, forced_inputs, make_loss
from benchmarks.timing import alternate
from rc_jax import Classifier, Engine, Metrics

Row = dict[str, Any]


@functools.cache
def make_forced(shape: Shape) -> Classifier:
  """The classifier whose spikes an input channel forces; the same object at each call."""
  return forced(shape.classifier())


@functools.cache
def make_params(shape: Shape) -> Any:
  """Random parameters, made once."""
  return shape.params()


@functools.cache
def make_gradient(shape: Shape, engine: Engine) -> Callable:
  """Jitted `(params, xs, labels) -> ((mean loss at the spikes, Metrics), gradient)`."""
  return jax.jit(jax.value_and_grad(make_loss(make_forced(shape), engine), has_aux=True))


def make_data(
  shape: Shape, rows: int, fraction: float, push: float = 30.0
) -> tuple[jax.Array, jax.Array, np.ndarray]:
  """Inputs that force the spikes, labels, and zero-based spike steps; the same at each call."""
  rng = np.random.default_rng(0)
  xs, spikes = forced_inputs(rng, shape, rows, fraction, push)
  return xs, jnp.asarray(rng.integers(0, shape.classes, rows), jnp.int32), spikes


def compare(reference: Any, other: Any) -> float:
  """The largest difference of two trees, over the largest entry of the first."""
  # By NumPy: JAX would compile each of these operations for each shape.
  trees = (jax.tree.map(np.asarray, jax.tree.leaves(tree)) for tree in (reference, other))
  pairs = list(zip(*trees, strict=True))
  difference = max(float(np.abs(a - b).max()) for a, b in pairs)
  return difference / max(float(np.abs(a).max()) for a, _ in pairs)


def check_spikes(metrics: Any, spikes: np.ndarray) -> None:
  """Raises AssertionError unless the network spiked when it was told to."""
  # A `RankCode` has the steps themselves, an `Evaluation` a mean as `Metrics` do.
  found = (
    np.mean(np.asarray(metrics.step) + 1) if hasattr(metrics, "step") else metrics.mean_spike_step
  )
  np.testing.assert_allclose(float(found), np.mean(spikes + 1), rtol=1e-5)


def find_f(shape: Shape, spikes: np.ndarray) -> float:
  """The mean share of the steps up to the spike."""
  return float(np.mean(spikes + 1) / shape.steps)


def time_gradients(
  ways: dict[str, Callable], shape: Shape, rows: int, fraction: float, repeats: int
) -> Row:
  """Milliseconds of gradients in alternation, after a check that the spikes are the forced ones."""
  params, (xs, labels, spikes) = make_params(shape), make_data(shape, rows, fraction)
  calls = {name: functools.partial(way, params, xs, labels) for name, way in ways.items()}
  computed = {}
  for name, call in calls.items():
    metrics = call()[0][1]
    check_spikes(metrics, spikes)
    if isinstance(metrics, Metrics):
      computed[f"{name}_computed"] = float(metrics.computed_fraction)
  return {"f": find_f(shape, spikes), "rows": rows} | alternate(calls, repeats) | computed


def join_decode(classifier: Classifier) -> Classifier:
  """The classifier whose step gives logits, as if it had no `decode`."""

  def step(params: Any, carry: Any, encoded: Any) -> Any:
    carry, output = classifier.step(params, carry, encoded)
    return carry, classifier.decode(params, output)

  return Classifier(classifier.init, classifier.initial_carry, step, classifier.encode)


def make_unrolled(classifier: Classifier, rows: int, unroll: int) -> Callable:
  """The full scan's gradient, written out here with several steps an iteration of the scan."""

  def loss(params: Any, xs: Any, labels: jax.Array) -> Any:
    spread = lambda a: jnp.broadcast_to(a, (rows, *jnp.shape(a)))
    carry = jax.tree.map(spread, classifier.initial_carry(params))
    encoded = jax.vmap(jax.vmap(classifier.encode, (None, 0)), (None, 0))(params, xs)
    in_time = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), encoded)
    step = jax.vmap(classifier.step, (None, 0, 0))
    outputs = jax.lax.scan(lambda c, e: step(params, c, e), carry, in_time, unroll=unroll)[1]
    decode = jax.vmap(classifier.decode, (None, 0))
    # The logits of all steps only find the spikes; those at the spikes carry the gradient.
    logits = jax.vmap(decode, (None, 0))(*jax.lax.stop_gradient((params, outputs)))
    code = rc_jax.rank_code(jnp.moveaxis(logits, 0, 1), 0.95)
    at_spike = jax.tree.map(lambda a: a[code.step, jnp.arange(rows)], outputs)
    return jnp.mean(rc_jax.rc_loss(decode(params, at_spike), labels)), code

  return jax.jit(jax.value_and_grad(loss, has_aux=True))

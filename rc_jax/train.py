"""Training: one pure update for both objectives (section 2)."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from rc_jax.checks import check_beta, check_theta
from rc_jax.engine import initial_carries, starts_at_zero
from rc_jax.engines import Engine, check_engine
from rc_jax.losses import rc_loss
from rc_jax.types import Array, Batch, Classifier, Key, Params, RankCode, Schedule
from rc_jax.unroll import unroll_and_count

Objective = Literal["rc", "eos"]


class TrainState(NamedTuple):
  """All that an update needs and changes.

  Attributes:
    params: of the classifier.
    opt_state: of the optimizer.
    step: int32 count of updates made.
    key: of the run; update k draws from `fold_in(key, k)`. Never changed.
  """

  params: Params
  opt_state: optax.OptState
  step: Array
  key: Key


class Metrics(NamedTuple):
  """Float32 scalars, means over the batch (and over `axis_name`).

  Attributes:
    loss: of the objective, in nats.
    accuracy: at the first spike, for both objectives.
    mean_spike_step: steps seen, `step + 1`.
    no_spike_fraction: share of rows that never crossed theta.
    computed_fraction: share of the row-steps of `[B, T]` that were computed.
    gradient_norm: global L2 norm of the gradient, before the optimizer.
  """

  loss: Array
  accuracy: Array
  mean_spike_step: Array
  no_spike_fraction: Array
  computed_fraction: Array
  gradient_norm: Array


class Train(NamedTuple):
  """A pair of pure functions.

  Attributes:
    init: `(key, x) -> TrainState`; `x` is one step's input. Consumes the key.
    update: `(state, batch) -> (state, Metrics)`; jit, scan or vmap it.
  """

  init: Callable[[Key, Array], TrainState]
  update: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_train(
  classifier: Classifier,
  optimizer: optax.GradientTransformation,
  *,
  objective: Objective = "rc",
  beta: float | Schedule = 0.0,
  theta: Any = 0.95,
  augment: Callable[[Key, Batch], Batch] | None = None,
  axis_name: str | None = None,
  engine: Engine = "auto",
) -> Train:
  """Makes the training of a classifier.

  Args:
    classifier: any `Classifier`.
    optimizer: any optax optimizer.
    objective: "rc" puts the loss at the first spike (Algorithm 1), "eos" at the last step.
    beta: weight of the entropy reward (eq. 7), or an optax schedule of the update count.
    theta: threshold in (1/C, 1); a scalar, `[T]`, or a schedule of the update count.
    augment: `(key, batch) -> batch`, applied inside `update`.
    axis_name: of a mapped axis over which gradients and metrics are averaged.
    engine: as `unroll_to_spike`. "eos" needs every step up to a row's length; early exit then keeps
      less than the full scan and is the faster for it. Under `jax.vmap` over a population early
      exit runs one member after the other.

  Returns:
    Train(init, update).

  Raises:
    ValueError: an unknown objective or engine, theta or beta out of range.
  """
  if objective not in get_args(Objective):
    raise ValueError(f"objective is {objective!r}; choose one of {get_args(Objective)}")
  check_engine(engine)
  if not callable(theta):
    check_theta(theta)
  if not callable(beta):
    check_beta(beta)
  if axis_name is not None:
    first = classifier.initial_carry
    classifier = classifier._replace(initial_carry=lambda params: _vary(first(params), axis_name))

  def init(key: Key, x: Array) -> TrainState:
    params_key, run_key = jax.random.split(key)
    params = classifier.init(params_key, x)
    return TrainState(params, optimizer.init(params), jnp.int32(0), run_key)

  def loss_fn(params: Params, batch: Batch, count: Array) -> tuple[Array, Metrics]:
    theta_now = theta(count) if callable(theta) else theta
    beta_now = beta(count) if callable(beta) else beta
    code, computed = unroll_and_count(
      classifier.step,
      params,
      initial_carries(classifier, params, batch.inputs.shape[0]),
      batch.inputs,
      theta_now,
      batch.lengths,
      encode=classifier.encode,
      decode=classifier.decode,
      engine=engine,
      to_end=objective == "eos",
      zero_carry=starts_at_zero(classifier, params),
    )
    loss = jnp.mean(rc_loss(code.logits, batch.labels, beta_now))
    return loss, _means(loss, code, computed, batch)

  def update(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    if augment is not None:
      batch = augment(jax.random.fold_in(state.key, state.step), batch)
    params = state.params
    if axis_name is not None:
      params = _vary(params, axis_name)
    gradient, means = jax.grad(loss_fn, has_aux=True)(params, batch, state.step)
    if axis_name is not None:
      gradient, means = jax.lax.pmean((gradient, means), axis_name)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # The barrier keeps XLA from sharing the squares with Adam's: it would write them all to memory
    # and sum them from there (temporal MNIST on a CPU: Adam and the norm 1.6 instead of 1.4 ms).
    norm = optax.tree.norm(jax.lax.optimization_barrier(gradient))
    metrics = means._replace(gradient_norm=norm)
    return TrainState(params, opt_state, state.step + 1, state.key), metrics

  return Train(init, update)


def _means(loss: Array, code: RankCode, computed: Array, batch: Batch) -> Metrics:
  mean = lambda values: jnp.mean(values.astype(jnp.float32))
  return Metrics(
    loss=loss,
    accuracy=mean(code.label == batch.labels),
    mean_spike_step=mean(code.step + 1),
    no_spike_fraction=mean(~code.spiked),
    computed_fraction=computed,
    gradient_norm=jnp.zeros_like(loss),
  )


def _vary(tree: Any, axis_name: str) -> Any:
  """Marks replicated params as a device's own, so that their gradient stays a device's own.

  Under `shard_map` the gradient of a replicated value is summed over devices unasked: the mean of
  those sums would be too large by the number of devices. A carry is marked too: a scan wants it of
  one kind before and after a step, and a step makes it a device's own.
  """
  zero = 0 * jax.lax.axis_index(axis_name)
  return jax.tree.map(lambda a: a + zero.astype(a.dtype), tree)

"""Training: one pure update for both objectives (section 2)."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from rc_jax.checks import check_beta, check_shapes, check_theta
from rc_jax.engine import initial_carries, starts_at_zero
from rc_jax.engines import Engine, check_engine
from rc_jax.losses import cross_entropy, spike_losses
from rc_jax.types import (
  Array,
  Batch,
  Classifier,
  Inputs,
  Key,
  Loss,
  Params,
  RankCode,
  Schedule,
)
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
  """Scalars of an update: float32 means over the batch (and over `axis_name`), and one bool.

  Attributes:
    loss: of the objective; in nats where the loss is.
    accuracy: share of rows right at the first spike, for both objectives.
    mean_spike_step: mean number of steps seen, `step + 1`.
    no_spike_fraction: share of rows that never crossed theta.
    computed_fraction: share of the row-steps of `[B, T]` that were computed.
    gradient_norm: global L2 norm of the gradient, before the optimizer.
    finite: bool, whether loss and gradient norm are finite (over `axis_name`: on all devices). A
      NaN in a row, or a label out of range, makes them NaN, and then the parameters. The optimizer
      `optax.apply_if_finite(optax.adam(1e-3), max_consecutive_errors=10)` leaves out such an
      update; only after 10 of them in a row does it let the next one through.
  """

  loss: Array
  accuracy: Array
  mean_spike_step: Array
  no_spike_fraction: Array
  computed_fraction: Array
  gradient_norm: Array
  finite: Array


LossFn = Callable[[Params, Batch, Array], tuple[Array, Metrics]]


class Train(NamedTuple):
  """Three pure functions.

  Attributes:
    init: `(key, x) -> TrainState`; `x` is one step's input. Consumes the key.
    update: `(state, batch) -> (state, Metrics)`; jit, scan or vmap it.
    loss: `(params, batch, step) -> (loss, Metrics)`, what `update` minimizes: the mean loss of the
      batch at update number `step`, which schedules of theta and beta read. It is not augmented,
      its `gradient_norm` is 0, and `finite` tells of the loss alone. With `axis_name`, loss and
      metrics are means over that axis; take `jax.lax.pmean` of the gradient over it, too. Use it to
      write another update, as one that accumulates the gradients of several batches.
  """

  init: Callable[[Key, Inputs], TrainState]
  update: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
  loss: LossFn


def make_train(
  classifier: Classifier,
  optimizer: optax.GradientTransformation,
  *,
  objective: Objective = "rc",
  loss: Loss = cross_entropy,
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
    loss: `(logits [C] float32, label int32) -> float scalar` of one row, at the step that
      `objective` names. The loss and gradient of a row whose label is not in `0..C-1` are NaN.
    beta: weight of the entropy reward (eq. 7), which is subtracted from `loss`; a number, or an
      optax schedule of the update count.
    theta: threshold in (1/C, 1); a scalar, `[T]`, or a schedule of the update count.
    augment: `(key, batch) -> batch`, applied inside `update`.
    axis_name: of a mapped axis over which gradients and metrics are averaged.
    engine: as `unroll_to_spike`. "eos" needs every step up to a row's length; early exit then
      stores less than the full scan and is the faster for it. Under `jax.vmap` over a population
      early exit runs one member after the other.

  Returns:
    Train(init, update, loss).

  Raises:
    ValueError: an unknown objective or engine, theta or beta out of range, a loss that is no
      function; at the first update, a loss that gives no float scalar, or shapes that disagree.
  """
  _check_options(objective, loss, beta, theta, engine)
  if axis_name is not None:
    first = classifier.initial_carry
    classifier = classifier._replace(initial_carry=lambda params: _vary(first(params), axis_name))
  loss_fn = _make_loss(classifier, objective, loss, beta, theta, engine)

  def init(key: Key, x: Inputs) -> TrainState:
    params_key, run_key = jax.random.split(key)
    params = classifier.init(params_key, x)
    return TrainState(params, optimizer.init(params), jnp.int32(0), run_key)

  update = _make_update(loss_fn, optimizer, augment, axis_name)
  return Train(init, update, _average_loss(loss_fn, axis_name))


def _check_options(objective: Any, loss: Any, beta: Any, theta: Any, engine: Any) -> None:
  if objective not in get_args(Objective):
    raise ValueError(f"objective is {objective!r}; choose one of {get_args(Objective)}")
  if not callable(loss):
    raise ValueError(f"loss is {loss!r}; give a function of one row: (logits [C], label) -> scalar")
  check_engine(engine)
  if not callable(theta):
    check_theta(theta)
  if not callable(beta):
    check_beta(beta)


def _make_loss(
  classifier: Classifier,
  objective: Objective,
  loss: Loss,
  beta: float | Schedule,
  theta: Any,
  engine: Engine,
) -> LossFn:
  def loss_fn(params: Params, batch: Batch, step: Array) -> tuple[Array, Metrics]:
    rows, _ = check_shapes(batch)
    code, computed = unroll_and_count(
      classifier.step,
      params,
      initial_carries(classifier, params, rows),
      batch.inputs,
      theta(step) if callable(theta) else theta,
      batch.lengths,
      encode=classifier.encode,
      decode=classifier.decode,
      engine=engine,
      to_end=objective == "eos",
      zero_carry=starts_at_zero(classifier, params),
    )
    beta_now = beta(step) if callable(beta) else beta
    mean_loss = jnp.mean(spike_losses(loss, code.logits, batch.labels, beta_now))
    return mean_loss, _make_metrics(mean_loss, code, computed, batch)

  return loss_fn


def _average_loss(loss_fn: LossFn, axis_name: str | None) -> LossFn:
  """Averages a loss and its metrics over `axis_name`, if there is one.

  The gradient of each device's own loss would be right after a `pmean` under `vmap`, but too large
  by the number of devices under `shard_map`, where JAX has already summed it for replicated
  parameters. The gradient of this mean, after a `pmean`, is the whole batch's under both.
  """
  if axis_name is None:
    return loss_fn

  def mean_loss_fn(params: Params, batch: Batch, step: Array) -> tuple[Array, Metrics]:
    loss, metrics = loss_fn(params, batch, step)
    metrics = metrics._replace(finite=loss)  # a bool has no mean
    loss, metrics = jax.lax.pmean((loss, metrics), axis_name)
    return loss, metrics._replace(finite=jnp.isfinite(loss))

  return mean_loss_fn


def _make_update(
  loss_fn: LossFn,
  optimizer: optax.GradientTransformation,
  augment: Callable[[Key, Batch], Batch] | None,
  axis_name: str | None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
  def update(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    if augment is not None:
      batch = augment(jax.random.fold_in(state.key, state.step), batch)
    params = state.params
    if axis_name is not None:
      params = _vary(params, axis_name)
    gradient, metrics = jax.grad(loss_fn, has_aux=True)(params, batch, state.step)
    if axis_name is not None:
      metrics = metrics._replace(finite=metrics.loss)  # a bool has no mean; it is formed below
      gradient, metrics = jax.lax.pmean((gradient, metrics), axis_name)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # The barrier keeps XLA from sharing the squares with Adam's: it would write them all to memory
    # and sum them from there (temporal MNIST on a CPU: Adam and the norm 1.6 instead of 1.4 ms).
    norm = optax.tree.norm(jax.lax.optimization_barrier(gradient))
    # One device's NaN makes the means over all devices NaN, so these two numbers tell of each.
    finite = jnp.isfinite(metrics.loss) & jnp.isfinite(norm)
    metrics = metrics._replace(gradient_norm=norm, finite=finite)
    return TrainState(params, opt_state, state.step + 1, state.key), metrics

  return update


def _make_metrics(loss: Array, code: RankCode, computed: Array, batch: Batch) -> Metrics:
  mean = lambda values: jnp.mean(values.astype(jnp.float32))
  return Metrics(
    loss=loss,
    accuracy=mean(code.label == batch.labels),
    mean_spike_step=mean(code.step + 1),
    no_spike_fraction=mean(~code.spiked),
    computed_fraction=computed,
    gradient_norm=jnp.zeros_like(loss),
    finite=jnp.isfinite(loss),
  )


def _vary(tree: Any, axis_name: str) -> Any:
  """Marks replicated parameters as each device's own, so that gradients stay each device's own.

  Under `shard_map` JAX sums the gradient of a replicated value over devices: the mean of those
  sums would be too large by the number of devices. A carry is marked too, since a scan wants its
  type to be the same before and after a step, and a step makes it a device's own.
  """
  zero = 0 * jax.lax.axis_index(axis_name)
  return jax.tree.map(lambda a: a + zero.astype(a.dtype), tree)

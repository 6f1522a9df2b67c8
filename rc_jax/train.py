"""Training: one pure update for every objective (section 2)."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rc_jax.batch_losses import (
  BatchLoss,
  Metrics,
  make_loss_at_one_step,
  make_loss_of_objective,
)
from rc_jax.checks import check_beta, check_classifier, check_key, check_theta
from rc_jax.engine_choice import Engine, check_engine
from rc_jax.losses import cross_entropy
from rc_jax.objectives.objective import Objective
from rc_jax.types import Array, Batch, Classifier, Inputs, Key, Loss, Params, Schedule

ObjectiveName = Literal["rc", "eos"]
# `jax.random.split(key, n)[i]` is `fold_in(key, i)`. As `augment` may split the update's key, what
# an objective draws is folded into it at a number that no split reaches.
_OBJECTIVE_STREAM = 2**31 - 1


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


class Train(NamedTuple):
  """Three pure functions.

  Attributes:
    init: `(key, x) -> TrainState`; `x` is one step's input. Consumes the key.
    update: `(state, batch) -> (state, Metrics)`; jit, scan or vmap it.
    loss: `(params, batch, step, key=None) -> (loss, Metrics)`, what `update` minimizes: the mean
      loss of the batch at update number `step`, which schedules of theta and beta read, with a key
      for an objective that draws. It is not augmented, its `gradient_norm` is 0, and `finite`
      tells of the loss alone. With `axis_name`, loss and metrics are means over that axis; take
      `jax.lax.pmean` of the gradient over it, too. Use it to write another update, as one that
      accumulates the gradients of several batches.
  """

  init: Callable[[Key, Inputs], TrainState]
  update: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]
  loss: BatchLoss


def make_train(
  classifier: Classifier,
  optimizer: optax.GradientTransformation,
  *,
  objective: Objective | ObjectiveName = "rc",
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
    optimizer: an optax optimizer. It is given the loss as `value`, which those that watch it read,
      as `optax.contrib.reduce_on_plateau` (not within `optax.MultiSteps`, which does not pass it
      on); those that search along a line, as `optax.lbfgs`, need more than that.
    objective: "rc" puts the loss at the first spike (Algorithm 1), "eos" at the last step; an
      `Objective`, as those of `rc_jax.objectives`, where it needs more than one step of a row; it
      runs every step, unless it is one of `objectives.until_spike`.
    loss: `(logits [C] float32, label int32) -> float scalar` of one row, at the step that
      "rc" or "eos" names; an `Objective` has its own. The loss and gradient of a row whose label is
      not in `0..C-1` are NaN.
    beta: weight of the entropy reward (eq. 7) of "rc" and "eos", which is subtracted from `loss`; a
      number, or an optax schedule of the update count.
    theta: threshold in (1/C, 1); a scalar, `[T]`, or a schedule of the update count.
    augment: `(key, batch) -> batch`, applied inside `update`. With `axis_name` each device augments
      its rows with a key of its own.
    axis_name: of a mapped axis over which gradients and metrics are averaged.
    engine: as `unroll_to_spike`. "eos" and most of `rc_jax.objectives` need every step up to a
      row's length; early exit then stores less than the full scan and is the faster for it. Under
      `jax.vmap` over a population early exit runs one member after the other.

  Returns:
    Train(init, update, loss).

  Raises:
    ValueError: no `Classifier`, an unknown objective or engine, theta or beta out of range, a loss
      that is no function, no optax optimizer, a beta or a loss beside an `Objective`; at `init`, no
      key, or a parameter that is not of floats; at the first update, a loss that gives no float
      scalar, or shapes that disagree.
  """
  check_classifier(classifier)
  _check_options(objective, loss, beta, theta, engine)
  if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
    raise ValueError(f"optimizer is {optimizer!r}; give one of optax, as optax.adam(1e-3)")
  if axis_name is not None:
    first = classifier.initial_carry
    classifier = classifier._replace(initial_carry=lambda params: _vary(first(params), axis_name))
  loss_fn = _make_loss(classifier, objective, loss, beta, theta, engine, axis_name)

  def init(key: Key, x: Inputs) -> TrainState:
    check_key(key)
    params_key, run_key = jax.random.split(key)
    params = classifier.init(params_key, x)
    _check_floats(params)
    return TrainState(params, optimizer.init(params), jnp.int32(0), run_key)

  update = _make_update(loss_fn, optimizer, augment, axis_name)
  return Train(init, update, _average_loss(loss_fn, axis_name))


def _check_options(objective: Any, loss: Any, beta: Any, theta: Any, engine: Any) -> None:
  names = get_args(ObjectiveName)
  if not callable(theta):
    check_theta(theta)
  if isinstance(objective, Objective):
    _check_alone(loss, beta)
    if objective.until_spike and (objective.act is not None or objective.extra_outputs):
      raise ValueError(
        "until_spike needs an objective whose decisions read the network's outputs as they are, "
        "such as every_step(); this one has an act or extra_outputs"
      )
    if objective.extra_outputs and objective.act is None:
      raise ValueError(
        f"the objective has {objective.extra_outputs} extra_outputs and no act; give it an Act, "
        "which says what a decision reads of all outputs"
      )
  elif objective not in names:
    raise ValueError(
      f"objective is {objective!r}; choose one of {names}, or give an Objective, such as "
      "rc_jax.objectives.every_step()"
    )
  if not callable(loss):
    raise ValueError(f"loss is {loss!r}; give a function of one row: (logits [C], label) -> scalar")
  check_engine(engine)
  if not callable(beta):
    check_beta(beta)


def _check_floats(params: Params) -> None:
  """Raises ValueError for a parameter that has no gradient."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(params):
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
      raise ValueError(
        f"params{jax.tree_util.keystr(path)} is {jnp.result_type(leaf)}; parameters are floats, so "
        "keep what is not trained out of them, as a constant of step or encode"
      )


def _check_alone(loss: Any, beta: Any) -> None:
  """Raises ValueError for a loss or a beta beside an `Objective`, which would not read them."""
  if loss is not cross_entropy:
    raise ValueError("loss is for the objectives rc and eos; an Objective has a loss of its own")
  if callable(beta) or isinstance(beta, jax.core.Tracer) or np.ndim(beta) or beta != 0:
    raise ValueError(
      f"beta is {beta}; the entropy reward is for the objectives rc and eos, so leave it 0"
    )


def _make_loss(
  classifier: Classifier,
  objective: Objective | ObjectiveName,
  loss: Loss,
  beta: float | Schedule,
  theta: Any,
  engine: Engine,
  axis_name: str | None,
) -> BatchLoss:
  if isinstance(objective, Objective):
    return make_loss_of_objective(classifier, objective, theta, engine, axis_name)
  at_end = objective == "eos"
  return make_loss_at_one_step(
    classifier, at_end=at_end, loss=loss, beta=beta, theta=theta, engine=engine
  )


def _average_loss(loss_fn: BatchLoss, axis_name: str | None) -> BatchLoss:
  """Averages a loss and its metrics over `axis_name`, if there is one.

  The gradient of each device's own loss would be right after a `pmean` under `vmap`, but too large
  by the number of devices under `shard_map`, where JAX has already summed it for replicated
  parameters. The gradient of this mean, after a `pmean`, is the whole batch's under both.
  """
  if axis_name is None:
    return loss_fn

  def mean_loss_fn(
    params: Params, batch: Batch, step: Array, key: Key | None = None
  ) -> tuple[Array, Metrics]:
    loss, metrics = loss_fn(params, batch, step, key)
    metrics = metrics._replace(finite=loss)  # a bool has no mean
    loss, metrics = jax.lax.pmean((loss, metrics), axis_name)
    return loss, metrics._replace(finite=jnp.isfinite(loss))

  return mean_loss_fn


def _make_update(
  loss_fn: BatchLoss,
  optimizer: optax.GradientTransformation,
  augment: Callable[[Key, Batch], Batch] | None,
  axis_name: str | None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
  def update(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    key = jax.random.fold_in(state.key, state.step)
    if augment is not None:
      own = key if axis_name is None else jax.random.fold_in(key, jax.lax.axis_index(axis_name))
      batch = augment(own, batch)
    params = state.params
    if axis_name is not None:
      params = _vary(params, axis_name)
    gradient, metrics = jax.grad(loss_fn, has_aux=True)(
      params, batch, state.step, jax.random.fold_in(key, _OBJECTIVE_STREAM)
    )
    if axis_name is not None:
      metrics = metrics._replace(finite=metrics.loss)  # a bool has no mean; it is formed below
      gradient, metrics = jax.lax.pmean((gradient, metrics), axis_name)
    updates, opt_state = optax.with_extra_args_support(optimizer).update(
      gradient, state.opt_state, state.params, value=metrics.loss
    )
    params = optax.apply_updates(state.params, updates)
    # The barrier keeps XLA from sharing the squares with Adam's: it would write them all to memory
    # and sum them from there (temporal MNIST on a CPU: Adam and the norm 1.6 instead of 1.4 ms).
    norm = optax.tree.norm(jax.lax.optimization_barrier(gradient))
    # One device's NaN makes the means over all devices NaN, so these two numbers tell of each.
    finite = jnp.isfinite(metrics.loss) & jnp.isfinite(norm)
    metrics = metrics._replace(gradient_norm=norm, finite=finite)
    return TrainState(params, opt_state, state.step + 1, state.key), metrics

  return update


def _vary(tree: Any, axis_name: str) -> Any:
  """Marks replicated parameters as each device's own, so that gradients stay each device's own.

  Under `shard_map` JAX sums the gradient of a replicated value over devices: the mean of those
  sums would be too large by the number of devices. A carry is marked too, since a scan wants its
  type to be the same before and after a step, and a step makes it a device's own.
  """
  zero = 0 * jax.lax.axis_index(axis_name)

  def vary(leaf: Any) -> Any:
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):  # nothing can be added to a key itself
      data = jax.random.key_data(leaf)
      return jax.random.wrap_key_data(
        data + zero.astype(data.dtype), impl=jax.random.key_impl(leaf)
      )
    return leaf + zero.astype(leaf.dtype)

  return jax.tree.map(vary, tree)

"""The mean loss of a batch and its metrics, by the objective: at one step of each row, or more."""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from rc_jax.checks import check_shapes, read_lengths
from rc_jax.engine import initial_carries, starts_at_zero
from rc_jax.engine_choice import Engine
from rc_jax.function_checks import check_row_loss
from rc_jax.losses import mark_lengths, read_labels, spike_losses
from rc_jax.objectives.objective import Objective, run_act
from rc_jax.rank_code import rank_code
from rc_jax.types import Array, Batch, Classifier, Key, Loss, Params, RankCode, Schedule
from rc_jax.unroll import unroll_and_count


class Metrics(NamedTuple):
  """Scalars of an update: float32 means over the batch (and over `axis_name`), and one bool.

  Attributes:
    loss: of the objective; in nats where the loss is.
    accuracy: share of rows right at the first spike, for every objective.
    mean_spike_step: mean number of steps seen, `step + 1`.
    no_spike_fraction: share of rows that never crossed theta.
    computed_fraction: share of the row-steps of `[B, T]` that were computed.
    gradient_norm: global L2 norm of the gradient, before the optimizer.
    finite: bool, whether loss and gradient norm are finite (over `axis_name`: on all devices). A
      NaN in a row before its spike (later ones may or may not be read), or a label or a length out
      of range, makes them NaN, and then the parameters.
      The optimizer `optax.apply_if_finite(optax.adam(1e-3), max_consecutive_errors=10)` leaves out
      such an update; only after 10 of them in a row does it let the next one through.
  """

  loss: Array
  accuracy: Array
  mean_spike_step: Array
  no_spike_fraction: Array
  computed_fraction: Array
  gradient_norm: Array
  finite: Array


class BatchLoss(Protocol):
  """`(params, batch, step, key=None) -> (loss, Metrics)`; `step` is the update count."""

  def __call__(
    self, params: Params, batch: Batch, step: Array, key: Key | None = None
  ) -> tuple[Array, Metrics]:
    """Returns the mean loss of the batch, and its metrics."""


def make_loss_at_one_step(
  classifier: Classifier,
  *,
  at_end: bool,
  loss: Loss,
  beta: float | Schedule,
  theta: Any,
  engine: Engine,
) -> BatchLoss:
  """Makes the loss of "rc" and "eos", with the entropy reward.

  Args:
    classifier: any `Classifier`.
    at_end: the loss enters at each row's last step, not at its first spike.
    loss: of one row.
    beta: as `make_train`.
    theta: as `make_train`.
    engine: as `make_train`.
  """

  def loss_fn(
    params: Params, batch: Batch, step: Array, key: Key | None = None
  ) -> tuple[Array, Metrics]:
    del key
    _, steps = check_shapes(batch)
    theta_now = theta(step) if callable(theta) else theta
    code, computed, _ = _run_rows(
      classifier, params, batch, theta_now, engine, to_end=at_end, all_outputs=False
    )
    beta_now = beta(step) if callable(beta) else beta
    losses = spike_losses(loss, code.logits, batch.labels, beta_now)
    mean_loss = jnp.mean(losses * mark_lengths(batch.lengths, steps))
    return mean_loss, _make_metrics(mean_loss, code, computed, batch)

  return loss_fn


def _run_rows(
  classifier: Classifier,
  params: Params,
  batch: Batch,
  theta: Any,
  engine: Engine,
  *,
  to_end: bool,
  all_outputs: bool,
) -> tuple[RankCode, Array, Array | None]:
  """`unroll_and_count` of a batch."""
  return unroll_and_count(
    classifier.step,
    params,
    initial_carries(classifier, params, len(batch.labels)),
    batch.inputs,
    theta,
    batch.lengths,
    encode=classifier.encode,
    decode=classifier.decode,
    engine=engine,
    to_end=to_end,
    all_outputs=all_outputs,
    zero_carry=starts_at_zero(classifier, params),
  )


def make_loss_of_objective(
  classifier: Classifier,
  objective: Objective,
  theta: Any,
  engine: Engine,
  axis_name: str | None,
) -> BatchLoss:
  """Makes the loss of an `Objective`: over each row up to its length or, if it says so, its spike.

  Args:
    classifier: any `Classifier`.
    objective: whose loss it is.
    theta: as `make_train`; where the objective runs every step, the metrics alone read it.
    engine: as `make_train`.
    axis_name: as `make_train`; a row draws the same numbers on every number of devices.
  """

  def loss_fn(
    params: Params, batch: Batch, step: Array, key: Key | None = None
  ) -> tuple[Array, Metrics]:
    rows, steps = check_shapes(batch)
    is_length = mark_lengths(batch.lengths, steps)
    batch = batch._replace(lengths=read_lengths(batch.lengths, steps))
    keys = _draw_keys(key, rows, axis_name)
    theta_now = theta(step) if callable(theta) else theta
    to_end = not objective.until_spike
    code, computed, outputs = _run_rows(
      classifier, params, batch, theta_now, engine, to_end=to_end, all_outputs=True
    )
    assert outputs is not None
    outputs = outputs.astype(jnp.float32)
    classes = _count_classes(objective, outputs)
    if to_end:
      code = _read_decisions(objective, outputs, classes, batch, theta_now)
      lengths = batch.lengths
    else:
      lengths = code.step + 1
    losses = _find_losses(objective, outputs, classes, batch._replace(lengths=lengths), keys)
    mean_loss = jnp.mean(losses * is_length)
    return mean_loss, _make_metrics(mean_loss, code, computed, batch)

  return loss_fn


def _count_classes(objective: Objective, outputs: Array) -> int:
  """Returns C of outputs `[B, T, O]`; raises ValueError if fewer than two are left."""
  classes = outputs.shape[-1] - objective.extra_outputs
  if classes < 2:
    raise ValueError(
      f"the network has {outputs.shape[-1]} outputs, of which the objective takes "
      f"{objective.extra_outputs} for itself; give it 2 or more for classes beside them"
    )
  return classes


def _read_decisions(
  objective: Objective, outputs: Array, classes: int, batch: Batch, theta: Any
) -> RankCode:
  """The decisions of the rows, from their outputs `[B, T, O]`."""
  read = lambda row: run_act(objective.act, row, classes)
  return rank_code(jax.vmap(read)(jax.lax.stop_gradient(outputs)), theta, batch.lengths)


def _find_losses(
  objective: Objective, outputs: Array, classes: int, batch: Batch, keys: Key | None
) -> Array:
  """The loss `[B]` of each row; NaN, like its gradient, where the label is out of range."""
  labels, valid = read_labels(batch.labels, classes)
  heard = jnp.arange(outputs.shape[1])[None] < batch.lengths[:, None]
  # What lies in the padding depends on nothing, so that no loss can let it matter by mistake.
  outputs = jnp.where(heard[..., None], outputs, 0) * valid[:, None, None]
  one_row = (outputs[0], labels[0], batch.lengths[0])
  key = None if keys is None else keys[0]
  described = f"a key, one row's outputs float32{list(outputs.shape[1:])}, label and length int32[]"
  check_row_loss(objective.loss, (key, *one_row), described)
  rows = jax.vmap(objective.loss, (None if keys is None else 0, 0, 0, 0))
  return rows(keys, outputs, labels, batch.lengths).astype(jnp.float32) * valid


def _draw_keys(key: Key | None, rows: int, axis_name: str | None) -> Key | None:
  """A key a row, by the row's number in the whole batch."""
  if key is None:
    return None
  number = jnp.arange(rows)
  if axis_name is not None:
    number += rows * jax.lax.axis_index(axis_name)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, number)


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

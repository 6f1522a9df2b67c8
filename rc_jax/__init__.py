"""Rank coding for recurrent networks: decide at the first step that is sure."""

from rc_jax.adapters import from_linen, from_nnx, with_dtype, with_encoder
from rc_jax.checks import check_batch
from rc_jax.classifiers import conv_lstm, gru, lstm
from rc_jax.evaluate import Evaluation, Frontier, accuracy_at_step, evaluate, frontier, record
from rc_jax.losses import entropy, rc_loss
from rc_jax.rank_code import confidence, first_crossing, rank_code
from rc_jax.split_vjp import keep
from rc_jax.stream import Decision, Stream, StreamState, make_stream
from rc_jax.train import Metrics, Train, TrainState, make_train
from rc_jax.types import Batch, Classifier, RankCode, Step
from rc_jax.unroll import unroll, unroll_to_spike

__all__ = [
  "Batch",
  "Classifier",
  "Decision",
  "Evaluation",
  "Frontier",
  "Metrics",
  "RankCode",
  "Step",
  "Stream",
  "StreamState",
  "Train",
  "TrainState",
  "accuracy_at_step",
  "check_batch",
  "confidence",
  "conv_lstm",
  "entropy",
  "evaluate",
  "first_crossing",
  "from_linen",
  "from_nnx",
  "frontier",
  "gru",
  "keep",
  "lstm",
  "make_stream",
  "make_train",
  "rank_code",
  "rc_loss",
  "record",
  "unroll",
  "unroll_to_spike",
  "with_dtype",
  "with_encoder",
]

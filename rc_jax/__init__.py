"""Rank coding for recurrent networks: decide at the first step that is sure."""

from rc_jax import objectives
from rc_jax.adapters import from_linen, from_nnx, with_dtype, with_encoder
from rc_jax.batch_losses import Metrics
from rc_jax.checks import check_batch, check_beta, check_theta
from rc_jax.classifiers import conv_lstm, gru, lstm
from rc_jax.convolution import convolve
from rc_jax.engine import keep, loop_widths
from rc_jax.engine_choice import EarlyExit, Engine, choose_engine
from rc_jax.evaluate import Evaluation, Frontier, accuracy_at_step, evaluate, frontier
from rc_jax.losses import beta_limit, cross_entropy, entropy, rc_loss
from rc_jax.objectives import Act, Objective, with_act
from rc_jax.rank_code import confidence, first_crossing, rank_code
from rc_jax.record import record
from rc_jax.stream import Decision, Stream, StreamState, make_stream
from rc_jax.thresholds import learn_thresholds
from rc_jax.train import Train, TrainState, make_train
from rc_jax.types import Batch, Classifier, RankCode, Step
from rc_jax.unroll import unroll, unroll_to_spike

__all__ = [
  "Act",
  "Batch",
  "Classifier",
  "Decision",
  "EarlyExit",
  "Engine",
  "Evaluation",
  "Frontier",
  "Metrics",
  "Objective",
  "RankCode",
  "Step",
  "Stream",
  "StreamState",
  "Train",
  "TrainState",
  "accuracy_at_step",
  "beta_limit",
  "check_batch",
  "check_beta",
  "check_theta",
  "choose_engine",
  "confidence",
  "conv_lstm",
  "convolve",
  "cross_entropy",
  "entropy",
  "evaluate",
  "first_crossing",
  "from_linen",
  "from_nnx",
  "frontier",
  "gru",
  "keep",
  "learn_thresholds",
  "loop_widths",
  "lstm",
  "make_stream",
  "make_train",
  "objectives",
  "rank_code",
  "rc_loss",
  "record",
  "unroll",
  "unroll_to_spike",
  "with_act",
  "with_dtype",
  "with_encoder",
]

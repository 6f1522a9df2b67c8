"""The flags that all binaries share, and what a binary does with its command line."""

import signal
import sys
from collections.abc import Callable
from typing import Any

import jax
from absl import app, flags, logging

from experiments.harness import compile_cache, process_loss, processes, thread_errors
from experiments.harness.objectives import RIVALS
from experiments.harness.settings import (
  LONG_UPDATES,
  LONG_WIDTHS,
  Experiment,
  Settings,
  make_settings,
)
from experiments.harness.signals import interrupt_on_signals
from rc_jax import EarlyExit

FLAGS = flags.FLAGS

flags.DEFINE_enum(
  "model",
  "lstm",
  ["lstm", "gru", "conv_lstm", "cnn_lstm", "dense_lstm", "cnn"],
  "Network. Of temporal_mnist: conv_lstm, and cnn_lstm, an LSTM on what a convolutional network "
  "makes of all pixels so far. Of speech: dense_lstm, an LSTM on two dense layers of each step's "
  "frames. cnn, of both: a ceiling, without a memory but shown all frames so far at once. Of "
  "series: gru.",
)
flags.DEFINE_string(
  "objective",
  None,
  "Loss at the first spike, rc, or at the last step, eos; or one of rc_jax.objectives: "
  f"{', '.join(RIVALS)}. A colon gives its value: every_step:late, progression:0.5, patience:5, "
  "stop_head:0.8. Default: rc (cnn eos).",
)
flags.DEFINE_enum(
  "engine",
  "auto",
  ["auto", "full", "early_exit"],
  "early_exit computes nothing after a spike; the result is the same but for rounding. auto: "
  "early_exit on a CPU, full on a GPU, which starts the kernels of few rows no faster.",
)
flags.DEFINE_integer(
  "widths",
  None,
  "Loops of falling width of early exit, at most. More skip more and compile longer. Default: "
  f"{LONG_WIDTHS} in a training of {LONG_UPDATES:,} updates and more, else {EarlyExit().widths}.",
  1,
)
flags.DEFINE_enum(
  "dtype",
  "float32",
  ["float32", "bfloat16"],
  "Float type of the computation; parameters, confidence and losses are float32.",
)
flags.DEFINE_string(
  "beta",
  None,
  "Weight of the entropy reward (eq. 7). MNIST and speech also take a schedule over epochs: "
  "0.5,30:0.165 is 0.165 from epoch 30 on. Default: spotting and two_sequence 0, temporal_mnist "
  "0.165, speech 0.2 (cnn 0), series 0.15.",
)
flags.DEFINE_string(
  "theta",
  "0.95",
  "Threshold on the largest class probability, or a schedule as of --beta: with "
  "0.101,2:0.6,3:0.8,4:0.95 ten classes are answered at the first step at first. Validation and "
  "test are read at the last value.",
)
flags.DEFINE_integer("seed", 0, "Of initialisation, generated data and shuffling.")
flags.DEFINE_string("workdir", None, "Folder of the run's files. Default: runs/<experiment>.")
flags.DEFINE_integer(
  "units",
  None,
  "Hidden units, or feature maps: ConvLSTM's, or those of cnn's first layer. Default: spotting, "
  "two_sequence 125, temporal_mnist 340 (conv_lstm 10, cnn_lstm 128, cnn 32), speech 128 "
  "(cnn 32), series 64.",
  1,
)
flags.DEFINE_integer("batch_size", None, "Examples an update. Default: 128, series 16.")
flags.DEFINE_float(
  "learning_rate",
  None,
  "Of Adam. Default: spotting, two_sequence 0.0003, series 0.003, others 0.001.",
)
flags.DEFINE_float(
  "clip", None, "Largest L2 norm of the gradient, 0 for none. Default: speech 0.25, series 1."
)
flags.DEFINE_enum(
  "schedule",
  "constant",
  ["constant", "cosine"],
  "Of the learning rate: constant as in the paper, or falling to zero over the training.",
)
flags.DEFINE_float("weight_decay", 0.0, "Of AdamW; 0: Adam, as in the paper.", 0.0)
flags.DEFINE_float(
  "average",
  0.0,
  "Decay an update of a moving average of the parameters, which is then what is read and reported, "
  "e.g. 0.999; 0 for none, as in the paper.",
  0.0,
  0.999999,
)
flags.DEFINE_integer(
  "num_examples",
  None,
  "Training examples of a generated task. Default: spotting 1,500,000, two_sequence 2,000,000.",
)
flags.DEFINE_integer(
  "num_test",
  None,
  "Fresh examples on which a generated task is read at the end. Default: spotting 10,000, "
  "two_sequence 20,000.",
  1,
)
flags.DEFINE_float(
  "epochs",
  None,
  "Passes over a stored data set. Default: temporal_mnist 50, speech 1000 (cnn 20), series 200.",
)
flags.DEFINE_enum(
  "choose",
  None,
  ["best", "last"],
  "Report the checkpoint of the best validation accuracy at the spike, or the last one. Default: "
  "two_sequence and series last, others best, but last without held-out data.",
)
flags.DEFINE_bool(
  "early_stop",
  None,
  "End a run whose validation accuracy at the spike falls below the share of the largest class "
  "after having been above (A.4). Default: speech true, others false.",
)
flags.DEFINE_string(
  "init_from", None, "Begin with the parameters of this run, of the same network and classes."
)
flags.DEFINE_integer("checkpoint_seconds", 60, "Save a checkpoint at least this often.", 1)
flags.DEFINE_bool("progress", True, "Show a progress bar.")
flags.DEFINE_string(
  "dataset",
  None,
  "temporal_mnist: mnist (default) or digits. speech: speech_commands (default), folder or "
  "synthetic. series: a set that the packages aeon and tslearn bring, as JapaneseVowels.",
)
flags.DEFINE_string("data_dir", None, "Folder of the data set.")
flags.DEFINE_bool(
  "data_on_device",
  True,
  "Keep a stored data set on the device; false: send each batch from the host.",
)
flags.DEFINE_integer(
  "devices",
  None,
  "Devices that share the rows of each batch; the result is the same but for rounding. Default: "
  "all, or as many of them as divide --batch_size.",
)
flags.DEFINE_string(
  "coordinator_address",
  None,
  "host:port of process 0, of a run in several processes, which all are given the same command but "
  "for --process_id. SLURM, Open MPI and TPU pods say all three by themselves.",
)
flags.DEFINE_integer("num_processes", None, "Processes of the run; 1: this one alone.", 1)
flags.DEFINE_integer("process_id", None, "Which of them this is, from 0 on.", 0)
flags.DEFINE_string(
  "compile_cache",
  None,
  "Folder in which JAX keeps compiled programs, so that a later start does not compile them again; "
  "off: keep none. Default: JAX_COMPILATION_CACHE_DIR, else rc_jax/compiled in the user's cache.",
)


def read_settings(experiment: Experiment) -> Settings:
  """Reads the parsed flags of an experiment's binary as one checked value.

  Args:
    experiment: whose shared and own flags are read.

  Raises:
    ValueError: as `make_settings`; the message names the flag.
  """
  values = {name: FLAGS[name].value for name in _list_names(experiment)}
  return make_settings(experiment, values, read_defaults(experiment))


def read_defaults(experiment: Experiment) -> dict[str, Any]:
  """Returns the default of every flag of an experiment, by name; None where the task has one."""
  return {name: FLAGS[name].default for name in _list_names(experiment)}


def _list_names(experiment: Experiment) -> list[str]:
  shared = [flag.name for flag in FLAGS.flags_by_module_dict()[__name__]]
  return sorted([*shared, *experiment.own_flags])


def run_main(main: Callable[[], Any]) -> None:
  """Runs a binary, and ends the process with the status that `guard` gives.

  Args:
    main: of the binary, called once the flags are parsed; as of `guard`.
  """

  def begin(argv: list[str]) -> int:
    if len(argv) > 1:
      raise ValueError(f"unexpected argument {argv[1]!r}; flags look like --beta=0.2")
    keep_compiled(FLAGS.compile_cache)
    processes.join(FLAGS.coordinator_address, FLAGS.num_processes, FLAGS.process_id)
    return main()

  def run(argv: list[str]) -> None:
    if not FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # Orbax tells of every save at INFO
    sys.exit(guard(lambda: begin(argv)))

  for flag in FLAGS.flags_by_module_dict()[__name__]:
    FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # so that --help shows it
  if {"--help", "--helpfull"} & set(sys.argv):  # `| head` may have seen enough before the end
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
  app.run(run, flags_parser=parse_flags)


def parse_flags(argv: list[str]) -> list[str]:
  """Parses a command line; bad flags end the process as `guard` ends it on other bad input.

  Args:
    argv: with the program's name.

  Returns:
    The name and what is no flag.
  """
  try:
    return FLAGS(argv)
  except flags.Error as error:
    print(f"error: {error}; --help lists the flags", file=sys.stderr)
    sys.exit(2)


def keep_compiled(folder: str | None) -> None:
  """Keeps compiled programs, as of --compile_cache, and says where that cannot be."""
  if problem := compile_cache.turn_on(folder):
    print(problem, file=sys.stderr)


def guard(main: Callable[[], Any]) -> int:
  """Runs a command: bad input ends it with one line and status 2, not with a traceback.

  So does Ctrl-C, SIGTERM or SIGHUP, with status 130, and the loss of another process of the run.

  Args:
    main: returns the exit status, or None for 0, and raises ValueError or OSError for bad input.

  Returns:
    The exit status.
  """
  interrupt_on_signals()
  thread_errors.hush()
  try:
    return main() or 0
  except (ValueError, OSError, jax.errors.JaxRuntimeError) as error:
    loss = process_loss.explain_error(error)
    if loss is None and isinstance(error, jax.errors.JaxRuntimeError):
      raise
    logging.info("where it came from", exc_info=True)  # --verbosity=0 shows it
    print(f"error: {loss or error}", file=sys.stderr)
    status = 2 if loss is None else process_loss.STATUS
  except KeyboardInterrupt:  # before or after the training, or a second one in it
    print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
    status = 130
  thread_errors.leave(status)
  return status

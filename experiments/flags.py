"""The flags that binaries share, and their values checked.

A flag that is not given takes the paper's value for the task (Appendix A), so that one flag can
have one meaning and many defaults.
"""

import importlib
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import optax
from absl import app, flags, logging

from experiments.optimizer import make_optimizer
from rc_jax import check_beta, check_theta

FLAGS = flags.FLAGS

flags.DEFINE_enum(
  "model",
  "lstm",
  ["lstm", "conv_lstm", "cnn_lstm", "dense_lstm", "cnn"],
  "Network. Of temporal_mnist: conv_lstm, and cnn_lstm, an LSTM on what a convolutional network "
  "makes of all pixels so far. Of speech: dense_lstm, an LSTM on two dense layers of each step's "
  "frames. cnn, of both: a ceiling, without a memory but shown all frames so far at once.",
)
flags.DEFINE_enum(
  "objective",
  None,
  ["rc", "eos"],
  "Loss at the first spike, or at the last step. Default: rc (cnn eos).",
)
flags.DEFINE_enum(
  "engine",
  "auto",
  ["auto", "full", "early_exit"],
  "early_exit computes nothing after a spike; the result is the same but for rounding. auto: "
  "early_exit on a CPU, full on a GPU, which starts the kernels of few rows no faster.",
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
  "0.165, speech 0.2 (cnn 0).",
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
  "(cnn 32).",
  1,
)
flags.DEFINE_integer("batch_size", 128, "Examples an update.")
flags.DEFINE_float(
  "learning_rate", None, "Of Adam. Default: spotting, two_sequence 0.0003, others 0.001."
)
flags.DEFINE_float(
  "clip", None, "Largest L2 norm of the gradient, 0 for none. Default: speech 0.25."
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
  "Passes over a stored data set. Default: temporal_mnist 50, speech 1000 (cnn 20).",
)
flags.DEFINE_enum(
  "choose",
  None,
  ["best", "last"],
  "Report the checkpoint of the best validation accuracy at the spike, or the last one. Default: "
  "two_sequence last, others best.",
)
flags.DEFINE_bool(
  "early_stop",
  None,
  "End a run whose validation accuracy at the spike falls below the share of the largest class "
  "after having been above (A.4). Default: speech true, others false.",
)
flags.DEFINE_integer("checkpoint_seconds", 60, "Save a checkpoint at least this often.", 1)
flags.DEFINE_bool("progress", True, "Show a progress bar.")
flags.DEFINE_string(
  "dataset",
  None,
  "temporal_mnist: mnist (default) or digits. speech: speech_commands (default), folder or "
  "synthetic.",
)
flags.DEFINE_string("data_dir", None, "Folder of the data set.")
flags.DEFINE_bool(
  "data_on_device",
  True,
  "Keep a stored data set on the device; false: send each batch from the host.",
)

EXPERIMENTS = ("spotting", "two_sequence", "temporal_mnist", "speech")  # modules of this package

# What may differ when a run goes on in its workdir.
FREE_FLAGS = (
  "workdir",
  "epochs",
  "num_examples",
  "num_test",
  "choose",
  "engine",
  "checkpoint_seconds",
  "progress",
  "data_on_device",
)


Points = tuple[tuple[float, float], ...]  # (epoch, value from then on); the first epoch is 0


class Settings(NamedTuple):
  """Checked values of the shared flags.

  Attributes:
    objective: "rc" or "eos".
    engine: "auto", "full" or "early_exit".
    dtype: "float32" or "bfloat16", of the computation.
    betas: `((epoch, value), ...)` of beta, the first at epoch 0.
    thetas: the same of the threshold.
    seed: of everything random.
    workdir: folder of the run.
    batch_size: examples an update.
    learning_rate: of Adam.
    clip: largest gradient norm, 0 for none.
    schedule: of the learning rate, "constant" or "cosine".
    weight_decay: of AdamW; 0 is Adam.
    average: decay of the average of the parameters; 0 is none.
    amount: training examples in all (generated tasks), or epochs.
    choose: "best" or "last": which checkpoint is reported.
    early_stop: whether A.4's early stop is on.
    checkpoint_seconds: between checkpoints.
    progress: whether to show a bar.
    flags: every flag's value, for config.json.
  """

  objective: Any
  engine: Any
  dtype: str
  betas: Points
  thetas: Points
  seed: int
  workdir: str
  batch_size: int
  learning_rate: float
  clip: float
  schedule: str
  weight_decay: float
  average: float
  amount: float
  choose: str
  early_stop: bool
  checkpoint_seconds: int
  progress: bool
  flags: dict[str, Any]

  @property
  def theta(self) -> float:
    """The threshold at which validation and test are read: the last of the training."""
    return self.thetas[-1][1]

  def schedule_of(
    self, name: Literal["beta", "theta"], updates_per_epoch: int | None
  ) -> float | optax.Schedule:
    """Beta or theta as `make_train` takes it: a number, or a schedule of the update count."""
    points = {"beta": self.betas, "theta": self.thetas}[name]
    if len(points) == 1:
      return points[0][1]
    if updates_per_epoch is None:
      raise ValueError(f"--{name} changes with epochs; a generated task has none; give one number")
    values = [optax.constant_schedule(value) for _, value in points]
    return optax.join_schedules(values, [round(e * updates_per_epoch) for e, _ in points[1:]])

  def optimizer(self, updates: int) -> optax.GradientTransformation:
    """The optimizer of a training of so many updates."""
    return make_optimizer(
      self.learning_rate,
      updates=updates,
      clip=self.clip,
      schedule=self.schedule,
      weight_decay=self.weight_decay,
      average=self.average,
    )


def settings(
  experiment: str, amount: str, *, models: tuple[str, ...] = ("lstm",), **defaults: Any
) -> Settings:
  """Reads and checks the shared flags.

  Args:
    experiment: its name, and that of its default workdir.
    amount: which flag says how long to train, "num_examples" or "epochs".
    models: values of --model that the experiment knows.
    **defaults: the paper's values of flags that are not given.

  Raises:
    ValueError: a value out of range, another task's measure of length or model, an objective that
      does not fit the model, or a last theta after the end of the training; names the flag.
  """
  other = {"epochs": "num_examples", "num_examples": "epochs"}[amount]
  if FLAGS[other].value is not None:
    raise ValueError(f"--{other} does not fit {experiment}; its length is given by --{amount}")
  if amount == "epochs" and FLAGS.num_test is not None:
    raise ValueError(f"--num_test does not fit {experiment}; its test split is read whole")
  values = _values(experiment)
  if values["model"] not in models:
    raise ValueError(
      f"--model={values['model']} does not fit {experiment}; it has {', '.join(models)}"
    )
  if (values["model"], values["objective"]) == ("cnn", "rc"):
    raise ValueError(
      "--objective=rc does not fit --model=cnn, which sees one step at a time and has no first "
      "spike to train; leave --objective out"
    )
  common = {
    "objective": "eos" if values["model"] == "cnn" else "rc",
    "workdir": f"runs/{experiment}",
    "clip": 0.0,
    "early_stop": False,
    "choose": "best",
  }
  for name, default in (common | defaults).items():
    if values[name] is None:
      values[name] = default
  for name in ("batch_size", "learning_rate", amount):
    if not values[name] > 0:
      raise ValueError(f"--{name} is {values[name]}; it must be more than 0")
  if values["clip"] < 0:
    raise ValueError(f"--clip is {values['clip']}; it must be 0 (none) or more")
  if not 0 <= values["seed"] < 2**32:
    raise ValueError(f"--seed is {values['seed']}; it must lie in 0..2**32 - 1")
  betas, thetas = (parse_points(name, str(values[name])) for name in ("beta", "theta"))
  for check, points in ((check_beta, betas), (check_theta, thetas)):
    for _, value in points:
      check(value)
  if thetas[-1][0] >= values[amount] and len(thetas) > 1:
    raise ValueError(
      f"--theta is {thetas[-1][1]:g}, as the result is read, from epoch {thetas[-1][0]:g} on, "
      f"but the training ends after {values[amount]:g}; give more --epochs or an earlier change"
    )
  values["beta"] = _text(betas)
  values["theta"] = thetas[0][1] if len(thetas) == 1 else _text(thetas)
  fields = {name: values[name] for name in Settings._fields if name in values}
  fields |= {"betas": betas, "thetas": thetas, "amount": values[amount], "flags": values}
  return Settings(**fields)


def parse_points(name: str, text: str) -> Points:
  """Parses `0.2` or `0.5,30:0.165`: a value, then `epoch:value` from that epoch on.

  Args:
    name: of the flag.
    text: its value.

  Raises:
    ValueError: another form, or epochs that do not rise.
  """
  number = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
  first, *rest = (part.strip() for part in text.split(","))
  form = "give a number, as 0.2, or a schedule, as 0.5,30:0.165 (0.165 from epoch 30 on)"
  if not re.fullmatch(number, first):
    raise ValueError(f"--{name} is {text!r}; {form}")
  points = [(0.0, float(first))]
  for part in rest:
    match = re.fullmatch(f"({number}):({number})", part)
    if not match or float(match[1]) <= points[-1][0]:
      problem = "epochs must rise" if match else f"{part!r} is not epoch:value"
      raise ValueError(f"--{name} is {text!r}: {problem}; {form}")
    points.append((float(match[1]), float(match[2])))
  return tuple(points)


def _text(points: Points) -> str:
  """What `parse_points` parses."""
  number = lambda value: repr(value).removesuffix(".0")
  later = [f"{number(epoch)}:{number(value)}" for epoch, value in points[1:]]
  return ",".join([number(points[0][1]), *later])


def _values(experiment: str) -> dict[str, Any]:
  """Values of the flags that this package defines for all, and for this experiment."""
  modules = FLAGS.flags_by_module_dict()
  module = f"experiments.{experiment}"
  own = modules.get(module) or modules.get(sys.argv[0], [])  # the latter of the binary that runs
  found = {f.name: f.value for f in [*modules[__name__], *own]}
  return dict(sorted(found.items()))


def experiment_module(experiment: str) -> Any:
  """The module of one of EXPERIMENTS."""
  return importlib.import_module(f"experiments.{experiment}")


def run_experiment(main: Callable[[str], int]) -> None:
  """Runs a binary whose first argument is an experiment, with the flags of both."""
  name = sys.argv.pop(1) if len(sys.argv) > 1 and sys.argv[1][0] != "-" else ""
  if not name and {"--help", "--helpfull"} & set(sys.argv):
    run_main(lambda: 0)
  if name not in EXPERIMENTS:
    sys.exit(
      f"error: the experiment is {name!r}; name one of {', '.join(EXPERIMENTS)} first, as in "
      f"`python -m experiments.{pathlib.Path(sys.argv[0]).stem} {EXPERIMENTS[0]}`"
    )
  experiment_module(name)  # defines its flags
  run_main(lambda: main(name))


def run_main(main: Callable[[], Any]) -> None:
  """Runs a binary: bad input ends it with one line and status 2, not with a traceback."""

  def guarded(argv: list[str]) -> int:
    if not FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # Orbax tells of every save at INFO
    try:
      if len(argv) > 1:
        raise ValueError(f"unexpected argument {argv[1]!r}; flags look like --beta=0.2")
      return main() or 0
    except (ValueError, OSError) as error:
      logging.info("where it came from", exc_info=True)  # --verbosity=0 shows it
      print(f"error: {error}", file=sys.stderr)
      return 2

  for flag in FLAGS.flags_by_module_dict()[__name__]:
    FLAGS.register_key_flag_for_module(sys.argv[0], flag)  # so that --help shows it
  app.run(lambda argv: sys.exit(guarded(argv)))

"""The settings of a run: every flag's value, checked, as one immutable value.

A flag that is not given takes the paper's value for the task (Appendix A), so that one flag can
have one meaning and many defaults.
"""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import optax

from experiments.harness import devices
from experiments.harness.objectives import is_rival, make_objective
from experiments.harness.optimizer import make_optimizer
from experiments.harness.schedules import Points, format_points, parse_points, to_schedule
from rc_jax import check_beta, check_theta

Values = Mapping[str, Any]  # the value of each flag; None where it is not given

# Loops of early exit in a long training: what more than the usual five skip makes up for their
# compiling, some five seconds, within a few thousand updates.
LONG_UPDATES = 5000
LONG_WIDTHS = 12
# What may differ when a run goes on in its workdir.
FREE_FLAGS = (
  "workdir",
  "epochs",
  "num_examples",
  "num_test",
  "choose",
  "engine",
  "widths",
  "checkpoint_seconds",
  "progress",
  "data_on_device",
  "devices",
  "coordinator_address",
  "num_processes",
  "process_id",
  "compile_cache",
)
# What may differ between the processes of a run, each on its own host.
LOCAL_FLAGS = (
  "process_id",
  "workdir",
  "data_dir",
  "cache_dir",
  "compile_cache",
  "init_from",
  "progress",
)


class Experiment(NamedTuple):
  """What the settings of one binary have of its own.

  Attributes:
    name: of the experiment, of its module in `experiments`, and of its default workdir.
    length: the flag that says how long to train, "num_examples" or "epochs".
    defaults: the paper's values of flags that are not given, from the values of all flags.
    models: values of --model that the experiment knows.
    memoryless: those of them that see one step at a time: they have no first spike to train.
    own_flags: names of the flags that its module defines.
  """

  name: str
  length: Literal["num_examples", "epochs"]
  defaults: Callable[[Values], dict[str, Any]]
  models: tuple[str, ...] = ("lstm",)
  memoryless: tuple[str, ...] = ()
  own_flags: tuple[str, ...] = ()


class Settings(NamedTuple):
  """Checked values of the flags; made by `make_settings`, changed by `replace`.

  Attributes:
    model: name of the network.
    objective: "rc", "eos", or a rival as `make_objective` takes it.
    engine: "auto", "full" or "early_exit".
    widths: loops of early exit, at most; None for what pays in a training of this length.
    dtype: "float32" or "bfloat16", of the computation.
    betas: `((epoch, value), ...)` of beta, the first at epoch 0.
    thetas: the same of the threshold.
    seed: of everything random.
    workdir: folder of the run.
    units: hidden units, or feature maps.
    batch_size: examples an update.
    learning_rate: of Adam.
    clip: largest L2 norm of the gradient, 0 for none.
    schedule: of the learning rate, "constant" or "cosine".
    weight_decay: of AdamW; 0 is Adam.
    average: decay an update of the average of the parameters; 0 is none.
    amount: training examples in all (generated tasks), or epochs.
    choose: "best" or "last": which checkpoint is reported.
    early_stop: whether A.4's early stop is on.
    init_from: folder of the run whose parameters this one begins with, or None.
    checkpoint_seconds: seconds between checkpoints.
    progress: whether to show a bar.
    data_on_device: whether a stored data set is kept on the device.
    devices: how many work on each batch.
    flags: every flag's value, those of the experiment's own flags included, for config.json.
    flag_defaults: every flag's default, for workdirs that are older than a flag.
  """

  model: str
  objective: str
  engine: Any
  widths: int | None
  dtype: str
  betas: Points
  thetas: Points
  seed: int
  workdir: str
  units: int
  batch_size: int
  learning_rate: float
  clip: float
  schedule: str
  weight_decay: float
  average: float
  amount: float
  choose: str
  early_stop: bool
  init_from: str | None
  checkpoint_seconds: int
  progress: bool
  data_on_device: bool
  devices: int
  flags: dict[str, Any]
  flag_defaults: dict[str, Any]

  @property
  def theta(self) -> float:
    """The threshold at which validation and test are read: the last of the training."""
    return self.thetas[-1][1]

  def replace(self, **values: Any) -> "Settings":
    """Returns the settings of the same command with other values of some flags.

    Args:
      **values: of flags, in the form that the command line has them, e.g. `beta="0.2"`.

    Raises:
      ValueError: a value is out of range; the message names the flag.
    """
    return _check(self.flags | values, self.flag_defaults)

  def schedule_of(
    self, name: Literal["beta", "theta"], updates_per_epoch: int | None
  ) -> float | optax.Schedule:
    """Returns beta or theta as `make_train` takes it: a number, or a schedule of the update count.

    Args:
      name: which of the two.
      updates_per_epoch: None for a generated task, which has no epochs.

    Raises:
      ValueError: the value changes with epochs, but the task has none.
    """
    points = {"beta": self.betas, "theta": self.thetas}[name]
    return to_schedule(name, points, updates_per_epoch)

  def optimizer(self, updates: int) -> optax.GradientTransformation:
    """Returns the optimizer of a training of so many updates."""
    return make_optimizer(
      self.learning_rate,
      updates=updates,
      clip=self.clip,
      schedule=self.schedule,
      weight_decay=self.weight_decay,
      average=self.average,
    )


def make_settings(experiment: Experiment, values: Values, flag_defaults: Values) -> Settings:
  """Checks the flags of a run and fills in the paper's values.

  Args:
    experiment: whose flags they are.
    values: of every flag, by name; None where a flag is not given.
    flag_defaults: default of every flag, by name.

  Raises:
    ValueError: a value is out of range, the model or the measure of length is another task's, the
      objective does not fit the model, or the last theta begins after the end of the training; the
      message names the flag.
  """
  _refuse_what_does_not_fit(experiment, values)
  common = {
    "objective": "eos" if values["model"] in experiment.memoryless else "rc",
    "workdir": f"runs/{experiment.name}",
    "batch_size": 128,
    "clip": 0.0,
    "early_stop": False,
    "choose": "best",
  }
  filled = dict(sorted(values.items()))
  alone = {"beta": 0.0} if is_rival(values["objective"]) else {}  # it has no entropy reward
  for name, default in (common | experiment.defaults(values) | alone).items():
    if filled.get(name) is None:
      filled[name] = default
  return _check(filled, dict(flag_defaults))


def _refuse_what_does_not_fit(experiment: Experiment, values: Values) -> None:
  """Raises ValueError for a flag that is another experiment's or that contradicts --model."""
  name, length = experiment.name, experiment.length
  other = {"epochs": "num_examples", "num_examples": "epochs"}[length]
  if values[other] is not None:
    raise ValueError(f"--{other} does not fit {name}; its length is given by --{length}")
  if length == "epochs" and values["num_test"] is not None:
    raise ValueError(f"--num_test does not fit {name}; its test split is read whole")
  if values["model"] not in experiment.models:
    raise ValueError(
      f"--model={values['model']} does not fit {name}; it has {', '.join(experiment.models)}"
    )
  if values["model"] in experiment.memoryless and values["objective"] not in (None, "eos"):
    raise ValueError(
      f"--objective={values['objective']} does not fit --model={values['model']}, which sees one "
      "step at a time and has no first spike to train; leave --objective out"
    )


def _check(values: dict[str, Any], flag_defaults: dict[str, Any]) -> Settings:
  """Checks the ranges of complete values; running it on its own `flags` changes nothing."""
  values = dict(values)
  values["workdir"] = os.path.expanduser(values["workdir"])  # a shell does not, after --workdir=
  length = "num_examples" if values["epochs"] is None else "epochs"
  for name in ("batch_size", "learning_rate", length):
    if not 0 < values[name] < math.inf:
      raise ValueError(f"--{name} is {values[name]}; it must be more than 0, and finite")
  if not 0 <= values["clip"] < math.inf:
    raise ValueError(f"--clip is {values['clip']}; it must be 0 (none) or more")
  if not 0 <= values["seed"] < 2**32:
    raise ValueError(f"--seed is {values['seed']}; it must lie in 0..2**32 - 1")
  make_objective(values["objective"])
  values["devices"] = devices.choose_number(values["devices"], values["batch_size"])
  betas, thetas = (parse_points(name, str(values[name])) for name in ("beta", "theta"))
  for check, points in ((check_beta, betas), (check_theta, thetas)):
    for _, value in points:
      check(value)
  if is_rival(values["objective"]) and any(value for _, value in betas):
    raise ValueError(
      f"--beta is {values['beta']}, the entropy reward of rc and eos; --objective="
      f"{values['objective']} has none, so leave it out"
    )
  if thetas[-1][0] >= values[length] and len(thetas) > 1:
    raise ValueError(
      f"--theta is {thetas[-1][1]:g}, as the result is read, from epoch {thetas[-1][0]:g} on, "
      f"but the training ends after {values[length]:g}; give more --epochs or an earlier change"
    )
  values["beta"] = format_points(betas)
  values["theta"] = thetas[0][1] if len(thetas) == 1 else format_points(thetas)
  fields = {name: values[name] for name in Settings._fields if name in values}
  fields |= {"betas": betas, "thetas": thetas, "amount": values[length]}
  return Settings(**fields, flags=values, flag_defaults=flag_defaults)

"""What a run leaves for its use elsewhere: `model.json` and `params.msgpack` in its folder.

`save_model` writes them when a run has ended; `load_run` reads them, without the code that trained.
The parameters are MessagePack, of which nothing is ever executed.
"""

import json
import os
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization

from deploy.models import Model, build, shift_logit
from deploy.rule import Rule, check_rule, is_number
from rc_jax import Classifier
from rc_jax.types import Params

FORMAT, FORMAT_OF_RIVALS = 1, 2
MODEL, PARAMS, CALIBRATION = "model.json", "params.msgpack", "calibration.json"


class Run(NamedTuple):
  """A trained run.

  Attributes:
    classifier: the network.
    params: its parameters, those that the run's result was read with; `unknown_bias` is in them.
    class_names: of the C classes.
    rule: when it decides: of the calibration where there is one, else with theta of the training.
    statistics: `{"mean": [F], "std": [F]}` float64, of the log-mel bands of a run of speech or of
      the channels of a run of series; {} of others.
    experiment: name of the experiment that trained it.
    model: the network in words.
    input_shape: of one step, e.g. (420,).
    reading: how it read its data: of speech keyword arguments of `speech.load`, but for where that
      is; of series the names of its `channels`, what became of `missing` values,
      `samples_per_step` and the `validation_share` that was held out.
    unknown_bias: nats added to the logit of the class `unknown`, of the calibration.
  """

  classifier: Classifier
  params: Params
  class_names: tuple[str, ...]
  rule: Rule
  statistics: dict[str, np.ndarray]
  experiment: str
  model: Model
  input_shape: tuple[int, ...]
  reading: dict[str, Any]
  unknown_bias: float = 0.0

  @property
  def theta(self) -> float:
    """The threshold of its rule."""
    return self.rule.theta


def save_model(
  folder: pathlib.Path,
  *,
  experiment: str,
  model: Model,
  params: Params,
  input_shape: tuple[int, ...],
  class_names: tuple[str, ...],
  theta: float,
  statistics: dict[str, Any],
  reading: dict[str, Any] | None = None,
  objective: str | None = None,
) -> None:
  """Writes the two files; each appears whole or not at all.

  Args:
    folder: of the run.
    experiment: its name.
    model: the network in words.
    params: its parameters.
    input_shape: of one step.
    class_names: of the C classes.
    theta: threshold on the confidence.
    statistics: of the inputs, JSON values.
    reading: how the data was read, JSON values.
    objective: that the run was trained with, where its decisions read something else than the
      network's probabilities at a step; `load_run` then refuses the run.
  """
  params = jax.tree.map(np.asarray, serialization.to_state_dict(params))
  write_whole(folder / PARAMS, serialization.msgpack_serialize(params))
  description = {
    "format": FORMAT,
    "experiment": experiment,
    **model._asdict(),
    "input_shape": list(input_shape),
    "class_names": list(class_names),
    "theta": float(theta),
    "statistics": statistics,
    "reading": reading or {},
  }
  if objective is not None:  # versions that do not know of it must not take it for another one
    description |= {"format": FORMAT_OF_RIVALS, "objective": objective}
  write_whole(folder / MODEL, (json.dumps(description, indent=2) + "\n").encode())


def load_run(workdir: str | pathlib.Path, *, calibrated: bool = True) -> Run:
  """Loads a run that has ended, from its folder, wherever that is now.

  Args:
    workdir: the run's folder.
    calibrated: whether its calibration counts, where it has one; False: theta of the training.

  Returns:
    The run, ready to be called.

  Raises:
    ValueError: not a folder, not a run, one that has not ended, one of a newer version or of an
      objective that needs more, or files that are damaged; one sentence that says which.
  """
  folder = pathlib.Path(os.path.expanduser(workdir))  # pathlib's raises where there is no such user
  try:
    if not folder.is_dir():
      raise ValueError(f"{workdir} is no folder; give the --workdir of a run")
    said = _read_description(folder)
  except OSError as error:
    raise ValueError(f"{workdir} cannot be read ({error.strerror}); make it readable") from error
  try:
    model = Model(said["constructor"], said["arguments"])
    names = tuple(said["class_names"])
    shape = tuple(int(size) for size in said["input_shape"])
    _check_types(model, said["class_names"], shape)
    statistics = {k: np.asarray(v, np.float64) for k, v in said["statistics"].items()}
    experiment, theta = str(said["experiment"]), float(said["theta"])
    reading = dict(said.get("reading", {}))  # runs of before have none
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise ValueError(f"{folder / MODEL} is damaged ({error!r}); train the run again") from error
  classifier = build(model)
  params = _read_params(folder, classifier, shape)
  _check_classes(folder, classifier, params, shape, names)
  check_rule(Rule(theta), len(names))
  run = Run(classifier, params, names, Rule(theta), statistics, experiment, model, shape, reading)
  return _apply_calibration(folder, run) if calibrated else run


def with_unknown_bias(run: Run, nats: float) -> Run:
  """Makes a run that says `unknown` more or less readily; exports and all else then do, too.

  Where a keyword is hard to hear its rival is `unknown`, which is a large share of what a spotter
  is trained on. Below 0 more keywords are found, with more false alarms, than by any threshold.

  Args:
    run: any with a class `unknown` and a dense head.
    nats: to be added to the logit of `unknown`, in the place of the run's own.

  Raises:
    ValueError: another network, or no number from -20 to 20.
  """
  if not is_number(nats) or not abs(nats) <= 20:
    raise ValueError(f"unknown_bias is {nats!r}; give nats from -20 to 20")
  if nats == run.unknown_bias:
    return run
  from data_pipelines.speech import UNKNOWN  # takes a second, which other runs need not wait

  if UNKNOWN not in run.class_names:
    raise ValueError(f"unknown_bias is {nats}, but the run has no class {UNKNOWN!r}; leave it out")
  label = run.class_names.index(UNKNOWN)
  params = shift_logit(run.params, label, nats - run.unknown_bias)
  return run._replace(params=params, unknown_bias=float(nats))


def save_calibration(folder: pathlib.Path, calibration: dict[str, Any]) -> None:
  """Writes the rule that `load_run` is to use.

  Args:
    folder: of the run.
    calibration: JSON values; "theta" and "class_names" among them, what else of a `Rule` is not
      its default, and "unknown_bias" if it is not 0.
  """
  write_whole(folder / CALIBRATION, (json.dumps(calibration, indent=2) + "\n").encode())


def _read_description(folder: pathlib.Path) -> dict[str, Any]:
  if not (folder / MODEL).is_file():
    if (folder / "config.json").is_file():
      raise ValueError(
        f"{folder} is a run that has not ended, or one of an older version; its training command, "
        f"given again, goes on to the end and writes {MODEL}"
      )
    raise ValueError(f"{folder} is not a run: it has no {MODEL}; give the --workdir of a run")
  said = _read_own(folder / MODEL, "train the run again")
  if said.get("format") == FORMAT_OF_RIVALS:
    raise ValueError(
      f"{folder} was trained with --objective={said.get('objective')}, whose decisions read more "
      "than the network's probabilities at a step; deploy reads rc, eos and those without, such as "
      "every_step"
    )
  if said.get("format") != FORMAT:
    raise ValueError(
      f"{folder / MODEL} has format {said.get('format')!r}, and this version reads {FORMAT}; "
      "install the version that trained the run, or a newer one"
    )
  return said


def _check_types(model: Model, class_names: Any, shape: tuple[int, ...]) -> None:
  """Raises TypeError or ValueError where what describes a network is of other types."""
  if not isinstance(model.constructor, str) or not isinstance(model.arguments, dict):
    raise TypeError("the constructor has to be a name, its arguments an object")
  if not isinstance(class_names, list) or not all(isinstance(name, str) for name in class_names):
    raise TypeError("class_names has to be a list of names")
  if min(shape, default=1) < 1:
    raise ValueError(f"input_shape is {list(shape)}")


def _read_own(path: pathlib.Path, remedy: str) -> dict[str, Any]:
  """Reads a JSON file that is there; raises ValueError where it cannot."""
  try:
    return read_json(path, remedy)
  except OSError as error:
    raise ValueError(f"{path} cannot be read ({error.strerror}); make it readable") from error


def read_json(path: pathlib.Path, remedy: str) -> dict[str, Any]:
  """Reads a JSON file of a run.

  Args:
    path: of the file.
    remedy: what to do where it is damaged, for the message.

  Raises:
    OSError: it cannot be read.
    ValueError: it is damaged.
  """
  try:
    value = json.loads(path.read_bytes())
  except ValueError as error:
    raise ValueError(f"{path} is damaged ({error}); {remedy}") from error
  if not isinstance(value, dict):
    raise ValueError(f"{path} is damaged: it holds no object of JSON; {remedy}")
  return value


def _read_params(folder: pathlib.Path, classifier: Classifier, shape: tuple[int, ...]) -> Params:
  """Reads the parameters and compares their shapes with those of the network."""
  path = folder / PARAMS
  try:
    stored = serialization.msgpack_restore(path.read_bytes())
  except Exception as error:  # whatever a damaged file makes of the reader
    raise ValueError(f"{path} cannot be read ({error}); train the run again") from error
  like = jax.eval_shape(classifier.init, jax.random.key(0), jnp.zeros(shape))
  try:
    params = serialization.from_state_dict(like, stored)
    pairs = zip(jax.tree.leaves(like), jax.tree.leaves(params), strict=True)
    fits = all((a.shape, a.dtype) == (np.shape(b), np.asarray(b).dtype) for a, b in pairs)
  except (ValueError, KeyError, AttributeError, TypeError):
    fits = False
  if not fits:
    raise ValueError(f"{path} does not hold the network that {MODEL} names; train the run again")
  return jax.tree.map(jnp.asarray, params)


def _check_classes(
  folder: pathlib.Path,
  classifier: Classifier,
  params: Params,
  shape: tuple[int, ...],
  names: tuple[str, ...],
) -> None:
  """Raises ValueError if there are not as many names as the network has classes."""

  def logits(params: Params, x: Any) -> Any:
    return classifier.run_step(params, classifier.initial_carry(params), x)[1]

  classes = jax.eval_shape(logits, params, jnp.zeros(shape)).shape[-1]
  if classes != len(names):
    raise ValueError(
      f"{folder / MODEL} names {len(names)} classes, the network has {classes}; train the run again"
    )


def _apply_calibration(folder: pathlib.Path, run: Run) -> Run:
  """Takes the rule and the bias of the calibration, where there is one."""
  path = folder / CALIBRATION
  if not path.is_file():
    return run
  calibration = _read_own(path, "calibrate again, or delete it")
  if calibration.get("class_names") != list(run.class_names):
    raise ValueError(f"{path} is for other classes than the run's; calibrate again, or delete it")
  given = {name: calibration[name] for name in Rule._fields if name in calibration}
  try:
    check_rule(Rule(**given), len(run.class_names))
    run = with_unknown_bias(run, calibration.get("unknown_bias", 0.0))
  except (TypeError, ValueError) as error:
    raise ValueError(f"{path} has no rule ({error}); calibrate again, or delete it") from error
  return run._replace(rule=Rule(**given))


def write_whole(path: pathlib.Path, content: bytes) -> None:
  """Writes a file whole or not at all; raises OSError where that cannot be."""
  partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # others may write it too
  try:
    partial.write_bytes(content)
    os.replace(partial, path)
  finally:
    partial.unlink(missing_ok=True)

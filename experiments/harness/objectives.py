"""The objectives by the names that --objective has, and what they change beside the loss."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from deploy.models import Model
from rc_jax import Classifier, Objective, objectives, with_act

AT_ONE_STEP = ("rc", "eos")  # of `make_train` itself, with the entropy reward
BACKGROUND = ("unknown", "negative")  # names of a class that is what no keyword is


class Rival(NamedTuple):
  """An objective of `rc_jax.objectives`, and its one value that a colon may give.

  Attributes:
    make: from the value, or nothing where it takes none.
    parse: from the text behind the colon; None where there is no value.
    default: of the value.
  """

  make: Callable[..., Objective]
  parse: Callable[[str], Any] | None = None
  default: Any = None


def _until_spike(weighting: Any) -> Objective:
  return objectives.until_spike(objectives.every_step(weighting))


RIVALS = {
  "every_step": Rival(objectives.every_step, str, "equal"),
  "until_spike": Rival(_until_spike, str, "equal"),
  "early_prediction": Rival(objectives.early_prediction),
  "progression": Rival(objectives.progression, float, 1.0),
  "max_pooling": Rival(objectives.max_pooling),
  "cumulative": Rival(objectives.cumulative),
  "patience": Rival(objectives.patience, int, 3),
  "stop_head": Rival(objectives.stop_head, float, 0.5),
  "sprt": Rival(objectives.sprt),
}
NAMES = (*AT_ONE_STEP, *RIVALS)


def is_rival(text: str | None) -> bool:
  """Whether --objective names one of RIVALS; None is the default of a task."""
  return text is not None and text.partition(":")[0] in RIVALS


def make_objective(text: str, class_names: Sequence[str] = ()) -> Objective | Any:
  """Makes what `make_train` takes from --objective: "rc", "eos", or one of RIVALS.

  Args:
    text: a name, or a name and a value, as "stop_head:0.8".
    class_names: of the task; one of BACKGROUND is that of `max_pooling`.

  Raises:
    ValueError: an unknown name, a value where there is none, or one out of range.
  """
  name, colon, value = text.partition(":")
  if name not in NAMES:
    raise ValueError(f"--objective is {text!r}; choose one of {', '.join(NAMES)}")
  rival = RIVALS.get(name)
  if colon and (rival is None or rival.parse is None):
    raise ValueError(f"--objective is {text!r}; {name} takes no value")
  if rival is None:
    return name
  if name == "max_pooling":
    found = [k for k, known in enumerate(class_names) if known in BACKGROUND]
    return objectives.max_pooling(found[0] if found else None)
  if rival.parse is None:
    return rival.make()
  try:
    return rival.make(rival.parse(value) if colon else rival.default)
  except ValueError as error:
    raise ValueError(f"--objective is {text!r}: {error}") from error


def widen(model: Model, objective: str) -> Model:
  """Gives a network the outputs that an objective needs beyond its classes.

  A network of a single output, which is log odds, then has one for each class.

  Args:
    model: the network in words, with `num_classes`.
    objective: value of --objective.
  """
  made = make_objective(objective)
  if not isinstance(made, Objective) or not made.extra_outputs:
    return model
  arguments = {k: v for k, v in model.arguments.items() if k != "single_output"}
  arguments["num_classes"] += made.extra_outputs
  return model._replace(arguments=arguments)


def make_reader(classifier: Classifier, objective: str, class_names: Sequence[str]) -> Classifier:
  """Makes the classifier that is read: its logits are what a decision of the objective reads.

  Args:
    classifier: that is trained.
    objective: value of --objective.
    class_names: of the C classes.
  """
  made = make_objective(objective, class_names)
  if not isinstance(made, Objective):
    return classifier
  return with_act(classifier, made.act, len(class_names) + made.extra_outputs)


def needs_reader(objective: str) -> bool:
  """Whether decisions read something else than the network's probabilities at a step."""
  made = make_objective(objective)
  return isinstance(made, Objective) and made.act is not None

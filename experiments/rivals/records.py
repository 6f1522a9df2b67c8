"""What is compared: the trainings, their candidates on validation, and how each is read."""

from typing import Any, NamedTuple

from data_pipelines.series import PACKAGED

Flags = dict[str, str]

# A set of PACKAGED is one of `experiments.series`, which takes anyone's files by its flags.
DATASETS = ("two_sequence", "spotting", "temporal_mnist", "speech", "series", *PACKAGED)
PATIENCE = (2, 3, 5)  # steps in a row that are tried
SEARCH_SEED = 1000  # of the trials: no reported seed has been searched on
# No objective is chosen by a checkpoint that is best at one theta, or stopped by one.
COMMON: dict[str, Any] = {"choose": "last", "early_stop": False, "progress": False}
SMOKE: dict[str, str] = {
  "batch_size": "32",
  "units": "4",
  "num_examples": "640",
  "num_test": "400",
  "epochs": "0.3",
}
SMOKE_DATA = {"temporal_mnist": "digits", "speech": "synthetic"}  # --dataset of the binary
RATE_FACTOR = "learning_rate_factor"  # no flag: what the shared learning rate is multiplied by
RATES = ("1", "3", "0.3")  # such factors, tried where an objective has no other value


class Training(NamedTuple):
  """An objective, and what is tried for it.

  Attributes:
    label: what the page calls it.
    candidates: values of flags, of which `list_candidates` tells.
    readings: how it is read: "theta", one threshold; "thresholds", one a step; "patience".
  """

  label: str
  candidates: tuple[Flags, ...]
  readings: tuple[str, ...] = ("theta",)


def _rates(objective: str) -> tuple[Flags, ...]:
  return tuple({"objective": objective, RATE_FACTOR: rate} for rate in RATES)


def _values(name: str, *values: str) -> tuple[Flags, ...]:
  return tuple({"objective": f"{name}:{value}"} for value in values)


TRAININGS = {
  "rc": Training(
    "rank coding",
    tuple({"objective": "rc", "beta": beta} for beta in ("0", "0.1", "0.3")),
    ("theta", "thresholds"),
  ),
  "eos": Training("last step", _rates("eos"), ("theta", "patience", "thresholds")),
  "every_step": Training("every step", _values("every_step", "equal", "late", "early")),
  "until_spike": Training(
    "every step until the spike",
    tuple({"objective": "until_spike", "theta": theta} for theta in ("0.95", "0.99", "0.9")),
  ),
  "progression": Training("progression", _values("progression", "1", "0.3", "3")),
  "early_prediction": Training("EMI-RNN, early prediction", _rates("early_prediction")),
  "max_pooling": Training("max-pooling", _rates("max_pooling")),
  "cumulative": Training("cumulative", _rates("cumulative")),
  "stop_head": Training("stop head", _values("stop_head", "0.5", "0.8", "0.95")),
  "sprt": Training("SPRT, LSEL", _rates("sprt")),
}
READINGS = {"theta": "", "thresholds": ", a threshold a step", "patience": ", patience"}
# Where the paper's beta is not 0 it comes first, and 0, with which networks got fast, second.
PAPER_BETAS = {"temporal_mnist": "0.165", "speech": "0.2", "series": "0.2"}  # series: of speech
MOST_TRIALS = min(len(training.candidates) for training in TRAININGS.values())


def experiment_of(dataset: str) -> str:
  """Returns the experiment whose binary trains on one of DATASETS."""
  return "series" if dataset in PACKAGED else dataset


def list_candidates(training: str, dataset: str) -> tuple[Flags, ...]:
  """Returns what is tried for a training on a data set, the paper's values first.

  A learning rate is a factor; a beta that is not given is 0.
  """
  candidates = TRAININGS[training].candidates
  beta = PAPER_BETAS.get(experiment_of(dataset))
  if training != "rc" or beta is None:
    return candidates
  return ({"objective": "rc", "beta": beta}, *candidates)


def label_of(training: str, reading: str) -> str:
  """Returns what the page calls a training that is read in one way."""
  return TRAININGS[training].label + READINGS[reading]

"""Which trainings the table and the figures are made of."""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np

from experiments.workdir import read_metrics

PARTS = ("spotting", "two_sequence", "mnist", "speech")
GENERATED = PARTS[:2]  # small networks, whose data needs no memory: their seeds train together


class Run(NamedTuple):
  """A binary with its flags.

  Attributes:
    part: of section 3, one of PARTS.
    binary: in experiments.
    flags: but the seed, the workdir and where the data is.
    most_seeds: of contrasts and ceilings, so many seeds are enough; None: as many as asked for.
    betas: where a run is several, one a beta, trained together.
  """

  part: str
  binary: str
  flags: tuple[str, ...] = ()
  most_seeds: int | None = None
  betas: tuple[str, ...] = ()


EOS = "--objective=eos"
CONV = ("--model=conv_lstm", "--choose=last")
WIDE = ("--kernel=5",)  # the paper leaves it open; of 3, 5 and 7 the best on validation
SPEECH = ("--epochs=40",)
REGULAR = ("--weight_decay=0.01", "--schedule=cosine", "--average=0.999")
# The first step alone for two epochs: of a ConvLSTM that waits, each update would cost ten steps.
FAST = ("--beta=0", "--theta=0.101,2:0.6,3:0.8,4:0.95", "--learning_rate=0.01", "--shift=2")
# Of ten classes the loss is then least at a probability of .85, below theta: silent to the end.
SLOW = ("--beta=0.3", "--learning_rate=0.01", "--shift=2", "--epochs=20")
WARPED = ("--shift=2", "--rotate=10", "--zoom=0.1", "--choose=last", *REGULAR)
CNN = ("--model=cnn", *WARPED)
AUGMENTED = (
  *REGULAR,
  *("--shift_frames=10", "--stretch=0.1", "--gain=1", "--noise=0.3"),
  *("--mask_frames=10", "--mask_bands=3"),
)
RC_BETAS = ("0", "0.3", "0.4")  # beside 0.1, 0.15, and 0.2, the paper's choice
EOS_BETAS = ("0.2", "0.3", "0.4")  # beside 0

RUNS = {
  "spotting": Run("spotting", "spotting"),
  "spotting-eos": Run("spotting", "spotting", (EOS, "--choose=last")),
  "two_sequence": Run("two_sequence", "two_sequence"),
  "two_sequence-eos": Run("two_sequence", "two_sequence", (EOS,)),
  "mnist-lstm": Run(
    "mnist", "temporal_mnist", ("--beta=0,6:0.165", "--choose=last", "--epochs=30")
  ),
  "mnist-lstm-shift": Run(
    "mnist", "temporal_mnist", ("--beta=0", "--shift=2", "--choose=last", "--epochs=40"), 1
  ),
  "mnist-lstm-ours": Run("mnist", "temporal_mnist", ("--beta=0", "--epochs=40", *WARPED)),
  "mnist-lstm-switch": Run(
    "mnist", "temporal_mnist", ("--beta=0.5,10:0.165", "--choose=last", "--epochs=25"), 1
  ),
  "mnist-conv-10": Run(
    "mnist", "temporal_mnist", (*CONV, "--units=10", "--beta=0", "--epochs=20"), 1
  ),
  "mnist-conv-10-switch": Run(
    "mnist",
    "temporal_mnist",
    (*CONV, "--units=10", "--beta=0.5,4:0.165", "--shift=2", "--epochs=14"),
    1,
  ),
  "mnist-conv-10-3x3": Run(
    "mnist", "temporal_mnist", (*CONV, "--units=10", "--epochs=20", *FAST, *REGULAR)
  ),
  "mnist-conv-10-ours": Run(
    "mnist", "temporal_mnist", (*CONV, "--units=10", *WIDE, "--epochs=20", *FAST, *REGULAR)
  ),
  "mnist-conv-10-slow": Run(
    "mnist", "temporal_mnist", (*CONV, "--units=10", *WIDE, *SLOW, *REGULAR)
  ),
  "mnist-conv-20-3x3": Run(
    "mnist", "temporal_mnist", (*CONV, "--units=20", "--epochs=10", *FAST, *REGULAR)
  ),
  "mnist-conv-20-ours": Run(
    "mnist", "temporal_mnist", (*CONV, "--units=20", *WIDE, "--epochs=20", *FAST, *REGULAR)
  ),
  "mnist-conv-20-slow": Run("mnist", "temporal_mnist", (*CONV, "--units=20", *SLOW, *REGULAR)),
  "mnist-cnn-lstm": Run(
    "mnist", "temporal_mnist", ("--model=cnn_lstm", "--beta=0", "--epochs=30", *WARPED)
  ),
  "mnist-cnn-lstm-slow": Run(
    "mnist", "temporal_mnist", ("--model=cnn_lstm", "--beta=0.3", "--epochs=30", *WARPED)
  ),
  "mnist-cnn": Run("mnist", "temporal_mnist", CNN, 1),
  "mnist-cnn-1": Run("mnist", "temporal_mnist", (*CNN, "--prefix=1"), 1),
  "mnist-cnn-10": Run("mnist", "temporal_mnist", (*CNN, "--prefix=10"), 1),
  "speech": Run("speech", "speech", ("--beta=0.2", *SPEECH)),
  "speech-middle": Run("speech", "speech", ("--beta=0.15", *SPEECH)),
  "speech-early": Run("speech", "speech", ("--beta=0.1", *SPEECH)),
  "speech-eos": Run("speech", "speech", (EOS, "--beta=0", *SPEECH)),
  "speech-ours": Run("speech", "speech", ("--beta=0.2", "--epochs=60", *AUGMENTED)),
  "speech-ours-early": Run("speech", "speech", ("--beta=0.1", "--epochs=100", *AUGMENTED)),
  "speech-dense-ours": Run(
    "speech", "speech", ("--model=dense_lstm", "--beta=0.1", "--epochs=100", *AUGMENTED)
  ),
  "speech-cnn": Run("speech", "speech", ("--model=cnn", "--epochs=40", *AUGMENTED), 1),
  "speech-betas": Run("speech", "speech", SPEECH, 1, RC_BETAS),
  "speech-eos-betas": Run("speech", "speech", (EOS, *SPEECH), 1, EOS_BETAS),
}

FEW = "--batch_size=32"  # early exit compiles a loop for every 8 rows
SMOKE = {
  "spotting": (FEW, "--num_examples=1600", "--num_test=1000"),
  "two_sequence": (FEW, "--num_examples=1600", "--num_test=1000"),
  "mnist": (FEW, "--dataset=digits", "--epochs=0.3", "--units=4"),
  "speech": (FEW, "--dataset=synthetic", "--epochs=1", "--units=16"),
}
# They differ from others by numbers alone, or by a network that another part has too.
NOT_IN_SMOKE = (
  *("mnist-lstm-shift", "mnist-lstm-ours", "mnist-conv-10", "mnist-conv-10-ours"),
  *("mnist-conv-10-3x3", "mnist-conv-10-slow", "mnist-conv-20-3x3", "mnist-conv-20-ours"),
  *("mnist-conv-20-slow", "mnist-cnn-lstm-slow", "mnist-cnn-10"),
  *("speech-middle", "speech-early", "speech-ours-early", "speech-dense-ours"),
)


class Done(NamedTuple):
  """A finished run, from its files.

  Attributes:
    seed: of it.
    config: config.json.
    result: result.json.
    metrics: lines of metrics.jsonl.
    examples: arrays of examples.npz; empty where the run has none.
  """

  seed: int
  config: dict[str, Any]
  result: dict[str, Any]
  metrics: list[dict[str, Any]]
  examples: dict[str, np.ndarray]


Runs = dict[str, list[Done]]


def members(name: str) -> list[str]:
  """Names of the runs that one of RUNS is; each has a folder of that name, with one a seed."""
  return [f"{name}/beta-{beta}" for beta in RUNS[name].betas] or [name]


def part_of(member: str) -> str:
  """The part that a run belongs to, by the name of its folder."""
  return RUNS[member.partition("/")[0]].part


def command(member: str) -> list[str]:
  """The binary and the flags of a run, but the seed, the workdir and where the data is."""
  name, _, beta = member.partition("/beta-")
  return [RUNS[name].binary, *RUNS[name].flags, *([f"--beta={beta}"] if beta else [])]


def is_done(workdir: pathlib.Path, flags: tuple[str, ...]) -> bool:
  """Whether a run has ended that had these flags.

  Args:
    workdir: of the run.
    flags: `--name=value`; of a name that stands twice, the last counts.
  """
  if not (workdir / "result.json").exists():
    return False
  had = json.loads((workdir / "config.json").read_text())["flags"]
  wanted = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
  return all(_canonical(had.get(name)) == _canonical(value) for name, value in wanted.items())


def finished(folder: pathlib.Path) -> Runs:
  """The runs under `folder/RUN/SEED` that have ended, in the order of RUNS and of their seeds."""
  found: Runs = {}
  for member in (member for name in RUNS for member in members(name)):
    seeds = [int(path.parent.name) for path in (folder / member).glob("*/result.json")]
    for seed in sorted(seeds):
      found.setdefault(member, []).append(_read(folder / member / str(seed), seed))
  return found


def speech_runs(runs: Runs) -> dict[str, list[tuple[float, list[Done]]]]:
  """Those as in the paper's text, "RC" and "eos": `[(beta, runs)]` by beta."""
  rc = {0.1: "speech-early", 0.15: "speech-middle", 0.2: "speech"}
  rc |= {float(beta): f"speech-betas/beta-{beta}" for beta in RC_BETAS}
  eos = {0.0: "speech-eos", **{float(beta): f"speech-eos-betas/beta-{beta}" for beta in EOS_BETAS}}
  there = lambda names: [(b, runs[names[b]]) for b in sorted(names) if names[b] in runs]
  return {"RC": there(rc), "eos": there(eos)}


def _canonical(value: Any) -> str:
  """A flag's value in one form, whether as typed or as parsed."""
  try:
    return str(float(value))
  except (TypeError, ValueError):
    return str(value)


def _read(workdir: pathlib.Path, seed: int) -> Done:
  load = lambda name: json.loads((workdir / name).read_text())
  path = workdir / "examples.npz"
  examples = dict(np.load(path)) if path.exists() else {}
  return Done(seed, load("config.json"), load("result.json"), read_metrics(workdir), examples)

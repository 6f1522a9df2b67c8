"""What a record of a reported run holds; the records stand in `runs_*`, a module for each data."""

from typing import NamedTuple

from experiments.reproduce.measures import Ceiling, Measure, at_mean_step

PARTS = ("spotting", "two_sequence", "mnist", "speech")
GENERATED = PARTS[:2]  # small networks, whose data needs no memory: their seeds train together
SHARE, POINTS, STEPS = "{0:.2%}", "{1:.2f} points", "{0:.2f}"  # of a value and its hundredfold
FEW = "--batch_size=16"  # of smoke runs: early exit compiles a loop for every 8 rows
EOS = "--objective=eos"
REGULAR = ("--weight_decay=0.01", "--schedule=cosine", "--average=0.999")


class Row(NamedTuple):
  """A quantity that is reported of a run.

  Attributes:
    text: its name, behind the label of the run.
    measure: a key of result.json, or a function of it.
    paper: what the paper says.
    ceiling: a text, or a function that reads it.
    form: SHARE, of which more is better, POINTS, of which less is, or STEPS.
    group: the rows of a page are listed by group, within it by run.
  """

  text: str
  measure: str | Measure
  paper: str = ""
  ceiling: str | Ceiling = ""
  form: str = SHARE
  group: int = 0


class Run(NamedTuple):
  """A training.

  Attributes:
    part: of section 3, one of PARTS.
    binary: in experiments.
    label: what the pages call it.
    flags: all but the seed, the workdir and where the data is.
    rows: what is reported of it.
    smoke: flags that make it short, for --budget=smoke; None where it is left out there, since it
      differs from others by numbers alone, or by a network that another part has too.
    most_seeds: of contrasts and ceilings, so many seeds are enough; None: as many as asked for.
    betas: where a run is several, one a beta, trained together.
  """

  part: str
  binary: str
  label: str
  flags: tuple[str, ...] = ()
  rows: tuple[Row, ...] = ()
  smoke: tuple[str, ...] | None = None
  most_seeds: int | None = None
  betas: tuple[str, ...] = ()


def by_step(step: float, paper: str = "", ceiling: str | Ceiling = "", group: int = 0) -> Row:
  """Makes the row of test accuracy at the theta whose mean step is `step`.

  Args:
    step: mean spike step, in steps seen.
    paper: what the paper says.
    ceiling: as of `Row`.
    group: as of `Row`.
  """
  text = f"theta for a mean step of {step}"
  return Row(text, at_mean_step(step), paper, ceiling, group=group)

"""The runs of section 3.4, speech."""

from experiments.reproduce.measures import AT_END, AT_SPIKE, STEP, end_of
from experiments.reproduce.records import EOS, FEW, REGULAR, STEPS, Row, Run, by_step

SMOKE = (FEW, "--dataset=synthetic", "--epochs=1", "--units=16")

FORTY = ("--epochs=40",)
AUGMENTED = (
  *REGULAR,
  *("--shift_frames=10", "--stretch=0.1", "--gain=1", "--noise=0.3"),
  *("--mask_frames=10", "--mask_bands=3"),
)
RC_BETAS = ("0", "0.3", "0.4")  # beside 0.1, 0.15, and 0.2, the paper's choice
EOS_BETAS = ("0.2", "0.3", "0.4")  # beside 0

CURVE_STEPS = (30, 45, 60, 75)  # a group of rows each, after those of the paper's two runs
OTHERS = len(CURVE_STEPS) + 1  # the last group
END_OF_CLIP = end_of("speech-cnn")
CURVE_ROWS = tuple(
  by_step(step, "curves", group=group) for group, step in enumerate(CURVE_STEPS, start=1)
)
SPEECH_ROWS = (
  Row("at the first spike", AT_SPIKE, "curves", END_OF_CLIP),
  Row("mean step of 81", STEP, "curves", form=STEPS),
  Row("read at the end", AT_END, "curves", END_OF_CLIP),
  *CURVE_ROWS,
)


def _record(label: str, flags: tuple[str, ...], *, curve: bool = False, smoke: bool = False) -> Run:
  """Makes the record of a network of speech that the paper does not have.

  Args:
    label: of the network.
    flags: of the binary.
    curve: whether its curve over theta is read at CURVE_STEPS too.
    smoke: whether it is part of a smoke run.
  """
  rows = (
    *(CURVE_ROWS if curve else ()),
    Row("at the first spike", AT_SPIKE, "", END_OF_CLIP, group=OTHERS),
    Row("mean step of 81", STEP, form=STEPS, group=OTHERS),
    by_step(47, "", END_OF_CLIP, OTHERS),
    Row("read at the end", AT_END, "", END_OF_CLIP, group=OTHERS),
  )
  return Run("speech", "speech", label, flags, rows, SMOKE if smoke else None)


RUNS = {
  "speech": Run("speech", "speech", "speech", ("--beta=0.2", *FORTY), SPEECH_ROWS, smoke=SMOKE),
  "speech-middle": _record("speech, beta .15", ("--beta=0.15", *FORTY), curve=True),
  "speech-early": _record("speech, beta .1", ("--beta=0.1", *FORTY), curve=True),
  "speech-eos": Run(
    "speech", "speech", "speech, eos", (EOS, "--beta=0", *FORTY), SPEECH_ROWS, smoke=SMOKE
  ),
  "speech-ours": _record("speech, ours", ("--beta=0.2", "--epochs=60", *AUGMENTED), smoke=True),
  "speech-ours-early": _record("speech, ours, beta .1", ("--beta=0.1", "--epochs=100", *AUGMENTED)),
  "speech-dense-ours": _record(
    "speech, ours, beta .1, LSTM-128 on dense layers",
    ("--model=dense_lstm", "--beta=0.1", "--epochs=100", *AUGMENTED),
  ),
  "speech-cnn": Run(
    "speech",
    "speech",
    "speech, a CNN on the whole clip",
    ("--model=cnn", *FORTY, *AUGMENTED),
    (Row("", AT_END, group=OTHERS),),
    smoke=SMOKE,
    most_seeds=1,
  ),
  "speech-betas": Run(
    "speech",
    "speech",
    "speech over beta",
    FORTY,
    smoke=SMOKE,
    most_seeds=1,
    betas=RC_BETAS,
  ),
  "speech-eos-betas": Run(
    "speech",
    "speech",
    "speech, eos, over beta",
    (EOS, *FORTY),
    smoke=SMOKE,
    most_seeds=1,
    betas=EOS_BETAS,
  ),
}

"""Anyone's time series: labelled sequences in files, each of one or more channels.

  python -m experiments.series --data_dir=FOLDER
  python -m experiments.series --train=A_TRAIN.ts --test=A_TEST.ts

Files: `.ts` of the UEA and UCR archive, `.npz` with X, y and perhaps lengths (or X_train, y_train,
X_test, y_test), or `.csv` with the columns id, time, channels, label. LSTM-64, Adam 0.003, theta
.95, beta 0.15, 200 epochs in batches of 16. A fifth of the training series of each class is held
out for validation; the last checkpoint is reported. Without files of one's own, with the extra
`peers`: `--dataset=JapaneseVowels`, about half a minute on 2 cores.

Long series: `--samples_per_step=10` joins ten samples into one step.
"""

import functools
from typing import Any

import numpy as np
from absl import flags

from data_pipelines import series
from deploy.models import Model
from experiments.harness.flags import read_settings, run_main
from experiments.harness.objectives import widen
from experiments.harness.run import run
from experiments.harness.settings import Experiment, Settings, Values
from experiments.harness.task import Task, make_stored_task
from rc_jax import Evaluation
from rc_jax.types import Params

UPDATES = 20  # between validations, at least: of some dozen series an epoch has but two
flags.DEFINE_string("train", None, "File of the training series; with --test.")
flags.DEFINE_string("test", None, "File of the test series; with --train.")
flags.DEFINE_enum(
  "missing",
  "hold",
  list(series.MISSING),
  "Missing values: hold repeats the value before; interpolate looks at the value after, too, which "
  "a live decision could not; error refuses them.",
)
flags.DEFINE_float(
  "validation_share",
  0.2,
  "Share of each class of the training series that chooses the checkpoint. 0 trains on all and "
  "reports the last checkpoint.",
  0.0,
  0.5,
)
flags.DEFINE_integer("samples_per_step", 1, "Samples of a series that are joined into a step.", 1)
flags.DEFINE_integer("layers", 1, "Recurrent layers, one above the other.", 1)


def _defaults(values: Values) -> dict[str, Any]:
  """Returns values for data sets of tens to some thousand series."""
  return dict(
    beta=0.15,  # 0.2 is near the limit of nine classes, which then wait (docs/results/series.md)
    learning_rate=0.003,
    epochs=200,
    units=64,
    batch_size=16,
    clip=1.0,
    choose="last",
  )


EXPERIMENT = Experiment(
  "series",
  length="epochs",
  defaults=_defaults,
  models=("lstm", "gru"),
  own_flags=("train", "test", "missing", "validation_share", "samples_per_step", "layers"),
)


def setup(settings: Settings) -> Task:
  """Makes the task that the settings describe.

  Raises:
    ValueError: flags that do not fit together, or data that cannot be read.
  """
  given = settings.flags
  share, samples = given["validation_share"], given["samples_per_step"]
  if share == 0 and settings.choose == "best":
    raise ValueError(
      "--choose=best needs series held out; give --choose=last or a --validation_share"
    )
  data = series.load(find_files(settings), missing=given["missing"], validation_share=share)
  longest = data.splits.train.inputs.shape[1]
  if samples >= longest > 1:
    raise ValueError(
      f"--samples_per_step={samples} makes one step of a whole series (the longest has {longest} "
      "samples), which leaves no time to decide in; give less"
    )
  classes = len(data.class_names)
  sizes = {"units": settings.units, "num_classes": classes, "layers": given["layers"]}
  task = make_stored_task(
    "series",
    widen(Model(settings.model, sizes), settings.objective),
    data.class_names,
    data.splits,
    functools.partial(series.join_samples, samples=samples),
    batch_size=settings.batch_size,
    seed=settings.seed,
    on_device=settings.data_on_device,
    fill_batches=True,
  )

  def measure(task: Task, split: str, evaluation: Evaluation, params: Params) -> dict[str, float]:
    del task, params
    lengths = getattr(data.splits, split).lengths
    return _measure_earliness(evaluation, lengths, samples)

  per_epoch = task.updates_per_epoch or 1
  every = -(-UPDATES // per_epoch) * per_epoch
  statistics = {name: values.tolist() for name, values in data.statistics._asdict().items()}
  reading = {"channels": data.channels, "samples_per_step": samples}
  reading |= {"missing": given["missing"], "validation_share": share}
  return task._replace(
    measure=measure,
    statistics=statistics,
    reading=reading,
    notes=data.notes,
    evaluate_every=every,
  )


def find_files(settings: Settings) -> series.Paths:
  """Finds the files that the flags name.

  Raises:
    ValueError: as `data_pipelines.series.find_files`.
  """
  names = ("data_dir", "train", "test", "dataset")
  return series.find_files(**{name: settings.flags[name] for name in names})


def _measure_earliness(
  evaluation: Evaluation, lengths: np.ndarray, samples: int
) -> dict[str, float]:
  """Measures which share of a series was seen until its decision, as early classifiers are read.

  Args:
    evaluation: of a split.
    lengths: `[N]`, samples of its series.
    samples: of a step.

  Returns:
    The mean share, and its harmonic mean with the accuracy: of 1 - share and accuracy.
  """
  seen = series.count_samples(evaluation.step, samples, lengths) / lengths
  accuracy, saved = evaluation.rc_accuracy, 1 - float(np.mean(seen))
  total = accuracy + saved
  return {
    "earliness": float(np.mean(seen)),
    "harmonic_mean": 2 * accuracy * saved / total if total else 0.0,
  }


def main() -> int:
  """Trains and reports; returns the exit status."""
  settings = read_settings(EXPERIMENT)
  return run(setup(settings), settings)


if __name__ == "__main__":
  run_main(main)

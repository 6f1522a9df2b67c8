"""Rapid keyword classification, Speech Commands (section 3.4, A.4; Fig. 4 and 5).

  python -m experiments.speech --beta=0.2 --dataset=folder --data_dir=WORDS --epochs=40 \
      --keywords=zero,one,two,three,four,five

81 steps of 10 ms, each 21 frames of 20 log-mel bands. LSTM-128, dense 32 with relu, dense C; Adam
0.001, theta .95, gradients clipped at 0.25: about 6 s an epoch of 9,150 clips on 2 cores. After 40
epochs three seeds have 93.2 % at a mean step of 49.8.

Contrast: `--objective=eos --beta=0`. Without a download: `--dataset=synthetic`. The paper's set:
`--dataset=speech_commands`, its ten keywords and 1000 epochs by default.

The most accurate: `--model=dense_lstm --beta=0.1 --weight_decay=0.01 --schedule=cosine
--average=0.999 --shift_frames=10 --stretch=0.1 --gain=1 --noise=0.3 --mask_frames=10 --mask_bands=3
--epochs=100`, an LSTM on two dense layers of each step's frames: 96.9 % at the theta whose mean
step is 47, 18 minutes on one core.

How far a network as large gets on whole clips: `--model=cnn`, convolutional, one step a clip; 20
epochs, about 14 s each on one core; after eight 93 %. With seven classes 289,799 parameters, of the
LSTM 285,447.
"""

import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from data_pipelines import speech
from deploy.models import Model
from experiments.harness.fingerprint import identify_samples
from experiments.harness.flags import read_settings, run_main
from experiments.harness.objectives import widen
from experiments.harness.run import run
from experiments.harness.settings import Experiment, Settings, Values
from experiments.harness.task import InputAxes, Task, make_stored_task
from rc_jax import Batch, Evaluation
from rc_jax.types import Key, Params

flags.DEFINE_list(
  "keywords", list(speech.KEYWORDS), "Words to tell apart, or all; others: unknown."
)
flags.DEFINE_bool("pad_short", True, "Clips under a second are padded; false: they end early.")
flags.DEFINE_string("speaker_pattern", speech.SPEAKER_PATTERN, "Finds the speaker in a file name.")
flags.DEFINE_enum("on_bad_file", "error", ["error", "skip"], "Whether a bad file ends the run.")
flags.DEFINE_enum(
  "clip_at",
  "start",
  list(speech.CLIP_AT),
  "Which second of a longer recording of --dataset=folder is taken; error: none.",
)
flags.DEFINE_string("cache_dir", None, "Of decoded audio. Default: rc_jax in the user's cache.")
flags.DEFINE_integer(
  "shift_frames",
  0,
  "Move each training clip by up to so many frames of 10 ms, 0 as in the paper.",
  0,
  100,
)
flags.DEFINE_float(
  "stretch", 0.0, "Play each training clip faster or slower by up to this share.", 0.0, 0.5
)
flags.DEFINE_float("gain", 0.0, "Change each training clip's loudness by up to so many nats.", 0.0)
flags.DEFINE_float(
  "noise", 0.0, "Gaussian noise on training log-mel values, in nats, at most.", 0.0
)
flags.DEFINE_integer(
  "mask_frames", 0, "Widest gap in time in each training clip, in frames.", 0, 100
)
flags.DEFINE_integer(
  "mask_bands", 0, "Widest gap in frequency in each training clip, in bands.", 0, 19
)
flags.DEFINE_string(
  "background", None, "Sound mixed into training samples: synthetic, or a folder of recordings."
)
flags.DEFINE_list("snr_db", ["0", "40"], "Lowest and highest ratio of speech to it, in dB.")
flags.DEFINE_float(
  "lead_in_seconds", 0.0, "Put up to so much sound before each training clip; 0: as in the paper."
)
flags.DEFINE_float(
  "lead_out_seconds", 0.0, "Let each training clip be followed by up to so much sound."
)
flags.DEFINE_float(
  "negatives", 0.0, "Share of training sequences without a keyword: sound, cut and other words."
)
flags.DEFINE_bool(
  "other_speech", False, "Let a synthesizer speak in half of --negatives (extra demo)."
)

_READING_FLAGS = ("pad_short", "speaker_pattern", "on_bad_file", "clip_at")
_SCENE_FLAGS = (
  *("background", "snr_db", "lead_in_seconds", "lead_out_seconds", "negatives", "other_speech"),
)


def _defaults(values: Values) -> dict[str, Any]:
  """Returns the paper's values, and those of the network of whole clips, which it does not have."""
  whole = values["model"] == "cnn"
  return dict(
    beta=0 if whole else 0.2,
    learning_rate=0.001,
    epochs=20 if whole else 1000,
    clip=0.25,
    early_stop=True,
    dataset="speech_commands",
    units=32 if whole else 128,
  )


EXPERIMENT = Experiment(
  "speech",
  length="epochs",
  defaults=_defaults,
  models=("lstm", "dense_lstm", "cnn"),
  memoryless=("cnn",),
  own_flags=(
    *("keywords", *_READING_FLAGS, "cache_dir"),
    *("shift_frames", "stretch", "gain", "noise", "mask_frames", "mask_bands"),
    *_SCENE_FLAGS,
  ),
)


def setup(settings: Settings) -> Task:
  """Makes the task that the settings describe.

  Raises:
    ValueError: flags that do not fit together, or data that cannot be read.
  """
  whole, given = settings.model == "cnn", settings.flags
  if whole and not given["pad_short"]:
    raise ValueError(
      "--pad_short=false does not fit --model=cnn, which reads whole clips; leave it out"
    )
  data = _load(settings)

  def take_audio(index: np.ndarray) -> dict[str, np.ndarray]:
    waveforms = np.stack([data.audio("test", int(i)) for i in index])
    return {"waveform": waveforms, "log_mel": np.asarray(data.splits.test.inputs[index])}

  task = make_stored_task(
    "speech",
    widen(
      _describe_network(settings.model, settings.units, len(data.class_names)), settings.objective
    ),
    data.class_names,
    data.splits,
    functools.partial(speech.prepare_whole if whole else speech.prepare, data.statistics),
    batch_size=settings.batch_size,
    seed=settings.seed,
    on_device=settings.data_on_device,
    augment=functools.partial(
      speech.augment, amount=_make_augmentation(settings), fill=data.statistics.mean
    ),
    pictures=take_audio,
  )
  task = task._replace(
    statistics={"mean": data.statistics.mean.tolist(), "std": data.statistics.std.tolist()},
    reading={name: given[name] for name in _READING_FLAGS},
    notes=tuple(data.notes.lines()),
  )
  if any(given[name] != settings.flag_defaults[name] for name in _SCENE_FLAGS):
    task = _train_on_scenes(task, data, settings)
  return _read_whole(task) if whole else _read_in_time(task)


def _load(settings: Settings) -> speech.Speech:
  given = settings.flags
  if given["dataset"] == "speech_commands" and given["data_dir"]:
    _refuse_own_recordings(pathlib.Path(os.path.expanduser(given["data_dir"])), given["keywords"])
  return speech.load(
    given["dataset"],
    data_dir=given["data_dir"],
    keywords=given["keywords"],
    cache_dir=given["cache_dir"],
    progress=settings.progress,
    **{name: given[name] for name in _READING_FLAGS},
  )


def _refuse_own_recordings(folder: pathlib.Path, keywords: Sequence[str]) -> None:
  """Raises ValueError for a folder of words, which --dataset=folder reads."""
  words = [word for word in keywords if (folder / word).is_dir()]
  if words:
    raise ValueError(
      f"--data_dir={folder} has a folder {words[0]!r}, as recordings of one's own have; give "
      "--dataset=folder, too"
    )


def _make_augmentation(settings: Settings) -> speech.Augmentation:
  given = settings.flags
  return speech.Augmentation(
    shift=given["shift_frames"],
    stretch=given["stretch"],
    gain=given["gain"],
    noise=given["noise"],
    mask_frames=given["mask_frames"],
    mask_bands=given["mask_bands"],
  )


def _train_on_scenes(task: Task, data: speech.Speech, settings: Settings) -> Task:
  """Puts sequences of `speech.Scenes` in the place of training clips.

  Raises:
    ValueError: flags that do not fit together, or sounds that cannot be read.
  """
  given = settings.flags
  scenes = _describe_scenes(settings, data.class_names)
  nothing = np.zeros(0, np.int16)
  background = speech.open_background(given["background"]) if given["background"] else nothing
  spoken = nothing
  if scenes.other_speech:
    spoken = speech.open_other_speech(
      given["cache_dir"], "words", data.class_names, progress=settings.progress
    )
  train = data.splits.train
  clips = speech.load_clips(data.audio, len(train), settings.progress)
  sounds = speech.Sounds(*(jnp.asarray(a) for a in (clips, train.labels, background, spoken)))
  statistics, amount = data.statistics, _make_augmentation(settings)

  def make_steps(key: Key, records: Batch) -> Batch:
    scene_key, key = jax.random.split(key)
    frames = speech.compose(scene_key, records, scenes=scenes)
    return speech.prepare(statistics, speech.augment(key, frames, amount, statistics.mean))

  return task._replace(
    items=speech.draw_excerpts(sounds, scenes, settings.batch_size, settings.seed),
    fetch=functools.partial(speech.cut_excerpts, scenes=scenes),
    data=sounds,
    make_steps=make_steps,
    fingerprint=task.fingerprint
    | {"background": identify_samples(background), "other speech": identify_samples(spoken)},
  )


def _describe_scenes(settings: Settings, class_names: Sequence[str]) -> speech.Scenes:
  """Raises ValueError for flags that do not fit together."""
  given, last = settings.flags, class_names[-1]
  if settings.model == "cnn" or not given["pad_short"] or not given["data_on_device"]:
    raise ValueError(
      "--background, --lead_in_seconds, --lead_out_seconds and --negatives do not fit "
      "--model=cnn, --pad_short=false or --data_on_device=false; leave one or the other out"
    )
  if not 0 <= given["negatives"] < 1 or (given["negatives"] and last != speech.UNKNOWN):
    raise ValueError(
      f"--negatives is {given['negatives']}; give 0 to less than 1, and words besides --keywords, "
      f"for the class {speech.UNKNOWN!r}"
    )
  if not given["background"] and given["snr_db"] != settings.flag_defaults["snr_db"]:
    raise ValueError("--snr_db is of --background; give --background=synthetic or a folder, too")
  if given["other_speech"] and not given["negatives"]:
    raise ValueError("--other_speech is a part of --negatives; give --negatives=0.3, too")
  if given["lead_in_seconds"] and not 0.3 <= given["lead_in_seconds"] <= 10:
    raise ValueError(
      f"--lead_in_seconds is {given['lead_in_seconds']}; give 0, or 0.3 (the tail of another word) "
      "to 10"
    )
  if not 0 <= given["lead_out_seconds"] <= 10:
    raise ValueError(f"--lead_out_seconds is {given['lead_out_seconds']}; give 0 to 10")
  try:
    low, high = (float(value) for value in given["snr_db"])
  except ValueError:
    low, high = 1.0, 0.0
  if not -20 <= low <= high <= 100:
    raise ValueError(
      f"--snr_db is {','.join(given['snr_db'])}; give the lowest and the highest ratio, as 0,40"
    )
  return speech.Scenes(
    given["lead_in_seconds"],
    given["lead_out_seconds"],
    (low, high),
    given["negatives"],
    len(class_names) - 1,
    given["other_speech"],
  )


def _read_in_time(task: Task) -> Task:
  """Adds what is measured and drawn where a clip is a sequence of steps."""

  def measure(task: Task, split: str, evaluation: Evaluation, params: Params) -> dict[str, float]:
    del task, split, params
    return {"mean_heard_ms": float(np.mean(speech.heard_ms(evaluation.step)))}

  return task._replace(
    measure=measure,
    step_ms=1000 * speech.HOP / speech.SAMPLE_RATE,
    axes=InputAxes(
      sample_rate=speech.SAMPLE_RATE,
      clip_s=speech.NUM_SAMPLES / speech.SAMPLE_RATE,
      first_heard_s=speech.heard_ms(0) / 1000,
    ),
  )


def _read_whole(task: Task) -> Task:
  """Adds what a task of whole clips has, one step each: all is heard, and nothing to draw."""
  heard = {"mean_heard_ms": float(speech.heard_ms(speech.NUM_STEPS - 1))}
  # One step is too little for early exit, and convolutions are slow within a loop.
  return task._replace(measure=lambda *read: heard, pictures=None, vmap_members=True)


def _describe_network(model: str, units: int, num_classes: int) -> Model:
  if model == "cnn":
    widths = [units, 2 * units, 4 * units]
    return Model("cnn", {"widths": widths, "hidden": 2 * units, "num_classes": num_classes})
  hidden = {"hidden": [32]} if model == "lstm" else {}
  return Model(model, {"units": units, "num_classes": num_classes, **hidden})


def main() -> int:
  """Trains and reports; returns the exit status."""
  settings = read_settings(EXPERIMENT)
  return run(setup(settings), settings)


if __name__ == "__main__":
  run_main(main)

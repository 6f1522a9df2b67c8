"""Rapid keyword classification, Speech Commands (section 3.4, A.4; Fig. 4 and 5).

  python -m experiments.speech --beta=0.2 --dataset=folder --data_dir=WORDS --epochs=40 \
      --keywords=zero,one,two,three,four,five

81 steps of 10 ms, each 21 frames of 20 log-mel bands. LSTM-128, dense 32 with relu, dense C; Adam
0.001, theta .95, gradients clipped at 0.25: about 6 s an epoch of 9,150 clips on 2 cores. Expected
there after 40 epochs: >= 92.5 % at a mean step <= 48.

Contrast: `--objective=eos --beta=0`. Without a download: `--dataset=synthetic`. The paper's set:
`--dataset=speech_commands`, its ten keywords and 1000 epochs by default.

The most accurate: `--model=dense_lstm --beta=0.1 --weight_decay=0.01 --schedule=cosine
--average=0.999 --shift_frames=10 --stretch=0.1 --gain=1 --noise=0.3 --mask_frames=10 --mask_bands=3
--epochs=100`, an LSTM on two dense layers of each step's frames: 96.9 % where theta makes 47 steps,
18 minutes on one core.

How far a network as large gets on whole clips: `--model=cnn`, convolutional, one step a clip; 20
epochs, about 14 s each on one core; after eight 93 %. With seven classes 289,799 parameters, of the
LSTM 285,447.
"""

import functools

import numpy as np
from absl import flags
from flax import linen as nn

from data_pipelines import speech
from experiments.convolutional import Network, memoryless
from experiments.flags import FLAGS, Settings, run_main, settings
from experiments.run import run
from experiments.task import Task, stored
from rc_jax import Classifier, Evaluation, lstm, with_encoder
from rc_jax.types import Params

flags.DEFINE_list(
  "keywords", list(speech.KEYWORDS), "Words to tell apart, or all; others: unknown."
)
flags.DEFINE_bool("pad_short", True, "Clips under a second are padded; false: they end early.")
flags.DEFINE_string("speaker_pattern", speech.SPEAKER_PATTERN, "Finds the speaker in a file name.")
flags.DEFINE_enum("on_bad_file", "error", ["error", "skip"], "Whether a bad file ends the run.")
flags.DEFINE_string("cache_dir", None, "Of decoded audio. Default: rc_jax in the user's cache.")
flags.DEFINE_integer(
  "shift_frames", 0, "Move each training clip by up to so many frames of 10 ms, 0 as in the paper."
)
flags.DEFINE_float("stretch", 0.0, "Play each training clip faster or slower by up to this share.")
flags.DEFINE_float("gain", 0.0, "Change each training clip's loudness by up to so many nats.")
flags.DEFINE_float("noise", 0.0, "Gaussian noise on training log-mel values, in nats, at most.")
flags.DEFINE_integer("mask_frames", 0, "Widest gap in time in each training clip, in frames.")
flags.DEFINE_integer("mask_bands", 0, "Widest gap in frequency in each training clip, in bands.")


def setup() -> tuple[Task, Settings]:
  """The task and its settings, from the flags."""
  whole = FLAGS.model == "cnn"
  s = settings(
    "speech",
    "epochs",
    models=("lstm", "dense_lstm", "cnn"),
    beta=0 if whole else 0.2,
    learning_rate=0.001,
    epochs=20 if whole else 1000,
    clip=0.25,
    early_stop=True,
    dataset="speech_commands",
    units=32 if whole else 128,
  )
  if whole and not FLAGS.pad_short:
    raise ValueError(
      "--pad_short=false does not fit --model=cnn, which reads whole clips; leave it out"
    )
  data = speech.load(
    s.flags["dataset"],
    data_dir=FLAGS.data_dir,
    keywords=FLAGS.keywords,
    pad_short=FLAGS.pad_short,
    speaker_pattern=FLAGS.speaker_pattern,
    on_bad_file=FLAGS.on_bad_file,
    cache_dir=FLAGS.cache_dir,
    progress=s.progress,
  )
  print("\n".join(data.notes.lines()))

  def measure(split: str, evaluation: Evaluation, params: Params) -> dict[str, float]:
    del split, params
    step = np.full(1, speech.NUM_STEPS - 1) if whole else evaluation.step
    return {"mean_heard_ms": float(np.mean(speech.heard_ms(step)))}

  def pictures(index: np.ndarray) -> dict[str, np.ndarray]:
    waveforms = np.stack([data.audio("test", int(i)) for i in index])
    return {"waveform": waveforms, "log_mel": np.asarray(data.splits.test.inputs[index])}

  amount = speech.Augmentation(
    shift=FLAGS.shift_frames,
    stretch=FLAGS.stretch,
    gain=FLAGS.gain,
    noise=FLAGS.noise,
    mask_frames=FLAGS.mask_frames,
    mask_bands=FLAGS.mask_bands,
  )
  prepare = functools.partial(speech.prepare_whole if whole else speech.prepare, data.statistics)
  parts = stored(
    data.splits,
    prepare,
    batch_size=s.batch_size,
    seed=s.seed,
    on_device=FLAGS.data_on_device,
    augment=functools.partial(speech.augment, amount=amount, fill=data.statistics.mean),
    pictures=pictures,
  )
  if whole:
    parts["pictures"] = None  # they show what is said in time
  task = Task(
    "speech",
    _classifier(FLAGS.model, s.flags["units"], len(data.class_names)),
    data.class_names,
    **parts,
    step_ms=None if whole else 1000 * speech.HOP / speech.SAMPLE_RATE,
    measure=measure,
    saved={"mean": data.statistics.mean.tolist(), "std": data.statistics.std.tolist()},
  )
  return task, s


def _classifier(model: str, units: int, num_classes: int) -> Classifier:
  if model == "lstm":
    return lstm(units, num_classes, hidden=(32,))
  if model == "dense_lstm":
    front = nn.Sequential([nn.Dense(2 * units), nn.relu, nn.Dense(units), nn.relu])
    return with_encoder(lstm(units, num_classes, hidden=(32,)), front)
  return memoryless(Network((units, 2 * units, 4 * units), 2 * units, num_classes))


def main() -> int:
  """Trains and reports; returns the exit status."""
  return run(*setup())


if __name__ == "__main__":
  run_main(main)

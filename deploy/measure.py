"""Measures a run on a long recording: misses against false alarms, over thresholds.

    python -m deploy.measure RUN --recording=A.wav --labels=A.tsv
    python -m deploy.measure RUN --synthesize=30 --data_dir=WORDS --snr_db=20

`--labels` has a line a word: start and end in seconds, and the word, separated by tabs. Words that
are no keywords may stand there or be left out. `--synthesize` makes a recording of so many minutes
of the clips of a data set's split, or of sentences that a synthesizer says (`--of=sentences`).
A line a threshold: share of keywords said right, share said wrong, false alarms an hour with the
upper bound that the length of the recording allows, and the delay from the end of a word.
"""

import argparse
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import soundfile
import tqdm

from data_pipelines import speech
from data_pipelines.speech import SAMPLE_RATE, UNKNOWN, heard_ms
from deploy.commands import add_data, add_policy, add_run, load_speech_run, run_command
from deploy.front_end import make_front_end
from deploy.joined import add_noise, join_clips
from deploy.recordings import read_pieces
from deploy.run_files import Run
from deploy.scoring import Score, Word, check_words, score
from deploy.spotter import make_loop, run_in_blocks

THETAS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.999)
PIECE_S = 10
KINDS = ("keywords", "unknown", "all", "sentences")

Decisions = list[tuple[float, str]]


def find_decisions(
  run: Run,
  samples: np.ndarray,
  thetas: np.ndarray,
  *,
  patience: int = 1,
  timeout_s: float | None = None,
  progress: bool = False,
) -> list[Decisions]:
  """Lists the decisions of a spotter about a recording, for each of K thresholds at once.

  Args:
    run: of speech.
    samples: `[n]` at 16 kHz.
    thetas: `[K]`.
    patience: as `make_spotter`.
    timeout_s: as `make_spotter`.
    progress: whether to show a progress bar.

  Returns:
    For each threshold, seconds and class name of each decision, `unknown` and those within the
    refractory time included.
  """
  front_end = make_front_end(run.statistics["mean"], run.statistics["std"])
  limit = None if timeout_s is None else max(1, round(100 * timeout_s))
  loop = make_loop(run.classifier, run.params, patience=patience, limit=limit)
  thresholds = jnp.broadcast_to(
    jnp.asarray(thetas, jnp.float32)[:, None], (len(thetas), len(run.class_names))
  )
  rows = jax.vmap(loop.run, in_axes=(0, 0, None))

  @jax.jit
  def take(state, steps):
    state, (labels, _, _) = rows(thresholds, state, steps)
    return state, labels.T

  state = jax.tree.map(lambda a: jnp.stack([a] * len(thetas)), loop.init())
  heard, parts = front_end.init(), [np.zeros((0, len(thetas)), np.int32)]
  size = PIECE_S * SAMPLE_RATE
  starts = range(0, len(samples), size)
  for start in tqdm.tqdm(starts, desc="listening", unit=f"{PIECE_S} s", disable=not progress):
    heard, steps = front_end.push(heard, samples[start : start + size])
    state, found = run_in_blocks(take, state, steps)
    parts += found
  labels = np.concatenate(parts)
  return [
    [(float(heard_ms(k)) / 1000, run.class_names[row[k]]) for k in np.flatnonzero(row >= 0)]
    for row in labels.T
  ]


def keep_events(decisions: Decisions, refractory_s: float) -> Decisions:
  """Leaves out `unknown`, and what lies within the refractory time of the event before."""
  events: Decisions = []
  for seconds, word in decisions:
    if word != UNKNOWN and (not events or seconds - events[-1][0] >= refractory_s):
      events.append((seconds, word))
  return events


def measure(
  run: Run,
  samples: np.ndarray,
  words: list[Word],
  thetas: np.ndarray,
  *,
  refractory_s: float = 0.5,
  **options: Any,
) -> list[Score]:
  """Scores a run on a recording, at each threshold.

  Args:
    run: of speech.
    samples: `[n]` at 16 kHz.
    words: of the recording.
    thetas: `[K]`.
    refractory_s: as `make_spotter`.
    **options: of `find_decisions`.
  """
  keywords = [name for name in run.class_names if name != UNKNOWN]
  hours = len(samples) / SAMPLE_RATE / 3600
  return [
    score(keep_events(decisions, refractory_s), words, keywords, hours)
    for decisions in find_decisions(run, samples, thetas, **options)
  ]


def synthesize(
  run: Run,
  of: str,
  minutes: float,
  *,
  data: dict[str, Any],
  split: str = "test",
  gap_s: float = 1.0,
  snr_db: float | None = None,
  seed: int = 1,
  progress: bool = False,
) -> tuple[np.ndarray, list[Word]]:
  """Makes a recording.

  Args:
    run: whose classes are used.
    of: "keywords", "unknown" (the other words of the data), "all", or "sentences".
    minutes: its length.
    data: `dataset`, `data_dir` and `cache_dir` of `speech.load`.
    split: of the data set whose clips are joined.
    gap_s: mean gap between clips.
    snr_db: ratio of speech and noise; None adds no noise.
    seed: of everything random.
    progress: whether to show progress bars.

  Returns:
    Samples `[n]` float32 at 16 kHz, and the words in them; none are listed of sentences.

  Raises:
    ValueError: data that cannot be read, or that lacks such clips.
  """
  keywords = [name for name in run.class_names if name != UNKNOWN]
  rng = np.random.default_rng(seed)
  if of == "sentences":
    number = int(25 * minutes) + 5  # of 2.7 s on average
    said: dict[str, Any] = {
      "split": split,
      "utterances": number,
      "seed": seed,
      "progress": progress,
    }
    track = speech.open_other_speech(data["cache_dir"], "sentences", keywords, **said)
    samples = track[: int(60 * minutes * SAMPLE_RATE)].astype(np.float32) / 32768
    return add_noise(samples, snr_db, rng), []
  loaded = speech.load(keywords=keywords, progress=progress, **data)
  if loaded.class_names != run.class_names:
    raise ValueError(
      f"the data has the classes {', '.join(loaded.class_names)}, the run has "
      f"{', '.join(run.class_names)}; give the data that the run was trained on"
    )
  names = np.array(loaded.class_names)[getattr(loaded.splits, split).labels]
  wanted = {"keywords": names != UNKNOWN, "unknown": names == UNKNOWN, "all": names != ""}[of]
  index = np.flatnonzero(wanted)
  if not index.size:
    raise ValueError(f"the {split} split has no clip of --of={of}; choose another one")
  track, words = join_clips(
    lambda k: loaded.audio(split, int(index[k])),
    [str(name) for name in names[index]],
    minutes=minutes,
    gap_s=gap_s,
    rng=rng,
  )
  return add_noise(track, snr_db, rng), words


def read_words(path: str, seconds: float) -> list[Word]:
  """Reads labels of a recording: a line a word, start, end and name, separated by tabs.

  Raises:
    ValueError: the file cannot be read, or a line is no label of this recording.
  """
  try:
    lines = pathlib.Path(path).read_text().splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise ValueError(f"--labels={path} cannot be read: {error}") from error
  words = []
  for number, line in enumerate(lines, 1):
    if not line.strip() or line.startswith("#"):
      continue
    try:
      start, end, name = line.split("\t")[:3]
      words.append(Word(float(start), float(end), name.strip()))
    except ValueError as error:
      raise ValueError(
        f"line {number} of {path} is {line!r}; give start, end (in seconds) and word, with tabs"
      ) from error
  check_words(words, seconds, path)
  return words


def save_recording(path: str, samples: np.ndarray, words: list[Word]) -> None:
  """Writes a recording, and its labels beside it as `read_words` reads them.

  Args:
    path: of the recording; the labels have the ending .tsv.
    samples: `[n]` at 16 kHz.
    words: in it.

  Raises:
    ValueError: the files cannot be written.
  """
  lines = [f"{word.start:.3f}\t{word.end:.3f}\t{word.word}\n" for word in words]
  try:
    soundfile.write(path, samples, SAMPLE_RATE, subtype="PCM_16")
    pathlib.Path(path).with_suffix(".tsv").write_text("".join(lines))
  except (OSError, RuntimeError, TypeError, ValueError) as error:
    raise ValueError(f"--save={path} cannot be written: {error}") from error


def draw_curve(path: str, thetas: np.ndarray, scores: list[Score]) -> None:
  """Draws misses against false alarms an hour, with their upper bound.

  Raises:
    ValueError: matplotlib is missing, or the file cannot be written.
  """
  try:
    import matplotlib.pyplot as plt
  except ImportError as error:
    raise ValueError("--plot needs matplotlib: pip install matplotlib") from error
  figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
  rate, bound, misses = (
    np.array(values)
    for values in zip(
      *((s.per_hour, s.per_hour_bound, 100 * (1 - s.recall)) for s in scores), strict=True
    )
  )
  axes.errorbar(rate, misses, xerr=[np.zeros_like(rate), bound - rate], marker="o", markersize=3)
  for theta, x, y in zip(thetas, rate, misses, strict=True):
    axes.annotate(f"{theta:g}", (x, y), textcoords="offset points", xytext=(4, 4), fontsize=7)
  axes.set(
    xlabel="false alarms an hour, with 95 % upper bound", ylabel="keywords not said right, %"
  )
  axes.set_xscale("symlog", linthresh=1)
  axes.grid(alpha=0.3)
  try:
    figure.savefig(path, dpi=120)
  except (OSError, ValueError) as error:
    raise ValueError(f"--plot={path} cannot be written: {error}") from error


def main() -> int:
  """Measures and prints; returns the exit status."""
  given = _read_arguments()
  run = load_speech_run(given.run)
  thetas = np.unique([*THETAS, run.theta] if given.theta is None else [given.theta])
  if given.synthesize:
    data = {name: getattr(given, name) for name in ("dataset", "data_dir", "cache_dir")}
    options = {name: getattr(given, name) for name in ("split", "gap_s", "snr_db", "seed")}
    samples, words = synthesize(
      run, given.of, given.synthesize, data=data, progress=True, **options
    )
    if given.save:
      save_recording(given.save, samples, words)
  else:
    samples = np.concatenate(list(read_pieces(pathlib.Path(given.recording))))
    words = read_words(given.labels, len(samples) / SAMPLE_RATE) if given.labels else []
  options = {"refractory_s": given.refractory, "patience": given.patience}
  scores = measure(run, samples, words, thetas, timeout_s=given.timeout, progress=True, **options)
  print(f"{len(samples) / SAMPLE_RATE / 60:.1f} minutes, {scores[0].words} keywords")
  print("theta   right   wrong  repeated  false alarms/h (95 % bound)  after the end, s")
  for theta, one in zip(thetas, scores, strict=True):
    print(
      f"{theta:<6.4g} {100 * one.recall:5.1f} % {100 * one.wrong:5.1f} %"
      f"  {100 * one.repeated:5.1f} %  {one.per_hour:14.1f} ({one.per_hour_bound:.1f})"
      f" {one.delay_end_s:17.2f}"
    )
  if given.json:
    lines = [{"theta": float(t)} | s._asdict() for t, s in zip(thetas, scores, strict=True)]
    text = json.dumps(lines, indent=2).replace("NaN", "null")
    try:
      pathlib.Path(given.json).write_text(text + "\n")
    except OSError as error:
      raise ValueError(f"--json={given.json} cannot be written: {error.strerror}") from error
  if given.plot:
    draw_curve(given.plot, thetas, scores)
  return 0


def _read_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(
    prog="python -m deploy.measure", description=(__doc__ or "").partition("\n")[0]
  )
  add_run(parser)
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--recording", help="a recording of any rate")
  source.add_argument("--synthesize", type=float, metavar="MINUTES", help="make a recording")
  parser.add_argument("--labels", metavar="FILE.tsv", help="start, end and word; none: no keyword")
  parser.add_argument("--save", metavar="FILE.wav", help="keep a made recording, and its labels")
  parser.add_argument("--of", choices=KINDS, default="keywords", help="what a made one consists of")
  add_data(parser)
  parser.add_argument("--gap_s", type=float, default=1.0, help="mean gap between clips")
  parser.add_argument("--snr_db", type=float, help="add noise at this ratio; default: none")
  parser.add_argument("--seed", type=int, default=1)
  add_policy(parser)
  parser.add_argument("--json", metavar="FILE", help="the numbers")
  parser.add_argument("--plot", metavar="FILE.png", help="misses against false alarms an hour")
  return parser.parse_args()


if __name__ == "__main__":
  run_command(main)

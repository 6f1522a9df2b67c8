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
import tqdm

from data_pipelines.speech import SAMPLE_RATE, UNKNOWN, heard_ms
from deploy.commands import (
  add_data,
  add_policy,
  add_recording,
  add_run,
  load_pyplot,
  load_speech_run,
  run_command,
  with_arguments,
)
from deploy.front_end import make_front_end
from deploy.labels import Word
from deploy.long_recordings import open_recording, save_recording
from deploy.rule import is_refractory
from deploy.run_files import Run
from deploy.scoring import Score, score
from deploy.spotter import make_loop, run_in_blocks

THETAS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.999)
PIECE_S = 10

Decisions = list[tuple[float, str]]


def find_decisions(
  run: Run,
  samples: np.ndarray,
  thetas: np.ndarray,
  *,
  patience: int | None = None,
  timeout_s: float | None = None,
  progress: bool = False,
) -> list[Decisions]:
  """Lists the decisions of a spotter about a recording, for each of K thresholds at once.

  Args:
    run: of speech.
    samples: `[n]` at 16 kHz.
    thetas: `[K]`.
    patience: as `make_spotter`; None: the run's.
    timeout_s: as `make_spotter`.
    progress: whether to show a progress bar.

  Returns:
    For each threshold, seconds and class name of each decision, `unknown` and those within the
    refractory time included.
  """
  front_end = make_front_end(run.statistics["mean"], run.statistics["std"])
  patience = run.rule.patience if patience is None else patience
  loop = make_loop(run.classifier, run.params, patience=patience, timeout_s=timeout_s)
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
    since = seconds - events[-1][0] if events else np.inf
    if word != UNKNOWN and not is_refractory(since, refractory_s):
      events.append((seconds, word))
  return events


def measure(
  run: Run,
  samples: np.ndarray,
  words: list[Word],
  thetas: np.ndarray,
  *,
  refractory_s: float | None = None,
  **options: Any,
) -> list[Score]:
  """Scores a run on a recording, at each threshold.

  Args:
    run: of speech.
    samples: `[n]` at 16 kHz.
    words: of the recording.
    thetas: `[K]`.
    refractory_s: as `make_spotter`; None: the run's.
    **options: `patience`, `timeout_s` and `progress` of `find_decisions`.

  Returns:
    K scores, in the order of the thresholds.

  Raises:
    ValueError: a patience or a timeout out of range, or samples that are not finite.
  """
  keywords = [name for name in run.class_names if name != UNKNOWN]
  hours = len(samples) / SAMPLE_RATE / 3600
  refractory_s = run.rule.refractory_s if refractory_s is None else refractory_s
  return [
    score(keep_events(decisions, refractory_s), words, keywords, hours)
    for decisions in find_decisions(run, samples, thetas, **options)
  ]


def draw_curve(path: str, thetas: np.ndarray, scores: list[Score]) -> None:
  """Draws misses against false alarms an hour, with their upper bound.

  Raises:
    ValueError: matplotlib is missing, or the file cannot be written.
  """
  plt = load_pyplot()
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
  run = with_arguments(load_speech_run(given.run), given)
  rule = run.rule
  thetas = np.unique([*THETAS, rule.theta] if given.theta is None else [rule.theta])
  thetas = thetas[thetas > 1 / len(run.class_names)]
  if given.plot:
    load_pyplot()
  if given.save and given.recording:
    raise ValueError("--save keeps a made recording; leave it out, or give --synthesize")
  samples, words = open_recording(run, given)
  if given.plot and not any(
    word.word in run.class_names and word.word != UNKNOWN for word in words
  ):
    raise ValueError("--plot draws misses of keywords, and the recording has none; leave it out")
  if given.save:
    save_recording(given.save, samples, words)
  scores = measure(run, samples, words, thetas, timeout_s=given.timeout, progress=True)
  print(
    f"{len(samples) / SAMPLE_RATE / 60:.1f} minutes, {scores[0].words} keywords, patience "
    f"{rule.patience}, refractory time {rule.refractory_s:g} s, bias of unknown "
    f"{run.unknown_bias:g}"
  )
  print("theta   right   wrong  repeated  false alarms/h (95 % bound)  after the end, s")
  for theta, one in zip(thetas, scores, strict=True):
    right, wrong, repeated = (
      "      -" if np.isnan(share) else f"{100 * share:5.1f} %"
      for share in (one.recall, one.wrong, one.repeated)
    )
    delay = "-" if np.isnan(one.delay_end_s) else f"{one.delay_end_s:.2f}"
    rate = f"{one.per_hour:14.1f} ({one.per_hour_bound:.1f})"
    print(f"{theta:<6.4g} {right} {wrong}  {repeated}  {rate} {delay:>17}")
  if given.json:
    bias = {"unknown_bias": run.unknown_bias}
    lines = [
      {**rule._replace(theta=float(theta))._asdict(), **bias, **one.to_json()}
      for theta, one in zip(thetas, scores, strict=True)
    ]
    try:
      pathlib.Path(given.json).write_text(json.dumps(lines, indent=2) + "\n")
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
  add_recording(parser, of="keywords", seed=1)
  add_data(parser)
  parser.add_argument("--save", metavar="FILE.wav", help="keep a made recording, and its labels")
  add_policy(parser)
  parser.add_argument("--json", metavar="FILE", help="the numbers")
  parser.add_argument("--plot", metavar="FILE.png", help="misses against false alarms an hour")
  return parser.parse_args()


if __name__ == "__main__":
  run_command(main)

"""The picture of docs/early_exit.md: what the engine computes, and what that saves.

python -m benchmarks.early_exit --json > early_exit.jsonl
python -m benchmarks.picture early_exit.jsonl docs/early_exit.png
"""

import argparse
import json
import pathlib

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from benchmarks.shapes import spike_steps
from experiments.harness.figures import BLUE, COLUMN, GREY, PALETTE, RED, STYLE
from rc_jax import loop_widths

ROWS, STEPS, FRACTION = 128, 81, 0.3  # of the example on the left


def computed(spikes: np.ndarray, steps: int) -> np.ndarray:
  """`[B, T]` bool: the row-steps that a batch with these spike steps costs."""
  done = np.zeros((len(spikes), steps), bool)
  done[:, 0] = True
  rows, widths, t = np.arange(len(spikes)), loop_widths(len(spikes), steps), 1
  for floor in [*widths[1:], 0]:
    while (spikes[rows] >= t).sum() > floor:
      done[rows, t] = True
      t += 1
    rows = rows[np.argsort(spikes[rows] < t, kind="stable")][:floor]
  return done


def draw_example(axes: Axes) -> None:
  """Rows sorted by spike step: needed, computed in vain, skipped."""
  spikes = np.sort(spike_steps(np.random.default_rng(0), ROWS, STEPS, FRACTION))[::-1]
  done = computed(spikes, STEPS)
  needed = np.arange(STEPS) <= spikes[:, None]
  assert not (needed & ~done).any()
  colours = np.ones((*done.shape, 3))
  for which, colour in ((done, "#CCCCCC"), (needed, BLUE)):
    colours[which] = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
  axes.imshow(colours, aspect="auto", origin="lower", extent=(0.5, STEPS + 0.5, 0, ROWS))
  axes.plot(spikes + 1, np.arange(ROWS) + 0.5, color=RED, linewidth=1)
  axes.set_xlabel("step")
  axes.set_ylabel("row of the batch, sorted")
  axes.set_title(f"needed {needed.mean():.0%}, computed {done.mean():.0%} of all")
  axes.text(0.97, 0.95, "skipped", transform=axes.transAxes, ha="right", va="top", color="black")


def draw_ratios(axes: Axes, lines: list[dict]) -> None:
  """Time of a gradient step over the full scan's, against f."""
  lines = [line for line in lines if line["pass"] == "gradient"]
  names = sorted({line["shape"] for line in lines})
  for name, colour in zip(names, PALETTE, strict=False):
    for rows, style in ((128, "-"), (512, ":")):
      points = [(r["f"], r["ratio"]) for r in lines if (r["shape"], r["batch"]) == (name, rows)]
      if points:
        axes.plot(*zip(*points, strict=True), style, color=colour, marker=".", markersize=4,
                  label=name.replace("_", " ") if rows == 128 else None)  # fmt: skip
  axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
  axes.annotate("time = f", (0.84, 0.88), color=GREY, fontsize=7, rotation=38, ha="right")
  axes.set_xlabel("f: mean share of the steps up to the spike")
  axes.set_ylabel("time / full scan")
  axes.set_xlim(0, 1.02)
  axes.set_ylim(0, None)
  axes.legend(loc="upper left", bbox_to_anchor=(-0.02, 1.02), title="B = 128 (dotted: 512)",
              title_fontsize=7)  # fmt: skip


def main() -> None:
  """Draws."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("results", type=pathlib.Path, help="JSON lines of benchmarks.early_exit")
  parser.add_argument("output", type=pathlib.Path)
  flags = parser.parse_args()
  lines = [json.loads(line) for line in flags.results.read_text().splitlines()]
  with plt.rc_context(STYLE):
    figure, (left, right) = plt.subplots(1, 2, figsize=(2 * COLUMN, 2.6))
    draw_example(left)
    draw_ratios(right, lines)
    figure.tight_layout(w_pad=2)
    figure.savefig(flags.output)


if __name__ == "__main__":
  main()

"""The pictures of a run, drawn from its files alone; its result says what the axes measure."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness.examples import read_examples

# Okabe and Ito's palette: told apart by colour-blind readers.
BLUE, ORANGE, GREEN, RED, SKY, PINK, YELLOW = (
  "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#B8A800",
)  # fmt: skip
PALETTE = (BLUE, ORANGE, GREEN, RED, SKY, PINK, YELLOW)
GREY = "#999999"
COLUMN = 3.4  # inches

STYLE: Any = {
  "font.size": 8,
  "axes.titlesize": 8,
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.linewidth": 0.6,
  "legend.frameon": False,
  "legend.fontsize": 7,
  "lines.linewidth": 1.2,
  "text.parse_math": False,  # a class may be called $x$
  "figure.dpi": 200,
  "savefig.bbox": "tight",
}

Result = dict[str, Any]


def draw_all(
  folder: pathlib.Path, result: Result, metrics: list[Result], theta: float
) -> list[str]:
  """Draws every picture that the files allow into `folder/figures`, which must be there.

  Args:
    folder: of the run.
    result: its result, as `read_result` gives it.
    metrics: lines of its metrics.jsonl.
    theta: threshold of the run.

  Returns:
    Names of the pictures, in the order of the report.
  """
  path = folder / "examples.npz"
  pictures: dict[str, Callable[[], Figure]] = {}
  if metrics:  # the file may have been lost
    pictures["training"] = lambda: draw_training(result, metrics)
  if result["num_steps"] > 1:  # else there is no time to choose
    pictures["spike_steps"] = lambda: draw_spike_steps(result)
    pictures["frontier"] = lambda: draw_frontier(result, theta)
  if any(line.get("update_ms") for line in metrics):
    pictures["cost"] = lambda: draw_cost(metrics)
  if path.exists():
    examples = read_examples(path)
    draw = draw_spoken_words if "log_mel" in examples else draw_example_sequences
    pictures["examples"] = lambda: draw(result, examples)
  with plt.rc_context(STYLE):
    for name, picture in pictures.items():
      figure = picture()
      figure.savefig(folder / "figures" / f"{name}.png")
      plt.close(figure)
  return list(pictures)


def draw_training(result: Result, metrics: list[Result]) -> Figure:
  """Draws validation accuracy and mean spike step over the training (Fig. 4)."""
  figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(COLUMN, 3.2))
  key, unit, label = _choose_time_axis(metrics)
  x = [line[key] / unit for line in metrics]
  get = lambda name: [line[name] for line in metrics]
  top.plot(x, get("eos_accuracy"), color=GREY, label="read at the end")
  top.plot(x, get("rc_accuracy"), color=BLUE, label="at the first spike")
  chosen = result["chosen_at"][key] / unit
  for axes in (top, bottom):
    axes.axvline(chosen, color=GREY, linewidth=0.6, linestyle=":")
  top.set_ylabel("validation accuracy")
  low = min(np.quantile(get("rc_accuracy"), 0.1), np.quantile(get("eos_accuracy"), 0.1))
  top.set_ylim(max(0.0, low - 0.05), 1.005)
  _put_legend_above(top)
  bottom.plot(x, get("mean_spike_step"), color=BLUE)
  bottom.set_ylim(0, result["num_steps"] * 1.03)
  bottom.set_ylabel("mean spike step")
  bottom.set_xlabel(f"{label} (dotted: the checkpoint chosen)")
  figure.align_ylabels()
  return figure


def draw_cost(metrics: list[Result]) -> Figure:
  """Draws what an update computes, and the milliseconds it takes, over the training."""
  figure, (top, bottom) = plt.subplots(2, 1, sharex=True, figsize=(COLUMN, 2.6))
  key, unit, label = _choose_time_axis(metrics)
  lines = [line for line in metrics if line.get("update_ms")]
  x = [line[key] / unit for line in lines]
  top.plot(x, [line["computed_fraction"] for line in lines], color=BLUE)
  top.set_ylim(0, 1.05)
  top.set_ylabel("computed share")
  bottom.plot(x, [line["update_ms"] for line in lines], color=BLUE)
  bottom.set_ylim(bottom=0)
  bottom.set_ylabel("ms an update")
  bottom.set_xlabel(label)
  figure.align_ylabels()
  return figure


def draw_spike_steps(result: Result) -> Figure:
  """Draws a histogram of the test split's spike steps, by true class where there are two."""
  counts = np.asarray(result["spike_steps"])
  silent = np.asarray(result["silent_steps"])
  x = np.arange(1, counts.shape[1] + 1)
  figure, axes = plt.subplots(figsize=(COLUMN, 2.0))
  if len(counts) == 2:
    rows = list(zip(counts, result["class_names"], (ORANGE, BLUE), strict=True))
  else:
    rows = [(counts.sum(0), "spike", BLUE)]
  bottom = np.zeros(counts.shape[1])
  for row, name, colour in [*rows, (silent, "no spike", GREY)]:
    axes.bar(x, row, bottom=bottom, color=colour, width=0.9, label=name)
    bottom += row
  _put_legend_above(axes, columns=3)
  mean = result["mean_spike_step"]
  axes.axvline(mean, color="black", linewidth=0.8, linestyle="--")
  axes.annotate(
    f" mean {mean:.1f}", (mean, axes.get_ylim()[1]), va="top", fontsize=7,
    ha="left" if mean < 0.7 * counts.shape[1] else "right",
  )  # fmt: skip
  axes.set_xlim(0.4, counts.shape[1] + 0.6)
  axes.set_xlabel("first spike, steps seen" + _describe_steps(result))
  axes.set_ylabel("test examples")
  return figure


def draw_frontier(result: Result, theta: float) -> Figure:
  """Draws accuracy against mean spike step over theta (Fig. 5)."""
  curve = {k: np.asarray(v) for k, v in result["frontier"].items()}
  figure, axes = plt.subplots(figsize=(COLUMN, 2.3))
  axes.axhline(result["eos_accuracy"], color=GREY, linewidth=0.8, label="read at the end")
  axes.plot(curve["mean_spike_step"], curve["accuracy"], color=BLUE, label="at the first spike")
  axes.plot(
    result["mean_spike_step"], result["rc_accuracy"], "o", color=RED, markersize=4,
    label=f"theta = {theta:g}", zorder=3,
  )  # fmt: skip
  for value in (0.5, 0.7, 0.9, 0.99, 0.999):
    if abs(value - theta) < 0.02 or value < curve["theta"].min():
      continue
    x = np.interp(value, curve["theta"], curve["mean_spike_step"])
    y = np.interp(value, curve["theta"], curve["accuracy"])
    axes.plot(x, y, ".", color=BLUE, markersize=4)
    axes.annotate(f"{value:g}", (x, y), textcoords="offset points", xytext=(3, -8), fontsize=6)
  axes.set_xlabel("mean spike step" + _describe_steps(result))
  axes.set_ylabel("test accuracy")
  _put_legend_above(axes, columns=3)
  return figure


def draw_example_sequences(result: Result, examples: Result, most: int = 4) -> Figure:
  """Draws sequences above, class probabilities with threshold and spike below (Fig. 1 A-D)."""
  number = min(most, len(examples["labels"]))
  figure, grid = plt.subplots(
    2, number, sharex=True, squeeze=False, figsize=(1.75 * number, 2.6),
    gridspec_kw={"height_ratios": [1, 1.3]},
  )  # fmt: skip
  for i in range(number):
    top, bottom = grid[:, i]
    inputs = examples["inputs"][i][: int(examples["lengths"][i])]
    _draw_input(top, inputs, result["axes"]["image_shape"])
    _draw_probabilities(bottom, result, examples, i)
    top.set_title(f"truth: {result['class_names'][examples['labels'][i]]}")
    bottom.set_xlabel("step")
    if i:
      bottom.set_yticklabels([])
  grid[0, 0].set_ylabel("input")
  grid[1, 0].set_ylabel("class probability")
  figure.tight_layout(pad=0.5)
  return figure


def draw_spoken_words(result: Result, examples: Result, most: int = 3) -> Figure:
  """Draws waveform, log-mel spectrogram and class probabilities, with the moment of decision."""
  number = min(most, len(examples["labels"]))
  figure, grid = plt.subplots(
    3, number, sharex=True, squeeze=False, figsize=(2.3 * number, 3.6),
    gridspec_kw={"height_ratios": [0.7, 1, 1.2]},
  )  # fmt: skip
  axes_of, step_s = result["axes"], result["step_ms"] / 1000
  heard = axes_of["first_heard_s"] + np.arange(result["num_steps"]) * step_s
  for i in range(number):
    wave, mel, below = grid[:, i]
    audio = examples["waveform"][i]
    times = np.arange(len(audio)) / axes_of["sample_rate"]
    wave.plot(times, audio, color="black", linewidth=0.3)
    wave.set_yticks([])
    wave.set_title(f"truth: {result['class_names'][examples['labels'][i]]}")
    frames = examples["log_mel"][i]
    mel.imshow(
      frames.T, origin="lower", aspect="auto", cmap="magma",
      extent=(0, len(frames) * step_s, 0, frames.shape[1]),
    )  # fmt: skip
    # A step is decided once its last frame is heard: draw it at that moment.
    spike = _draw_probabilities(below, result, examples, i, heard)
    for axes in (wave, mel):
      axes.axvline(heard[spike], color=RED, linewidth=1)
    below.set_xlabel("heard, seconds")
    below.set_xlim(0, 1.02 * axes_of["clip_s"])
    below.set_xticks([0, axes_of["clip_s"] / 2, axes_of["clip_s"]])
    if i:
      below.set_yticklabels([])
      mel.set_yticks([])
  grid[0, 0].set_ylabel("waveform")
  grid[1, 0].set_ylabel("mel band")
  grid[2, 0].set_ylabel("class probability")
  figure.tight_layout(pad=0.5)
  return figure


def _draw_input(axes: Axes, inputs: np.ndarray, image_shape: Sequence[int] | None) -> None:
  """Draws one sequence `[T, ...]`: a line, spikes, an image that spikes in time, or features."""
  steps = len(inputs)
  x = np.arange(1, steps + 1)
  if inputs.ndim == 2 and inputs.shape[1] == 1:
    values = inputs[:, 0]
    if np.isin(values, (0, 1)).all():
      axes.bar(x, values, width=0.9, color="black")
      axes.set_yticks([])
    else:
      axes.axhline(0, color=GREY, linewidth=0.5)
      axes.plot(x, values, ".-", color="black", markersize=2, linewidth=0.5)
  elif image_shape is not None and inputs[0].size == np.prod(image_shape):
    # Spikes in time on an image: the earlier, the darker.
    image = sum((steps - t) * inputs[t].reshape(image_shape) for t in range(steps))
    axes.imshow(image, cmap="Greys", extent=(1, steps, 0, 1), aspect="auto")
    axes.set_yticks([])
  else:
    features = inputs.reshape(steps, -1)
    axes.imshow(
      features.T, origin="lower", aspect="auto", cmap="magma", extent=(0.5, steps + 0.5, 0, 1)
    )
    axes.set_yticks([])


def _draw_probabilities(
  axes: Axes, result: Result, examples: Result, i: int, x: np.ndarray | None = None
) -> int:
  """Draws the classes that matter, solid up to the spike, faint after it, over `x` `[T]`.

  Returns:
    The zero-based step of the spike, or the sequence's last where there is none.
  """
  probabilities = examples["probabilities"][i]
  theta, length = float(examples["theta"]), int(examples["lengths"][i])
  crossed = np.flatnonzero(probabilities[:length].max(1) >= theta)
  spike = int(crossed[0]) if crossed.size else length - 1
  x = np.arange(1, len(probabilities) + 1) if x is None else x
  x, probabilities = x[:length], probabilities[:length]
  shown = sorted({int(examples["labels"][i]), *np.argsort(probabilities[: spike + 1].max(0))[-3:]})
  for c in shown:
    colour = PALETTE[c % len(PALETTE)]
    axes.plot(x, probabilities[:, c], color=colour, alpha=0.25)
    axes.plot(x[: spike + 1], probabilities[: spike + 1, c], color=colour,
              label=result["class_names"][c])  # fmt: skip
  axes.axhline(theta, color="black", linewidth=0.6, linestyle="--")
  axes.plot(x[spike], probabilities[spike].max(), "v" if crossed.size else "x", color=RED,
            markersize=5, zorder=3)  # fmt: skip
  axes.set_ylim(-0.03, 1.08)
  if examples["inputs"].shape[1] <= 12:
    axes.set_xticks(range(1, examples["inputs"].shape[1] + 1, 3))
  axes.legend(
    loc="upper center", bbox_to_anchor=(0.5, -0.42), ncols=2,
    handlelength=0.8, borderpad=0, labelspacing=0.2, columnspacing=0.8,
  )  # fmt: skip
  return spike


def _choose_time_axis(metrics: list[Result]) -> tuple[str, float, str]:
  """Says how to show how far training is: key of a line, its unit, and label of the axis."""
  if "epoch" in metrics[0]:
    return "epoch", 1.0, "epoch"
  return "examples", 1e6, "million training examples"


def _put_legend_above(axes: Axes, columns: int = 2) -> None:
  """Draws a legend above the axes, where it covers no data."""
  axes.legend(
    loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=columns, handlelength=1.2,
    borderpad=0.1, columnspacing=1,
  )  # fmt: skip


def _describe_steps(result: Result) -> str:
  """Says in an axis's label how many steps there are, and how long one is."""
  return f" (of {result['num_steps']})" + (
    f", {result['step_ms']:g} ms each" if result["step_ms"] else ""
  )

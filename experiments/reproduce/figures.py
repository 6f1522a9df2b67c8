"""Figures 1 to 5 of the paper, drawn from the files of our runs."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from data_pipelines import spotting
from experiments.harness.figures import BLUE, GREEN, GREY, ORANGE, RED, STYLE
from experiments.reproduce.results import Done, Runs
from experiments.reproduce.runs import pick_speech_runs

SIGN = ListedColormap([RED, "#EEEEEE", BLUE])  # negative, none, positive
SHOWN = 14  # sequences a label in Fig. 1


def draw(runs: Runs) -> dict[str, Figure]:
  """Draws every figure whose runs are there, and returns them by name; the caller closes them.

  Args:
    runs: `read_finished(folder)`.
  """
  figures: dict[str, tuple[Callable[[Runs], Figure], tuple[str, ...]]] = {
    "figure_1": (_draw_spotting, ("spotting", "spotting-eos")),
    "figure_2": (_draw_two_sequence, ("two_sequence", "two_sequence-eos")),
    "figure_3": (_draw_mnist, ("mnist-lstm", "mnist-lstm-switch")),
    "figure_4": (_draw_speech_training, ("speech", "speech-eos")),
    "figure_5": (_draw_speech_curves, ("speech", "speech-eos")),
  }
  with plt.rc_context(STYLE):
    return {
      name: picture(runs)
      for name, (picture, needed) in figures.items()
      if all(run in runs for run in needed)
    }


def _draw_spotting(runs: Runs) -> Figure:
  """Draws Fig. 1: inputs, labels, spikes and activations of both trainings."""
  rc, eos = runs["spotting"][0].examples, runs["spotting-eos"][0].examples
  figure, grid = plt.subplots(
    2, 4, figsize=(7.0, 4.6), sharey=True, gridspec_kw={"width_ratios": [5, 0.5, 5, 5]}
  )
  for (inputs, labels, spikes, activations), examples, letters in (
    (grid[0], rc, "ABCD"),
    (grid[1], eos, " EFG"),
  ):
    earliest = np.asarray(spotting.earliest_step(jnp.asarray(examples["inputs"])))
    order = np.lexsort((earliest, -examples["labels"]))
    order = np.concatenate([order[examples["labels"][order] == y][:SHOWN] for y in (1, 0)])
    positive = examples["probabilities"][order, :, 1]
    crossed = _find_crossings(positive, float(examples["theta"]))
    after = np.cumsum(np.cumsum(crossed != 0, 1), 1) > 1  # the first spike itself is shown
    if examples is rc:
      crossed, positive = np.where(after, 0, crossed), np.where(after, np.nan, positive)
    _draw_raster(inputs, examples["inputs"][order, :, 0], "Greys", 0, 1.6)
    for row in np.flatnonzero(examples["labels"][order] == 1):
      end = earliest[order][row]
      first = end - spotting.RUN + 1.5  # left edge of the run's first step; steps count from 1
      inputs.add_patch(Rectangle((first, row - 0.5), spotting.RUN, 1, fill=False, linewidth=0.9))
    sides = 2 * examples["labels"][order][:, None] - 1
    _draw_raster(labels, sides, SIGN, -1, 1)
    _draw_raster(spikes, crossed, SIGN, -1, 1)
    _draw_raster(activations, 2 * positive - 1, "RdBu", -1, 1)
    labels.set_xticks([])
    texts = ("input", "", "first spike" if examples is rc else "spikes", "activation")
    for axes, letter, text in zip(
      (inputs, labels, spikes, activations), letters, texts, strict=True
    ):
      axes.set_title(f"{letter}  {text}".strip(), loc="left")
    inputs.set_ylabel("RC-trained" if examples is rc else "trained at the end")
  for axes in grid[1, (0, 2, 3)]:
    axes.set_xlabel("step")
  figure.tight_layout(pad=0.4)
  return figure


def _find_crossings(positive: np.ndarray, theta: float) -> np.ndarray:
  """Returns 1 where a positive output reaches theta, -1 where a negative one does, else 0."""
  return np.where(positive >= theta, 1, np.where(1 - positive >= theta, -1, 0))


def _draw_raster(axes: Axes, values: np.ndarray, colours: Any, low: float, high: float) -> None:
  """Draws values `[rows, T]` as an image whose columns are steps, counted from 1."""
  extent = (0.5, values.shape[1] + 0.5, len(values) - 0.5, -0.5)
  axes.imshow(
    values, cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest", extent=extent
  )
  axes.set_yticks([])


def _draw_two_sequence(runs: Runs) -> Figure:
  """Draws Fig. 2: inputs, and when each training makes the network spike."""
  figure, (left, right) = plt.subplots(
    1, 2, figsize=(7.0, 2.5), gridspec_kw={"width_ratios": [1, 1.4]}
  )
  examples = runs["two_sequence"][-1].examples
  steps = np.arange(1, examples["inputs"].shape[1] + 1)
  for label, colour in ((1, BLUE), (0, RED)):
    of_label = examples["inputs"][examples["labels"] == label][:2, :, 0]
    for values, style in zip(of_label, (".-", ".:"), strict=False):
      left.plot(steps, values, style, color=colour, markersize=3, linewidth=0.5)
    left.axhline(0.05 if label else -0.05, color=colour, linewidth=0.6, linestyle="--")
  left.set_title("A  inputs and their means", loc="left")
  left.set_xlabel("step")
  for name, colour, training in (
    ("two_sequence", BLUE, "RC-trained"),
    ("two_sequence-eos", GREEN, "trained at the end"),
  ):
    lines = runs[name][-1].metrics
    x = np.asarray([line["examples"] / 1e6 for line in lines])
    low, lower, median, upper, high = np.asarray([line["spike_step_quantiles"] for line in lines]).T
    right.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    right.fill_between(x, lower, upper, color=colour, alpha=0.25, linewidth=0)
    right.plot(x, median, color=colour, label=training, linewidth=1)
  right.set_title("B  spike step: median, half, nine tenths", loc="left")
  right.set_xlabel("million training examples")
  right.set_ylim(0, len(steps) + 1)
  right.legend(loc="upper right", ncols=2, bbox_to_anchor=(1, 0.98))
  figure.tight_layout(pad=0.4)
  return figure


def _draw_mnist(runs: Runs) -> Figure:
  """Draws Fig. 3: the code of an image, a fast training, and the switch of regimes."""
  figure = plt.figure(figsize=(7.0, 3.6))
  grid = figure.add_gridspec(3, 2, height_ratios=[1, 1.2, 1], hspace=0.5)
  done = runs["mnist-lstm"][0]
  frames = done.examples["inputs"][3].reshape(-1, *done.result["axes"]["image_shape"])
  strip = np.concatenate([np.pad(frame, 1, constant_values=0.5) for frame in frames], 1)
  top = figure.add_subplot(grid[0, :])
  top.imshow(strip, cmap="Greys")
  steps, width = len(frames), frames.shape[2] + 2  # of a padded frame
  top.set_xticks(width * (np.arange(steps) + 0.5), [str(step + 1) for step in range(steps)])
  top.set_yticks([])
  top.set_title("A  one image: each pixel spikes once, ink first (step)", loc="left")
  switch = [
    (name, runs[name][0]) for name in ("mnist-lstm-switch", "mnist-conv-10-switch") if name in runs
  ]
  for column, title, lines in (
    (0, "B  fast: LSTM-340", [("mnist-lstm", done) for done in runs["mnist-lstm"]]),
    (1, "C  beta falls at the dotted line", switch),
  ):
    accuracy = figure.add_subplot(grid[1, column])
    step = figure.add_subplot(grid[2, column], sharex=accuracy)
    for name, done in lines:
      colour = ORANGE if "conv" in name else BLUE
      x = [line["epoch"] for line in done.metrics]
      accuracy.plot(x, [100 * line["rc_accuracy"] for line in done.metrics], color=colour)
      label = "ConvLSTM-10" if "conv" in name else "LSTM-340"
      step.plot(x, [line["mean_spike_step"] for line in done.metrics], color=colour, label=label)
      if column:
        for axes in (accuracy, step):
          axes.axvline(_read_switch(done), color=colour, linestyle=":", linewidth=0.8)
    values = [100 * line["rc_accuracy"] for _, done in lines for line in done.metrics]
    accuracy.set_ylim(max(np.quantile(values, 0.2) - 1, 0), 100)
    accuracy.set_title(title, loc="left")
    accuracy.tick_params(labelbottom=False)
    step.axhline(1.5, color=GREY, linewidth=0.6)
    step.set_ylim(0.8, 10.2)
    step.set_xlabel("epoch")
    accuracy.set_ylabel("valid. %")
    step.set_ylabel("mean step")
    if len({name for name, _ in lines}) > 1:
      step.legend(loc="upper right", bbox_to_anchor=(1.02, 1.2))
  return figure


def _read_switch(done: Done) -> float:
  """Returns the epoch at which a run's beta changes."""
  return float(done.config["flags"]["beta"].split(",")[1].split(":")[0])


def _pick_shades(colours: str, members: list[tuple[float, Done]]) -> list[Any]:
  """Returns a colour a member, the darker the later it comes."""
  return list(plt.get_cmap(colours)(np.linspace(0.35, 1, len(members))))


def _pick_first_seeds(runs: Runs) -> list[list[tuple[float, Done]]]:
  """Picks of RC and of eos the first seed of each beta."""
  return [[(beta, of[0]) for beta, of in members] for members in pick_speech_runs(runs).values()]


def _draw_speech_training(runs: Runs) -> Figure:
  """Draws Fig. 4: validation accuracy and spike time while training, over beta."""
  rc, eos = _pick_first_seeds(runs)
  figure, grid = plt.subplots(2, 2, figsize=(7.0, 4.2), sharex=True, sharey="row")
  for column, members, colours in ((0, rc, "Blues"), (1, eos, "Greens")):
    top, bottom = grid[:, column]
    for (beta, done), colour in zip(members, _pick_shades(colours, members), strict=True):
      x = [line["epoch"] for line in done.metrics]
      top.plot(x, [100 * m["rc_accuracy"] for m in done.metrics], color=colour, linewidth=0.9)
      bottom.plot(
        x, [m["mean_spike_step"] for m in done.metrics], color=colour, label=f"{beta:g}",
        linewidth=0.9,
      )  # fmt: skip
    kind = "RC-trained" if column == 0 else "trained at the end"
    top.set_title(f"{'AB'[column]}  {kind}: accuracy", loc="left")
    bottom.set_title(f"{'CD'[column]}  {kind}: spike step", loc="left")
    bottom.set_xlabel("epoch")
    bottom.legend(title="beta", ncols=3, loc="lower left", title_fontsize=7)
  baseline = eos[0][1].metrics
  x = [line["epoch"] for line in baseline]
  light = plt.get_cmap("Greens")(0.5)
  grid[0, 0].plot(
    x, [100 * m["rc_accuracy"] for m in baseline], color=light, label="eos, at the first spike"
  )
  grid[0, 0].plot(
    x,
    [100 * m["eos_accuracy"] for m in baseline],
    color=RED,
    label="eos, at the end",
    linewidth=0.9,
  )
  grid[1, 0].plot(x, [m["mean_spike_step"] for m in baseline], color=light)
  grid[0, 0].legend(loc="lower right")
  finals = [m["rc_accuracy"] for _, done in rc + eos for m in done.metrics]
  grid[0, 0].set_ylim(max(100 * np.quantile(finals, 0.08), 0), 100 * max(finals) + 1)
  grid[1, 0].set_ylim(0, 1.03 * rc[0][1].result["num_steps"])
  grid[0, 0].set_ylabel("validation accuracy, %")
  grid[1, 0].set_ylabel("mean spike step")
  figure.tight_layout(pad=0.4)
  return figure


def _draw_speech_curves(runs: Runs) -> Figure:
  """Draws Fig. 5: test accuracy against mean spike step over theta, and over beta at one theta."""
  rc, eos = _pick_first_seeds(runs)
  figure, axes = plt.subplots(1, 2, figsize=(7.0, 2.8), sharex=True, sharey=True)
  for column, members, colours in ((0, rc, "Blues"), (1, eos, "Greens")):
    for (beta, done), colour in zip(members, _pick_shades(colours, members), strict=True):
      curve = done.result["frontier"]
      axes[column].plot(
        curve["mean_spike_step"], 100 * np.asarray(curve["accuracy"]), color=colour,
        label=f"{beta:g}", linewidth=0.9,
      )  # fmt: skip
    at_theta = [(d.result["mean_spike_step"], 100 * d.result["rc_accuracy"]) for _, d in members]
    axes[column].plot(*zip(*sorted(at_theta), strict=True), "o-", color=RED, markersize=3)
    kind = "RC-trained" if column == 0 else "trained at the end"
    axes[column].set_title(f"{'AB'[column]}  {kind}", loc="left")
    axes[column].set_xlabel(f"mean spike step, {rc[0][1].result['step_ms']:g} ms each")
    axes[column].legend(title="beta", loc="lower right", title_fontsize=7)
  best = max(done.result["rc_accuracy"] for _, done in rc + eos)
  axes[0].set_ylim(max(0, 100 * best - 25), 100 * best + 2)
  axes[0].set_xlim(left=20)
  axes[0].set_ylabel("test accuracy, %")
  figure.tight_layout(pad=0.4)
  return figure

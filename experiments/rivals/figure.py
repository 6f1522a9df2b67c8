"""The figure of a comparison: accuracy against mean time, one panel a data set."""

import math
import pathlib

import matplotlib.pyplot as plt
import numpy as np

from experiments.harness.figures import STYLE
from experiments.rivals.curves import Curve, read_at
from experiments.rivals.methods import Method

MOST_COLUMNS = 4
CAPTION = """Test accuracy that is reached within a mean share of the steps; the line is the mean
over seeds, the band from the lowest to the highest. Black: the optimum, where it is known."""


def draw(
  found: dict[str, list[Method]], optima: dict[str, Curve | None], path: pathlib.Path
) -> None:
  """Draws the curves of each data set into a file.

  Args:
    found: the methods of each data set.
    optima: of each data set, or None.
    path: of the picture.
  """
  with plt.rc_context(STYLE):
    columns = min(len(found), MOST_COLUMNS)
    rows = math.ceil(len(found) / columns)
    figure, panels = plt.subplots(
      rows, columns, figsize=(4.2 * columns, 4.2 * rows), squeeze=False, layout="constrained"
    )
    for axes in panels.flat[len(found) :]:
      axes.remove()
    panels = panels.flat[: len(found)]
    colours = plt.get_cmap("tab20")
    labels = list(dict.fromkeys(m.label for methods in found.values() for m in methods))
    for axes, (dataset, methods) in zip(panels, found.items(), strict=True):
      for method in methods:
        first = min(float(np.min(curve.time)) for curve in method.curves)
        grid = np.linspace(first, 1, 200)
        seeds = np.asarray([100 * read_at(curve, grid, 0.0) for curve in method.curves])
        colour = colours(labels.index(method.label) % 20)
        axes.fill_between(grid, seeds.min(0), seeds.max(0), color=colour, alpha=0.2, linewidth=0)
        wide = 2.0 if method.label.startswith("rank coding") else 1.0
        axes.plot(grid, seeds.mean(0), color=colour, linewidth=wide, label=method.label)
      if (optimum := optima[dataset]) is not None:
        axes.plot(optimum.time, 100 * optimum.accuracy, "k--", linewidth=0.8, label="optimum")
      axes.set_title(dataset, loc="left")
      axes.set_xlabel("mean share of the steps seen")
      if axes.get_subplotspec().is_first_col():
        axes.set_ylabel("test accuracy, %")
    handles = {
      label: handle
      for axes in panels
      for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=6)
    figure.savefig(path, dpi=150)
    plt.close(figure)

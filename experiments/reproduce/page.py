"""The report of a reproduction: report.md, and report.html that holds its pictures in itself."""

import base64
import pathlib
import re
from collections.abc import Iterable
from typing import Any

import markdown
import matplotlib.pyplot as plt

from experiments.reproduce import figures, rows
from experiments.reproduce.runs import Runs, command, finished
from experiments.workdir import write_text

INTRODUCTION = """# The paper's numbers and figures, and ours

Test data; mean ± standard deviation over seeds. No seed was chosen: the best one only shows the
spread, row by row. "theta for a mean step" reads the curve of test accuracy over theta there.
Which checkpoint is read, the best on validation or the last, stands with each run below.
Ceilings: of spotting and of 2-sequence an ideal observer, exact; of temporal MNIST a convolutional
network that sees all pixels so far, at the same mean step; of speech one that hears the whole clip.
Rows "ours" have what the paper leaves out (augmentation and so on), in the commands below."""

CAPTIONS = {
  "figure_1": "Figure 1. Spotting. A: inputs, with the first run of five equal steps in a frame. "
  "B, E: labels, blue positive. C: first spikes of the RC-trained network, D: its activations up "
  "to them. F, G: spikes and activations of the network trained at the end, which goes on after "
  "its first spike.",
  "figure_2": "Figure 2. 2-sequence. A: inputs. B: spike steps on validation data while training.",
  "figure_3": "Figure 3. Temporal MNIST. A: an image. B: a fast training, each seed a line. C: a "
  "large beta, then a small one (ConvLSTM-10: slow, shifted images). Below the grey line is fast.",
  "figure_4": "Figure 4. Speech, validation data while training, over beta. Left also the network "
  "trained at the end with beta = 0, at its first spike and read at the end.",
  "figure_5": "Figure 5. Speech, test data: each blue or green curve is one network over theta; "
  "red: theta = .95 over beta, the composite.",
}
NOT_RUN = """## Not run here

The paper's own speech data need a download of 2.4 GB: 11 classes with
`python -m experiments.speech --beta=0.2`, all 35 words with `--keywords=all`. The switch of regimes
of ConvLSTM-20: `python -m experiments.temporal_mnist --model=conv_lstm --units=20
--beta=0.5,30:0.165`."""

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}
td,th{border-bottom:1px solid #ddd;padding:.25em .6em;text-align:left}
img{max-width:100%}code{background:#f4f4f4;overflow-wrap:anywhere}"""


def write(folder: pathlib.Path) -> str:
  """Draws the figures and writes report.md and report.html into the folder of the runs.

  Args:
    folder: `WORKDIR/BUDGET`, with a finished run in `RUN/SEED`.

  Returns:
    The report as Markdown.
  """
  runs = finished(folder)
  pictures = figures.draw(runs)
  (folder / "figures").mkdir(parents=True, exist_ok=True)
  for name, figure in pictures.items():
    figure.savefig(folder / "figures" / f"{name}.png", bbox_inches="tight", dpi=150)
    plt.close(figure)
  text = _text(runs, list(pictures))
  write_text(folder / "report.md", text)
  write_text(folder / "report.html", _html(text, folder))
  return text


def _text(runs: Runs, pictures: list[str]) -> str:
  parts = [INTRODUCTION, _table(rows.COLUMNS, rows.table(runs))]
  for name in pictures:
    parts += [f"![{name}](figures/{name}.png)", CAPTIONS[name]]
  if curves := rows.speech_curves(runs):
    title = "## Speech: test accuracy where theta makes the mean step"
    parts += [title, _table(rows.CURVE_COLUMNS, curves)]
  parts += ["## Each run", _table(rows.RUN_COLUMNS, rows.each_run(runs)), _circumstances(runs)]
  commands = [(name, f"`python -m experiments.{_command(name, runs)}`") for name in runs]
  parts += [
    "## Commands",
    "But for `--seed`, `--workdir` and `--data_dir`, the folder of the data.",
  ]
  parts += [_table(("run", "command"), commands), NOT_RUN]
  return "\n\n".join(parts) + "\n"


def _table(columns: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
  columns = list(columns)
  return "\n".join(f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *lines))


def _command(name: str, runs: Runs) -> str:
  """The flags that make this run, and which data it had, with the values of its own config.json."""
  binary, *given = command(name)
  own = runs[name][0].config["flags"]
  names = [flag.removeprefix("--").partition("=")[0] for flag in given]
  values = {key: own[key] for key in (*names, "dataset", "keywords") if own.get(key) is not None}
  return " ".join([binary, *(f"--{key}={_value(value)}" for key, value in values.items())])


def _value(value: Any) -> str:
  if isinstance(value, list):
    return ",".join(value)
  return f"{value:g}" if isinstance(value, float) else str(value)


def _circumstances(runs: Runs) -> str:
  configs = [done.config for members in runs.values() for done in members]
  known = lambda values: ", ".join(sorted({str(value) for value in values}))
  return (
    f"Python {known(c['python'] for c in configs)}; "
    f"JAX {known(c['packages']['jax'] for c in configs)}; "
    f"{known(c['device'] for c in configs)}, {known(c['cpu_count'] for c in configs)} cores; "
    f"revisions {known(c['git_revision'] for c in configs)}."
  )


def _html(text: str, folder: pathlib.Path) -> str:
  body = markdown.markdown(text, extensions=["tables"])

  def embed(match: re.Match[str]) -> str:
    data = base64.b64encode((folder / match[1]).read_bytes()).decode()
    return f'src="data:image/png;base64,{data}"'

  body = re.sub(r'src="(figures/[^"]+)"', embed, body)
  head = f'<meta charset="utf-8"><title>Rank coding, reproduced</title><style>{STYLE}</style>'
  return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'

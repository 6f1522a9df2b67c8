"""The pages of a reproduction: one a part in Markdown, and report.html that holds all of them."""

import base64
import pathlib
import re
from typing import Any, NamedTuple

import markdown
import matplotlib.pyplot as plt

from experiments.harness.tables import format_table
from experiments.harness.workdir import write_text
from experiments.reproduce import figures, rows
from experiments.reproduce.records import PARTS
from experiments.reproduce.results import Runs
from experiments.reproduce.runs import list_command, part_of, read_finished

INTRODUCTION = """Test data; mean ± standard deviation over seeds. No seed was chosen: the best one
only shows the spread, row by row. "theta for a mean step" reads the curve of test accuracy over
theta there. Which checkpoint is read, the best on validation or the last, stands with each run.
Rows "ours" have what the paper leaves out (augmentation and so on), in the commands below."""


class _Page(NamedTuple):
  """What a part's page says beside its numbers."""

  title: str
  ceiling: str
  not_run: str = ""


PAGES = {
  "spotting": _Page("Spotting (section 3.1)", "Ceiling: an ideal observer, exact."),
  "two_sequence": _Page(
    "2-sequence (section 3.2)", "Ceiling: an ideal observer, at a constant theta."
  ),
  "mnist": _Page(
    "Temporal MNIST (section 3.3)",
    "Ceiling: a convolutional network that sees all pixels so far, at the same mean step.",
    "The switch of regimes of ConvLSTM-20: `python -m experiments.temporal_mnist "
    "--model=conv_lstm --units=20 --beta=0.5,30:0.165`.",
  ),
  "speech": _Page(
    "Speech (section 3.4)",
    "Ceiling: a convolutional network that hears the whole clip.",
    "The paper's own data need a download of 2.4 GB: 11 classes with "
    "`python -m experiments.speech --beta=0.2`, all 35 words with `--keywords=all`.",
  ),
}
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

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}
table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}
td,th{border-bottom:1px solid #ddd;padding:.25em .6em;text-align:left}
img{max-width:100%}code{background:#f4f4f4;overflow-wrap:anywhere}"""


def write(folder: pathlib.Path) -> str:
  """Draws the figures and writes PART.md of each part that has runs, and report.html of all.

  A page that lies there of a part without runs stays as it is.

  Args:
    folder: `WORKDIR/BUDGET`, with a finished run in `RUN/SEED`.

  Returns:
    The pages as Markdown.
  """
  runs = read_finished(folder)
  folder.mkdir(parents=True, exist_ok=True)
  for part in PARTS:
    if of_part := {name: done for name, done in runs.items() if part_of(name) == part}:
      write_text(
        folder / f"{part}.md", _format_page(part, of_part, _draw(of_part, folder / "figures"))
      )
  pages = [
    path.read_text(encoding="utf-8") for part in PARTS if (path := folder / f"{part}.md").exists()
  ]
  text = "\n".join(pages)
  write_text(folder / "report.html", _to_html(text, folder))
  return text


def _draw(runs: Runs, folder: pathlib.Path) -> list[str]:
  """Draws the figures that these runs allow into the folder; returns their names."""
  folder.mkdir(parents=True, exist_ok=True)
  pictures = figures.draw(runs)
  for name, figure in pictures.items():
    figure.savefig(folder / f"{name}.png", bbox_inches="tight", dpi=150)
    plt.close(figure)
  return list(pictures)


def _format_page(part: str, runs: Runs, pictures: list[str]) -> str:
  """Returns a part's page as Markdown."""
  page = PAGES[part]
  texts = [f"# {page.title}", f"{INTRODUCTION}\n{page.ceiling}"]
  texts.append(format_table(rows.COLUMNS, rows.tabulate(runs)))
  for name in pictures:
    texts += [f"![{name}](figures/{name}.png)", CAPTIONS[name]]
  if curves := rows.tabulate_curves(runs):
    title = "## Test accuracy at the theta of each mean step"
    texts += [title, format_table(rows.CURVE_COLUMNS, curves)]
  texts += [
    "## Each run",
    format_table(rows.RUN_COLUMNS, rows.list_runs(runs)),
    _describe_machines(runs),
  ]
  commands = [(name, f"`python -m experiments.{_format_command(name, runs)}`") for name in runs]
  texts += [
    "## Commands",
    "But for `--seed`, `--workdir` and `--data_dir`, the folder of the data.",
    format_table(("run", "command"), commands),
  ]
  texts += ["## Not run here", page.not_run] if page.not_run else []
  return "\n\n".join(texts) + "\n"


def _format_command(name: str, runs: Runs) -> str:
  """Returns a run's binary and flags, and which data it had, by the values of its config.json."""
  binary, *given = list_command(name)
  own = runs[name][0].config["flags"]
  names = [flag.removeprefix("--").partition("=")[0] for flag in given]
  values = {key: own[key] for key in (*names, "dataset", "keywords") if own.get(key) is not None}
  return " ".join([binary, *(f"--{key}={_format_value(value)}" for key, value in values.items())])


def _format_value(value: Any) -> str:
  if isinstance(value, list):
    return ",".join(value)
  return f"{value:g}" if isinstance(value, float) else str(value)


def _describe_machines(runs: Runs) -> str:
  """Says with which software, on which devices and at which revisions the runs were made."""
  configs = [done.config for members in runs.values() for done in members]
  known = lambda values: ", ".join(sorted({str(value) for value in values}))
  return (
    f"Python {known(c['python'] for c in configs)}; "
    f"JAX {known(c['packages']['jax'] for c in configs)}; "
    f"{known(c['device'] for c in configs)}, {known(c['cpu_count'] for c in configs)} cores; "
    f"revisions {known(c['git_revision'] for c in configs)}."
  )


def _to_html(text: str, folder: pathlib.Path) -> str:
  """Turns pages into one HTML file that needs no other: pictures stand in it."""
  body = markdown.markdown(text, extensions=["tables"])

  def embed(match: re.Match[str]) -> str:
    data = base64.b64encode((folder / match[1]).read_bytes()).decode()
    return f'src="data:image/png;base64,{data}"'

  body = re.sub(r'src="(figures/[^"]+)"', embed, body)
  head = f'<meta charset="utf-8"><title>Rank coding, reproduced</title><style>{STYLE}</style>'
  return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'

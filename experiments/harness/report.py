"""report.md of a run: its table and pictures, from its files alone."""

import pathlib
import shlex
from typing import Any

from deploy.run_files import read_json
from experiments.harness import figures
from experiments.harness.schedules import parse_points
from experiments.harness.settings import FREE_FLAGS
from experiments.harness.tables import format_table
from experiments.harness.workdir import (
  find_validation,
  read_metrics,
  read_result,
  write_text,
)

MEASURES = {
  "rc_accuracy": "accuracy at the first spike",
  "mean_spike_step": "mean spike step (steps seen)",
  "eos_accuracy": "accuracy read at the last step",
  "spiked_right_fraction": "share that spiked and was right",
  "spiked_wrong_fraction": "share that spiked and was wrong",
  "no_spike_fraction": "share without a spike",
  "positive_spikes_at_earliest_step": "positive spikes at the earliest possible step",
  "positive_mean_spike_step": "mean spike step, positives",
  "ideal_positive_mean_spike_step": "mean spike step, positives, of an ideal observer",
  "negative_mean_spike_step": "mean spike step, negatives",
  "ideal_negative_mean_spike_step": "mean spike step, negatives, of an ideal observer",
  "positives_with_negative_first_spike": "share of positives whose first spike is negative",
  "positive_only_accuracy": "accuracy if negative spikes are ignored",
  "positive_only_delay": "then, steps from the earliest possible one to the first positive spike",
  "ideal_accuracy": "accuracy of an ideal observer with a constant theta at that mean step",
  "regret": "regret: the ideal observer's accuracy less ours",
  "earliness": "earliness: mean share of a series seen before the decision",
  "harmonic_mean": "harmonic mean of accuracy and 1 - earliness",
  "mean_heard_ms": "mean audio heard before the decision, ms",
  "validation_rc_accuracy": "validation accuracy at the first spike, of the same parameters",
  "best_validation_rc_accuracy": "validation accuracy at the first spike, the training's best",
  "num_test": "test examples",
  "computed_fraction": "share of the row-steps computed, end of training",
  "update_ms": "milliseconds an update, median, end of training",
}
CAPTIONS = {
  "training": "Validation while training.",
  "cost": "What training costs as spikes come earlier: the share of all row-steps that are "
  "computed, and the median time of an update.",
  "spike_steps": "When the network decides, on the test split.",
  "frontier": "Speed against accuracy over the threshold, on the test split.",
  "examples": "Test sequences: input above; below, class probabilities, threshold (dashed) and "
  "spike (red; a cross: no spike). Faint: what the network would have said after it. Of speech: "
  "waveform, log-mel bands, and the moment of decision, the input's look-ahead included.",
}


def tabulate(workdir: pathlib.Path) -> str:
  """Returns the result of a finished run as a Markdown table.

  Args:
    workdir: of the run.

  Raises:
    OSError: it has no result.json.
  """
  result = read_result(workdir)
  if validation := find_validation(workdir, result["chosen_at"]["step"]):
    result["validation_rc_accuracy"] = validation["rc_accuracy"]
  rows = [(text, result[name]) for name, text in MEASURES.items() if result.get(name) is not None]
  rows += [("trained, examples", result["trained"]["examples"])]
  if "epoch" in result["trained"]:
    rows += [("trained, epochs", result["trained"]["epoch"])]
    rows += [("checkpoint chosen at epoch", result["chosen_at"]["epoch"])]
  rows += [("training time, seconds", round(result["seconds"]))]
  lines = [(text, _format_number(value)) for text, value in rows]
  return format_table(("test split", result["experiment"]), lines, padded=1)


def write(workdir: pathlib.Path) -> None:
  """Draws the pictures and writes report.md.

  Args:
    workdir: of a finished run.

  Raises:
    ValueError: the folder holds no finished run.
  """
  for name in ("config.json", "result.json", "metrics.jsonl"):
    if not (workdir / name).exists():
      raise ValueError(f"{workdir} has no {name}; let the run end first")
  config = read_json(workdir / "config.json", "put a copy in its place")
  result = read_result(workdir)
  (workdir / "figures").mkdir(exist_ok=True)
  theta = parse_points("theta", str(config["flags"]["theta"]))[-1][1]
  names = figures.draw_all(workdir, result, read_metrics(workdir), theta=theta)
  text = [
    f"# {result['experiment']}",
    "",
    f"`{_format_command(config, result['trained'])}`",
    "",
    tabulate(workdir),
    "",
  ]
  chosen = {
    "best": "Parameters: those of the best validation accuracy at the first spike.",
    "last": "Parameters: those of the end of the training.",
  }
  text += [chosen[result["chosen"]]]
  if result["stopped_early"]:
    text += ["The early stop of A.4 ended this run."]
  versions = ", ".join(f"{k} {v}" for k, v in config["packages"].items())
  text += ["", f"Python {config['python']}, {versions}; revision {config['git_revision']}; "
           f"{config['device']}, {config['cpu_count']} cores.", ""]  # fmt: skip
  if notes := _list_notes(config):
    text += ["Said while it ran:", "", *notes, ""]
  for name in names:
    text += [f"![{name}](figures/{name}.png)", "", CAPTIONS[name], ""]
  write_text(workdir / "report.md", "\n".join(text))


def _format_command(config: dict[str, Any], trained: dict[str, Any]) -> str:
  """Returns the command that makes the run, but for flags that change no number.

  Args:
    config: config.json.
    trained: how far the run has come, as result.json says it.
  """
  hidden = {*FREE_FLAGS, "cache_dir"} - {"epochs", "num_examples", "num_test"}
  # A run that was given a smaller length at last has trained for the larger one.
  flags, so_far = config["flags"], {"epochs": "epoch", "num_examples": "examples"}
  longer = {
    name: trained[key]
    for name, key in so_far.items()
    if flags.get(name) and trained.get(key, 0) > flags[name] + _rounding(name, trained)
  }
  given = " ".join(
    f"--{name}={shlex.quote(','.join(value) if isinstance(value, list) else str(value))}"
    for name, value in (flags | longer).items()
    if value is not None and name not in hidden
  )
  return f"python -m experiments.{config['experiment']} {given}"


def _list_notes(config: dict[str, Any]) -> list[str]:
  """Returns what the user was told at the starts of a run, each once, as items of Markdown."""
  notes = (note for start in config.get("starts", ()) for note in start.get("notes", ()))
  return [f"- {note}" for note in dict.fromkeys(notes)]


def _rounding(length: str, trained: dict[str, Any]) -> float:
  """Returns how far a length may lie above the flag that gave it: one update, by rounding."""
  total = trained["examples"] if length == "num_examples" else trained.get("epoch", 0)
  return total / max(trained["step"], 1)


def _format_number(value: Any) -> str:
  return f"{value:.4f}" if isinstance(value, float) and value < 1000 else f"{value:,.0f}"

"""The reproduction: its arithmetic on made results, and the whole pipeline on real runs."""

import json
import os
import pathlib
import re
import shutil
import signal
import sys

import numpy as np
import pytest
from absl.testing import flagsaver

from experiments.harness.flags import read_settings
from experiments.registry import EXPERIMENTS, load_binary
from experiments.reproduce import measures, page, rows
from experiments.reproduce.__main__ import _find_missing, _wait, main
from experiments.reproduce.records import PARTS
from experiments.reproduce.results import Done
from experiments.reproduce.runs import RUNS, is_done, list_members, read_finished

BINARIES = {name: load_binary(name) for name in EXPERIMENTS}  # before flags are parsed
CURVE = {"mean_spike_step": [1.2, 1.4, 9.0], "accuracy": [0.90, 0.96, 0.98]}


def done(seed=0, **result):
  return Done(seed, {}, {"trained": {"examples": 128}, "num_test": 1000, **result}, [], {})


def cells(table, start):
  (line,) = [line for line in table if line[0].startswith(start)]
  return list(line[1:])


def test_mean_deviation_and_best():
  shared = {"mean_spike_step": 14.0, "ideal_accuracy": 0.95}
  table = rows.tabulate(
    {
      "two_sequence": [
        done(0, rc_accuracy=0.94, regret=0.01, **shared),
        done(1, rc_accuracy=0.96, regret=-0.01, **shared),
      ]
    }
  )
  assert cells(table, "2-sequence: at the first spike") == [
    *("95.45 %", "95.00 % ± 1.41 %", "96.00 %", "95.00 %", "2", "128 examples", "1,000")
  ]
  assert cells(table, "2-sequence: regret")[1:3] == ["0.00 points ± 1.41 points", "-1.00 points"]
  assert cells(table, "2-sequence: mean step")[1:3] == ["14.00 ± 0.00", ""]
  assert not any(line[0].startswith("spotting") for line in table)


def test_the_ceiling_is_read_at_the_same_mean_step():
  ours = done(rc_accuracy=0.92, mean_spike_step=1.3)
  runs = {"mnist-lstm": [ours], "mnist-cnn": [done(frontier=CURVE, eos_accuracy=0.99)]}
  table = rows.tabulate(runs)
  assert cells(table, "temporal MNIST, LSTM-340: at the first")[3] == "93.00 %"
  assert cells(table, "temporal MNIST, a CNN of any step: the last")[1] == "99.00 %"
  deep = {"mnist-cnn-lstm": [done(mean_spike_step=1.3, frontier=CURVE)]}
  at_a_step = "temporal MNIST, LSTM-128 on a CNN, ours: theta for a mean step of 1.4"
  assert cells(rows.tabulate(runs | deep), at_a_step)[3] == "96.00 %"
  beyond = done(rc_accuracy=0.92, mean_spike_step=1.1)
  assert (
    cells(rows.tabulate(runs | {"mnist-lstm": [beyond]}), "temporal MNIST, LSTM-340: at")[3] == ""
  )


def test_a_curve_is_not_read_beyond_its_ends():
  assert measures.at_mean_step(1.3)(done(frontier=CURVE).result) == pytest.approx(0.93)
  assert measures.at_mean_step(1.1)(done(frontier=CURVE).result) is None
  assert measures.at_mean_step(9.5)(done(frontier=CURVE).result) is None


def test_curves_are_means_over_seeds_where_all_reach():
  late = {"mean_spike_step": [35.0, 60.0], "accuracy": [0.80, 0.90]}
  early = {"mean_spike_step": [30.0, 55.0], "accuracy": [0.60, 0.90]}
  (both, first) = rows.tabulate_curves(
    {"speech": [done(0, frontier=late), done(1, frontier=early)]}
  )
  assert both[0] == "RC, beta 0.2, mean of 2 seeds" and first[0] == "RC, beta 0.2, seed 0"
  assert both[1:4] == ("", "73.00 %", "77.00 %") and both[7] == ""  # steps 30, 35, 40 and 60
  assert first[1:3] == ("", "80.00 %") and first[7] == "90.00 %"


def test_every_run_is_of_a_part_and_no_two_rows_have_one_name():
  assert {run.part for run in RUNS.values()} == set(PARTS)
  names = [(run.label, row.text) for run in RUNS.values() for row in run.rows]
  assert len(names) > 80 and len(set(names)) == len(names)


def test_commands_have_the_values_that_a_run_had():
  flags = {"beta": "0", "shift": 1, "epochs": 14.0, "dataset": "mnist", "choose": "last", "seed": 3}
  old = Done(0, {"flags": flags}, {}, [], {})
  assert page._format_command("mnist-lstm-shift", {"mnist-lstm-shift": [old]}) == (
    "temporal_mnist --beta=0 --shift=1 --choose=last --epochs=14 --dataset=mnist"
  )


def test_a_page_without_runs_stays(tmp_path):
  """So that a part can be made anew where the runs of another are no longer at hand."""
  (tmp_path / "speech.md").write_text("# Speech, of old\n")
  assert page.write(tmp_path) == "# Speech, of old\n"
  assert "<h1>Speech, of old</h1>" in (tmp_path / "report.html").read_text()
  assert not (tmp_path / "mnist.md").exists()


def test_what_is_missing(tmp_path):
  """Seeds of generated tasks at once, first seeds of others first, and nothing that is done so."""
  short = {"epochs": 40.0}
  done = {"spotting/1": {}, "speech/0": short | {"beta": "0.2"}, "speech-betas/beta-0.3/0": short}
  other = {"speech-cnn/0": short, "speech-eos/0": short | {"objective": "eos", "beta": "0.1"}}
  for run, flags in (done | other).items():
    (tmp_path / run).mkdir(parents=True)
    (tmp_path / run / "result.json").touch()
    (tmp_path / run / "config.json").write_text(json.dumps({"flags": flags}))
  names = [name for name, run in RUNS.items() if run.part in ("spotting", "speech")]
  flags = {name: RUNS[name].flags for name in names}
  jobs = _find_missing(tmp_path, flags, 3)
  assert jobs[0] == ("spotting", [], [0, 2])
  assert ("speech-betas", ["0", "0.4"], [0]) in jobs
  assert [seeds for name, _, seeds in jobs if name == "speech"] == [[1], [2]]
  assert [seeds for name, _, seeds in jobs if name == "speech-cnn"] == [[0]]
  assert jobs.index(("speech", [], [1])) > jobs.index(("speech-ours", [], [0]))
  assert [seeds for name, _, seeds in jobs if name == "speech-eos"] == [[0], [1], [2]]
  assert _find_missing(tmp_path, {"spotting": ()}, 0) == []
  on_other_data = {"speech": (*RUNS["speech"].flags, "--dataset=synthetic")}
  assert _find_missing(tmp_path, on_other_data, 1) == [("speech", [], [0])]


@pytest.mark.parametrize("name", RUNS)
def test_the_flags_of_every_run_are_its_binarys(name):
  """Those of the paper, and of a smoke run after them, as the binary reads and checks them."""
  for flags in (RUNS[name].flags, (*RUNS[name].flags, *(RUNS[name].smoke or ()))):
    given = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
    for beta in RUNS[name].betas or (given.get("beta"),):
      with flagsaver.as_parsed(**(given | ({} if beta is None else {"beta": beta}))):
        read_settings(BINARIES[RUNS[name].binary].EXPERIMENT)


def test_kept_runs_give_the_pages_that_are_reported(tmp_path):
  """From the runs in docs/results; of speech one run is not kept, of which others name the ceiling.

  So no change of the code can change a reported number without a word.
  """
  kept = pathlib.Path(__file__).parents[2] / "docs" / "results" / "paper"
  shutil.copytree(
    kept, tmp_path / "paper", ignore=shutil.ignore_patterns("*.md", "*.html", "*.png")
  )
  assert main([f"--workdir={tmp_path}", "--seeds=0"]) == 0
  for part in ("spotting", "two_sequence", "mnist"):
    assert (tmp_path / "paper" / f"{part}.md").read_text() == (kept / f"{part}.md").read_text()
  pages = [(folder / "speech.md").read_text() for folder in (kept, tmp_path / "paper")]
  before, after = ([row for row in map(read_row, page.splitlines()) if row] for page in pages)
  assert after == before and len(after) > 50
  html = (tmp_path / "paper" / "report.html").read_text()
  assert html.count("data:image/png;base64,") == 5 and "figures/" not in html
  assert "<td>spotting: mean step, negatives</td>" in html
  pictures = sorted((tmp_path / "paper" / "figures").iterdir())
  assert [path.name for path in pictures] == [f"figure_{n}.png" for n in range(1, 6)]
  assert all(path.stat().st_size > 20_000 for path in pictures)


def read_row(line):
  """Cells of a table's row without the ceiling's, which stands as a share; not the CNN's own."""
  if not line.startswith("| ") or "cnn" in line or "a CNN on" in line:
    return None
  return [cell for cell in line.split("|") if cell.strip() != "96.52 %"][:4]


def test_a_part_as_it_is_typed(tmp_path, capfd, monkeypatch):
  """Spotting, in two processes; then nothing is trained twice."""
  assert_a_smoke_run(tmp_path, capfd, monkeypatch, ("spotting",))


@pytest.mark.slow
def test_the_whole_pipeline(tmp_path, capfd, monkeypatch):
  """Every kind of run, in its own process, as `--budget=smoke` is typed; then its report."""
  assert_a_smoke_run(tmp_path, capfd, monkeypatch, PARTS)


def assert_a_smoke_run(workdir, capfd, monkeypatch, parts):
  monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
  flags = [f for f in os.environ["XLA_FLAGS"].split() if "device_count" not in f]
  monkeypatch.setenv("XLA_FLAGS", " ".join(flags))
  given = [f"--workdir={workdir}", "--budget=smoke", f"--only={','.join(parts)}"]
  assert main(given) == 0
  folder = workdir / "smoke"
  runs = read_finished(folder)
  names = [name for name, run in RUNS.items() if run.smoke is not None and run.part in parts]
  assert list(runs) == [member for name in names for member in list_members(name)]
  for member, (done,) in runs.items():
    of = RUNS[member.partition("/")[0]]
    of_cnn = "--model=cnn" in of.flags
    assert (done.config["flags"]["objective"] == "eos") == ("eos" in member or of_cnn)
    assert "hugetlb" in done.config["environment"]["GLIBC_TUNABLES"]
    counted = np.sum(done.result["spike_steps"]) + np.sum(done.result["silent_steps"])
    assert done.result["num_test"] == counted
    assert 0 <= done.result["rc_accuracy"] <= 1
    assert 1 <= done.result["mean_spike_step"] <= done.result["num_steps"]
    own = (folder / member / "0" / "report.md").read_text()
    assert f"{done.result['rc_accuracy']:.4f}" in own and f"# {of.binary}" in own
    assert (folder / member / "0" / "checkpoints").exists()
    assert any((folder / member / "0" / "tensorboard").iterdir())
    for picture in re.findall(r"\]\((.*png)\)", own):
      assert (folder / member / "0" / picture).stat().st_size > 5_000
  report = "".join((folder / f"{part}.md").read_text() for part in parts)
  pictures = sorted(path.name for path in (folder / "figures").iterdir())
  assert len(pictures) == (5 if parts == PARTS else 1)
  assert all(f"](figures/{name})" in report for name in pictures)
  capfd.readouterr()
  times = {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}
  assert main(given) == 0
  assert "--workdir=" not in capfd.readouterr().out  # nothing is trained twice
  assert times == {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}


@pytest.mark.parametrize(
  "had, flag, same",
  [
    (False, "--single=false", True),
    (True, "--nosingle", False),
    (["Yes", "No"], "--single=Yes,No", True),
    (["Yes", "No"], "--single=yes,no", False),
    (["0", "40"], "--single=0,40.0", True),
    ("/Data/a", "--single=/data/a", False),
    (0.5, "--single=0.50", True),
    (None, "--single=a", False),
    (True, "--noprogress", True),  # it changes no number
  ],
)
def test_which_flags_a_run_had(had, flag, same, tmp_path):
  (tmp_path / "result.json").touch()
  config = {"flags": {"single": had, "progress": True}}
  (tmp_path / "config.json").write_text(json.dumps(config))
  assert is_done(tmp_path, (flag,)) == same


def test_a_signal_is_sent_on_and_the_end_awaited():
  child = (
    "import os, signal, sys, time\n"
    "assert os.getpgid(0) != os.getpgid(os.getppid())\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    "os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"
  )
  handler = signal.getsignal(signal.SIGTERM)
  assert _wait([sys.executable, "-c", child], {}) == 7
  assert signal.getsignal(signal.SIGTERM) == handler


def test_a_run_that_fails_ends_it(tmp_path, capfd):
  given = ["--budget=smoke", "--only=mnist", "--mnist_flags=--data_dir=nowhere"]
  assert main([f"--workdir={tmp_path}", *given]) == 2
  assert "mnist-lstm ended with status 2" in capfd.readouterr().err


@pytest.mark.parametrize(
  "given, message",
  [
    (["--only=spoting"], "unknown part .*spoting.*; choose of spotting, two_sequence"),
    (["--seeds=-1"], "--seeds is -1; it must be 0 .* or more"),
    (["--speech_flags=--data_dir='a"], "--speech_flags cannot be parsed: No closing quotation"),
    (["--mnist_flags=--shift 2"], "--mnist_flags has '2'; give each flag as --name=value"),
  ],
)
def test_bad_flags(given, message, capsys):
  with pytest.raises(SystemExit):
    main(given)
  assert re.search(message, capsys.readouterr().err)

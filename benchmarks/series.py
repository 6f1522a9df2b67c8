"""Early decisions about time series: rank coding beside the early classifiers of aeon.

    python -m benchmarks.series --sets=GunPoint,BasicMotions --seeds=5
    python -m benchmarks.series --sets=Trace --contenders=ours,forest --json

Needs the extra `peers`, whose data sets need no download. All learn from the whole training split,
as arrays of one length, and are read on the test split. Each seed of a peer is a process of its
own, ended after `--limit_s`; what is measured is kept in `--workdir`, and a later call goes on from
there. `teaser` is TEASER, `threshold` the ProbabilityThresholdEarlyClassifier, both with
aeon's defaults (but for the seed); `forest` is the latter on 200 time series trees. They may decide
at twenty lengths, the network at every step; further flags for it: `--flags=--units=32`.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from data_pipelines.series import PACKAGED, find_files, read_files
from deploy import load_run
from experiments.harness.tables import format_table
from rc_jax import make_stream

SETS = PACKAGED
CONTENDERS = ("ours", "teaser", "threshold", "forest")
MEASURES = ("accuracy", "earliness", "harmonic_mean", "train_s", "decide_ms")
ALONE = "measured "  # before the JSON of a process of its own

Arrays = dict[str, np.ndarray]


def load_arrays(name: str) -> dict[str, Arrays]:
  """Loads a set from the packages that bring it: split -> `X` `[N, T, F]` and `y` `[N]`.

  Args:
    name: one of SETS. Of those whose series differ in length aeon has versions of one length.
  """
  if name == "Trace":
    files = read_files(find_files(dataset=name))
    both = [{"X": np.stack(file.values), "y": np.array(file.labels)} for file in files]
    return dict(zip(("train", "test"), both, strict=True))
  from aeon.datasets import load_classification

  splits = {}
  for split in ("train", "test"):
    X, y = load_classification(name, split=split, load_equal_length=True)
    splits[split] = {"X": X.swapaxes(1, 2), "y": y}
  return splits


def save_arrays(name: str, folder: pathlib.Path) -> None:
  """Writes `train.npz` and `test.npz` of a set, if they are not there."""
  folder.mkdir(parents=True, exist_ok=True)
  if not (folder / "test.npz").exists():
    for split, arrays in load_arrays(name).items():
      np.savez(folder / f"{split}.npz", **arrays)  # type: ignore[arg-type]


def train_ours(data: pathlib.Path, runs: pathlib.Path, seeds: int, flags: list[str]) -> None:
  """Trains the runs of all seeds in one program, unless they have ended.

  Args:
    data: folder of the splits.
    runs: folder of the runs.
    seeds: 0 to this, without it.
    flags: further ones of the command.

  Raises:
    RuntimeError: the command failed.
  """
  if all((runs / str(seed) / "result.json").exists() for seed in range(seeds)):
    return
  command = [sys.executable, "-m", "experiments.population", "series", f"--workdir={runs}"]
  command += [f"--data_dir={data}", "--validation_share=0", "--progress=false"]
  command += [f"--seeds={','.join(map(str, range(seeds)))}", *flags]
  if subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode:
    raise RuntimeError(f"the training of {runs} failed")


def measure_ours(data: pathlib.Path, workdir: pathlib.Path) -> dict[str, float]:
  """Reads a run that `train_ours` has trained; training time includes a share of the compiling."""
  result = json.loads((workdir / "result.json").read_text())
  with np.load(data / "test.npz") as stored:
    series = stored["X"][0]
  return {
    "accuracy": result["rc_accuracy"],
    "earliness": result["earliness"],
    "harmonic_mean": result["harmonic_mean"],
    "train_s": result["seconds"],
    "decide_ms": time_pushes(workdir, series),
  }


def time_pushes(workdir: pathlib.Path, series: np.ndarray) -> float:
  """Median milliseconds of a step of a stream of one row, over the steps of a series `[T, F]`."""
  run = load_run(workdir)
  stream = make_stream(run.classifier, run.params, run.theta)
  push, state = jax.jit(stream.push), stream.init(1)
  standardised = (series - run.statistics["mean"]) / run.statistics["std"]
  samples = run.input_shape[0] // series.shape[1]
  whole = standardised[: len(series) // samples * samples].astype(np.float32)
  times = []
  for x in whole.reshape(-1, 1, samples * series.shape[1]):
    start = time.perf_counter()
    state, _ = jax.block_until_ready(push(state, x))
    times.append(time.perf_counter() - start)
  return 1000 * statistics.median(times[1:])  # the first one compiles


def make_peer(name: str, seed: int) -> Any:
  """Makes an early classifier of aeon, one of CONTENDERS but "ours"."""
  from aeon.classification.early_classification import TEASER, ProbabilityThresholdEarlyClassifier
  from aeon.classification.interval_based import TimeSeriesForestClassifier

  makers: dict[str, Callable[[], Any]] = {
    "teaser": lambda: TEASER(random_state=seed),
    "threshold": lambda: ProbabilityThresholdEarlyClassifier(random_state=seed),
    "forest": lambda: ProbabilityThresholdEarlyClassifier(
      TimeSeriesForestClassifier(n_estimators=200), random_state=seed
    ),
  }
  return makers[name]()


def measure_peer(name: str, folder: pathlib.Path, seed: int) -> dict[str, float]:
  """Trains a peer on a set and reads it on the test split.

  A decision of it is timed as the mean over its lengths, for one series given at full length.

  Args:
    name: as of `make_peer`.
    folder: of the set.
    seed: of the peer.
  """
  arrays = {}
  for split in ("train", "test"):
    with np.load(folder / "data" / f"{split}.npz") as stored:
      arrays[split] = stored["X"].swapaxes(1, 2), stored["y"]
  (X, y), (X_test, y_test) = arrays["train"], arrays["test"]
  peer, start = make_peer(name, seed), time.perf_counter()
  peer.fit(X, y)
  trained = time.perf_counter()
  harmonic_mean, accuracy, earliness = peer.score(X_test, y_test)
  times = []
  for row in X_test[:3]:
    begun = time.perf_counter()
    peer.predict(row[None])
    times.append((time.perf_counter() - begun) / len(peer.estimators_))
  return {
    "accuracy": float(accuracy),
    "earliness": float(earliness),
    "harmonic_mean": float(harmonic_mean),
    "train_s": trained - start,
    "decide_ms": 1000 * statistics.median(times),
  }


def measure_in_turn(name: str, contender: str, seed: int, given: argparse.Namespace) -> Any:
  """Measures one seed, a peer's in a process of its own, or reads what an earlier call measured.

  Returns:
    The measures by name; None where the process was ended at `--limit_s`.

  Raises:
    RuntimeError: the process failed; the text is the last line of what it wrote.
  """
  folder, flags = pathlib.Path(given.workdir) / name, given.flags.split()
  # Runs of other flags are others: their names stand in those of the files.
  own = "".join(sorted(flags)).replace("/", "_") if contender == "ours" else ""
  runs = folder / f"{contender}{own}"
  path = runs.with_name(f"{runs.name}-{seed}.json")
  if not path.exists():
    if contender == "ours":
      train_ours(folder / "data", runs, given.seeds, flags)
      measured: Any = measure_ours(folder / "data", runs / str(seed))
    else:
      measured = _measure_alone(name, contender, seed, given)
    if measured is None:
      return None
    path.write_text(json.dumps(measured) + "\n")
  return json.loads(path.read_text())


def _measure_alone(name: str, contender: str, seed: int, given: argparse.Namespace) -> Any:
  """Measures a peer in a process of its own; None where that is ended at `--limit_s`."""
  command = [sys.executable, "-m", "benchmarks.series", f"--workdir={given.workdir}"]
  command += [f"--alone={name},{contender},{seed}"]
  try:
    done = subprocess.run(
      command, capture_output=True, text=True, check=False, timeout=given.limit_s
    )
  except subprocess.TimeoutExpired:
    return None
  lines = [line for line in done.stdout.splitlines() if line.startswith(ALONE)]
  if done.returncode or not lines:
    last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    raise RuntimeError(f"{contender} on {name} failed: {last}")
  return json.loads(lines[-1].removeprefix(ALONE))


def summarize(found: list[dict[str, float] | None]) -> dict[str, Any]:
  """Means and, of accuracy and earliness, extremes over the seeds that ended."""
  ended = [one for one in found if one is not None]
  row: dict[str, Any] = {"seeds": len(ended), "over_limit": len(found) - len(ended)}
  for measure in MEASURES if ended else ():
    values = [one[measure] for one in ended]
    row[measure] = statistics.fmean(values)
    row[f"{measure}_range"] = [min(values), max(values)]
  return row


def format_summary(row: dict[str, Any]) -> list[str]:
  """Cells of the table for one contender, as of `summarize`."""
  if not row["seeds"]:
    return [row["contender"], "over the limit", *["-"] * 5]
  low, high = row["accuracy_range"]
  return [
    row["contender"],
    f"{100 * row['accuracy']:.1f} ({100 * low:.1f} to {100 * high:.1f})",
    f"{row['earliness']:.2f}",
    f"{row['harmonic_mean']:.3f}",
    f"{row['train_s']:.0f}",
    f"{row['decide_ms']:.2f}",
    f"{row['seeds']}",
  ]


def describe_set(folder: pathlib.Path) -> dict[str, Any]:
  """Sizes of a set."""
  with np.load(folder / "train.npz") as train, np.load(folder / "test.npz") as test:
    shape = train["X"].shape
    sizes = {"train": shape[0], "test": len(test["X"]), "steps": shape[1], "channels": shape[2]}
    return sizes | {"classes": len(np.unique(train["y"]))}


def main() -> int:
  """Measures set by set and prints each at once; returns the exit status."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
  parser.add_argument("--sets", default=",".join(SETS), help="of them, separated by commas")
  parser.add_argument("--contenders", default=",".join(CONTENDERS))
  parser.add_argument("--seeds", type=int, default=5, help="0 to this, without it")
  parser.add_argument("--limit_s", type=float, default=3600, help="of one seed of a peer")
  parser.add_argument("--flags", default="", help="further ones of experiments.series")
  parser.add_argument("--workdir", default="runs/benchmark-series")
  parser.add_argument("--json", action="store_true", help="one JSON object a line, no table")
  parser.add_argument("--alone", help=argparse.SUPPRESS)
  given = parser.parse_args()
  if given.alone:
    return measure_alone(given)
  names, contenders = given.sets.split(","), given.contenders.split(",")
  for what, asked, known in (("sets", names, SETS), ("contenders", contenders, CONTENDERS)):
    if not set(asked) <= set(known):
      parser.error(f"--{what} is {','.join(asked)}; choose of {', '.join(known)}")
  for name in names:
    folder = pathlib.Path(given.workdir) / name
    save_arrays(name, folder / "data")
    sizes, rows = describe_set(folder / "data"), []
    for contender in contenders:
      found = [measure_in_turn(name, contender, seed, given) for seed in range(given.seeds)]
      rows.append({"set": name, "contender": contender} | summarize(found))
      if given.json:
        print(json.dumps(rows[-1] | sizes), flush=True)
    if not given.json:
      print(f"\n{name}: " + ", ".join(f"{k} {v}" for k, v in sizes.items()) + "\n")
      columns = (name, "accuracy, %", "earliness", "harmonic mean", "train, s", "decide, ms")
      print(format_table((*columns, "seeds"), map(format_summary, rows), padded=1), flush=True)
  return 0


def measure_alone(given: argparse.Namespace) -> int:
  """Measures the peer that `--alone` names in this process, and prints it."""
  name, contender, seed = given.alone.split(",")
  folder = pathlib.Path(given.workdir) / name
  print(ALONE + json.dumps(measure_peer(contender, folder, int(seed))))
  return 0


if __name__ == "__main__":
  sys.exit(main())

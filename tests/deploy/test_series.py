"""Series in files, decided by a run: the same as by the network's rank code."""

import functools
import json

import jax
import numpy as np
import pytest
from series_files import pad, write_csv, write_npz, write_ts
from small_series_run import CHANNELS, MEAN, NAMES, THETA, model, read_batch, save_run, some_series

from deploy import decide
from deploy.rule import Rule
from deploy.series import find_decision
from rc_jax import rank_code
from rc_jax.unroll import unroll_rows

# In a shorter one a channel may have no value at all, which has a test of its own.
LEAST = 6
SERIES = some_series()[LEAST:]


@functools.cache
def expected(theta=THETA):
  """What the rank code of the joined steps says: sure, label, samples seen, probability."""
  _, classifier, params = model(3, "lstm", 1)
  batch = read_batch(3)
  logits = jax.jit(functools.partial(unroll_rows, classifier))(params, batch)
  code = rank_code(logits, theta, batch.lengths)
  p = np.asarray(jax.nn.softmax(code.logits)).max(axis=1)
  seen = np.minimum(3 * (np.asarray(code.step) + 1), [len(rows) for rows in some_series()])
  columns = (np.asarray(code.spiked), np.asarray(code.label), seen, p)
  return list(zip(*columns, strict=True))[LEAST:]


def write_unlabelled_csv(path, *, with_label=False):
  write_csv(path, SERIES, ["open"] * len(SERIES))
  lines = path.read_text().splitlines()
  names = ["id", "time", *(f'"{name}"' for name in CHANNELS), *(["label"] if with_label else [])]
  if not with_label:
    lines = [line.rpartition(",")[0] for line in lines]
  path.write_text("\n".join([",".join(names), *lines[1:]]) + "\n")


def write_unlabelled_npz(path):
  X, lengths = pad(SERIES)
  np.savez(path, X=X, lengths=lengths)


def write_unlabelled_npy(path):
  X, lengths = pad(SERIES)
  np.save(path.with_name("X_new.npy"), X)
  np.save(path.with_name("lengths_new.npy"), lengths)


def write_unlabelled_ts(path):
  write_ts(path, SERIES, ["open"] * len(SERIES))
  lines = path.read_text().splitlines()
  lines = [line.removesuffix(":open") for line in lines]
  text = "\n".join("@classLabel false" if "@classLabel" in line else line for line in lines)
  path.write_text(text + "\n")


def call(monkeypatch, capsys, *arguments):
  monkeypatch.setattr("sys.argv", ["decide", *map(str, arguments)])
  status = decide.main()
  return status, capsys.readouterr()


@pytest.fixture
def folder(tmp_path):
  save_run(tmp_path / "run")
  return tmp_path


FORMATS = {
  "new.csv": (write_unlabelled_csv, lambda i: f"s{i}"),
  "new.npz": (write_unlabelled_npz, lambda i: f"row {i}"),
  "X_new.npy": (write_unlabelled_npy, lambda i: f"row {i}"),
  "new.ts": (write_unlabelled_ts, lambda i: f"line {9 + i}"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_series_without_labels_are_decided_as_the_rank_code_says(name, folder, monkeypatch, capsys):
  write, name_of = FORMATS[name]
  write(folder / name)
  monkeypatch.setattr("deploy.series.ROW_STEPS", 90)  # several batches
  status, said = call(monkeypatch, capsys, folder / "run", folder / name, "--json")
  found = [json.loads(line) for line in said.out.splitlines()]
  assert len(found) == len(SERIES) and status == 1 and "are right" not in said.err
  assert f"{name}: " in said.err and "each holds the value before it" in said.err
  assert 2 < sum(one["sure"] for one in found) < len(SERIES) - 2
  for i, (one, (sure, label, seen, p)) in enumerate(zip(found, expected(), strict=True)):
    assert one == {
      "file": str(folder / name),
      "series": name_of(i),
      "label": NAMES[label],
      "sure": bool(sure),
      "probability": pytest.approx(p, abs=1e-4),
      "samples": seen,
      "of": len(SERIES[i]),
    }


def test_labels_are_compared_and_a_bad_file_costs_no_other(folder, monkeypatch, capsys):
  labels = [NAMES[label] for _, label, _, _ in expected()]
  labels[-1] = NAMES[NAMES.index(labels[-1]) - 1]
  write_npz(folder / "right.npz", SERIES, labels)
  write_npz(folder / "other.npz", SERIES[:2], ["ajar", "ajar"])
  files = [folder / name for name in ("right.npz", "none.npz", "other.npz")]
  status, said = call(monkeypatch, capsys, folder / "run", *files)
  assert status == 2 and "none.npz cannot be read" in said.err
  assert "other.npz: labels that the run does not know, and that do not count: ajar" in said.err
  number = len(SERIES)
  seen = np.mean(
    [seen / len(rows) for (_, _, seen, _), rows in zip(expected(), SERIES, strict=True)]
  )
  assert f"{number - 1} of {number} are right, after {seen:.0%} of a series" in said.err
  lines = said.out.splitlines()
  sure, label, seen, p = expected()[0]
  verdict = NAMES[label] if sure else f"not sure, {NAMES[label]}"
  assert lines[0] == f"{files[0]}\trow 0\t{verdict}\t{p:.3f}\t{seen} of {len(SERIES[0])} samples"
  assert len(lines) == number + 2


def test_another_theta_and_a_column_of_labels_in_a_csv(folder, monkeypatch, capsys):
  write_unlabelled_csv(folder / "new.csv", with_label=True)
  arguments = (folder / "run", folder / "new.csv", "--theta=0.4")
  status, said = call(monkeypatch, capsys, *arguments)
  assert status == 0 and "not sure" not in said.out
  right = sum(label == 0 for _, label, _, _ in expected(0.4))
  assert f"{right} of {len(SERIES)} are right" in said.err
  for line, (_, label, seen, _) in zip(said.out.splitlines(), expected(0.4), strict=True):
    assert line.split("\t")[1] == NAMES[label] and f"\t{seen} of " in line
  status, said = call(monkeypatch, capsys, *arguments, "--json")
  assert all(json.loads(line)["true"] == "open" for line in said.out.splitlines())
  path = folder / "new.csv"
  text = path.read_text().replace(",open\n", ",\n")  # the column is there, and empty
  path.write_text(text.replace(",\n", ",?\n", 3))
  unlabelled = call(monkeypatch, capsys, *arguments)[1]
  assert len(unlabelled.out.splitlines()) == len(SERIES) and "are right" not in unlabelled.err


def test_a_channel_without_a_value_is_at_its_mean_or_refused(folder, monkeypatch, capsys):
  rows = SERIES[0].copy()
  rows[:, 0] = np.nan
  filled = rows.copy()
  filled[:, 0] = MEAN[0]
  for name, values in (("empty", rows), ("filled", filled)):
    X, lengths = pad([values])
    np.savez(folder / f"{name}.npz", X=X, lengths=lengths)
  said = [
    call(monkeypatch, capsys, folder / "run", folder / f"{name}.npz")[1].out
    for name in ("empty", "filled")
  ]
  assert said[0] == said[1] != ""
  reading = {"channels": CHANNELS, "missing": "interpolate", "samples_per_step": 3}
  save_run(folder / "other", reading=reading)
  status, refused = call(monkeypatch, capsys, folder / "other", folder / "empty.npz")
  assert status == 2 and "level has no value in all of the series" in refused.err


def test_patience_asks_for_one_class_at_steps_on_end():
  p = np.full((6, 3), 0.02)
  for step, (label, value) in enumerate([(0, 0.96), (1, 0.96), (1, 0.5), (1, 0.96), (1, 0.95)]):
    p[step, label] = value
  p = p.astype(np.float32)
  assert find_decision(p, Rule(0.95)) == (0, True)
  assert find_decision(p, Rule(0.95, 2)) == (4, True)
  assert find_decision(p, Rule(0.95, 3)) == (5, False)


@pytest.mark.parametrize(
  ("name", "text", "message"),
  [
    (
      "a.csv",
      "id,time,level\na,0,1\n",
      "the columns are id, time, level; give id, time, level, pr",
    ),
    (
      "a.csv",
      'id,time,"pressure, Pa",level\na,0,1,2\n',
      "the columns are id, time, pressure, Pa, l",
    ),
    (
      "a.csv",
      'id,time,level,"pressure, Pa"\na,0,1\n',
      "there are 3 fields, the first line names 4",
    ),
    ("a.ts", "@classLabel false\n@data\n1,2,3\n", "has 1 channels, and the network reads 2"),
    ("a.ts", "@classLabel true open\n@data\n1:2\n", "label '2' is not in the header's"),
    ("a.wav", "", "ends in '.wav'; give a file in"),
  ],
)
def test_files_that_do_not_fit(name, text, message, folder, monkeypatch, capsys):
  (folder / name).write_text(text)
  status, said = call(monkeypatch, capsys, folder / "run", folder / name)
  assert status == 2 and message in said.err and not said.out

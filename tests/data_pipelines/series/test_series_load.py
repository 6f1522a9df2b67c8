"""From two files to splits: found, checked, classes, held-out series, missing values, padding."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from series_files import WRITERS, write_csv, write_npz, write_ts

from data_pipelines import series
from data_pipelines.series import missing
from rc_jax import Batch


def make(lengths, channels=2, seed=0):
  random = np.random.default_rng(seed)
  return [random.normal(3, 2, size=(n, channels)) for n in lengths]


def write_pair(folder, train, test, write=write_ts, ending=".ts"):
  paths = series.Paths(folder / f"a_TRAIN{ending}", folder / f"a_TEST{ending}")
  for path, (values, labels) in zip(paths, (train, test), strict=True):
    write(path, values, labels)
  return paths


LABELS = ["10", "9", "9", "10", "10", "9", "10"]
LENGTHS = [3, 5, 2, 4, 1, 6, 3]


@pytest.fixture
def pair(tmp_path):
  train, test = (make(LENGTHS), LABELS), (make([7, 2], seed=1), ["9", "10"])
  return write_pair(tmp_path, train, test), train, test


def test_splits_are_what_a_plain_loop_makes_of_the_files(pair):
  paths, (values, labels), (test_values, _) = pair
  data = series.load(paths)
  assert data.class_names == ("9", "10")  # numbers, in their order
  held = [2, 4]  # of class 9 the second of three, of class 10 the third of four
  order = {"train": [0, 1, 3, 5, 6], "validation": held}
  flat = np.concatenate([values[i] for i in order["train"]])
  np.testing.assert_allclose(data.statistics.mean, flat.mean(axis=0), rtol=1e-12)
  np.testing.assert_allclose(data.statistics.std, flat.std(axis=0), rtol=1e-12)
  expected = {"train": values, "validation": values, "test": test_values}
  for name, split in data.splits._asdict().items():
    index = order.get(name, [0, 1])
    assert split.inputs.shape == (len(index), 7, 2) and split.inputs.dtype == np.float32
    assert split.lengths.tolist() == [len(expected[name][i]) for i in index]
    for row, i in zip(split.inputs, index, strict=True):
      own = expected[name][i]
      np.testing.assert_allclose(row[: len(own)], (own - flat.mean(0)) / flat.std(0), rtol=1e-5)
      assert not row[len(own) :].any()  # no value of another series, and no NaN
  names = [data.class_names[label] for label in data.splits.train.labels]
  assert names == [labels[i] for i in order["train"]]
  assert data.splits.test.labels.tolist() == [0, 1]
  assert data.notes[:3] == (
    "train: 5 series (9: 2, 10: 3)",
    "validation: 2 series (9: 1, 10: 1)",
    "test: 2 series (9: 1, 10: 1)",
  )
  assert data.notes[3] == "each series has 1 to 7 samples of 2 channels"


def test_every_format_gives_the_same_splits(tmp_path):
  found = []
  for k, (name, write) in enumerate(WRITERS.items()):
    folder = tmp_path / str(k)
    folder.mkdir()
    for split, seed in (("train", 0), ("test", 1)):
      file = name.replace("train", split).replace("TRAIN", split.upper())
      write(folder / file, make(LENGTHS, seed=seed), LABELS)
    found.append(series.load(series.find_files(data_dir=str(folder))))
  for other in found[1:]:
    assert other.class_names == found[0].class_names
    for a, b in zip(found[0].splits, other.splits, strict=True):
      np.testing.assert_array_equal(a.inputs, b.inputs)
      np.testing.assert_array_equal(a.labels, b.labels)
      np.testing.assert_array_equal(a.lengths, b.lengths)


def test_little_variation_about_a_large_mean_is_kept(tmp_path):
  values = [1e9 + rows for rows in make([50, 50, 50, 50])]
  data = series.load(write_pair(tmp_path, (values, list("abab")), (values, list("abab"))))
  trained = data.splits.train.inputs
  np.testing.assert_allclose(trained.mean(axis=(0, 1)), 0, atol=1e-6)
  np.testing.assert_allclose(trained.std(axis=(0, 1)), 1, rtol=1e-6)
  assert "test series that are training series, too: 4 (the first: line 9)" in data.notes


def test_a_constant_channel_is_zero(tmp_path):
  values = [np.full((3, 1), 0.1) for _ in range(4)]
  data = series.load(write_pair(tmp_path, (values, list("abab")), (values, list("abab"))))
  assert data.statistics.std == 1 and not data.splits.train.inputs.any()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.01, 0.5))
def test_a_share_of_each_class_is_held_out(labels, share):
  labels = np.array(labels)
  train, held = series.hold_out(labels, share)
  assert sorted([*train, *held]) == list(range(len(labels)))
  for label in np.unique(labels):
    n, taken = np.sum(labels == label), np.sum(labels[held] == label)
    assert taken == (0 if n == 1 else max(round(n * share), 1)) < n


def test_held_out_series_lie_apart():
  _, held = series.hold_out(np.zeros(20, int), 0.2)
  assert held.tolist() == [2, 7, 12, 17]


def test_a_class_with_one_series_trains_and_is_told(tmp_path):
  train = (make([2, 2, 2]), ["a", "a", "b"])
  data = series.load(write_pair(tmp_path, train, train))
  assert data.splits.validation.labels.tolist() == [0]
  assert "with one training series, which trains and is not held out: b" in data.notes


def test_without_a_share_all_series_train(pair):
  data = series.load(pair[0], validation_share=0)
  assert len(data.splits.train) == len(data.splits.validation) == 7
  assert "validation repeats the training series (--validation_share=0)" in data.notes


GAPS = np.array([[np.nan, 1.0], [2.0, np.nan], [np.nan, np.nan], [4.0, 7.0], [np.nan, 8.0]])


def test_missing_values_are_held_or_interpolated():
  held = missing.hold(GAPS, np.array([-1.0, -2.0]))
  np.testing.assert_array_equal(held, [[-1, 1], [2, 1], [2, 1], [4, 7], [4, 8]])
  drawn = missing.interpolate(GAPS)
  np.testing.assert_array_equal(drawn, [[2, 1], [2, 3], [3, 5], [4, 7], [4, 8]])
  assert np.isnan(GAPS[0, 0])  # what was read stays as it is


def test_what_is_held_knows_nothing_of_what_comes():
  random = np.random.default_rng(0)
  rows = np.where(random.random((20, 3)) < 0.5, np.nan, random.normal(size=(20, 3)))
  whole = missing.hold(rows, np.zeros(3))
  for t in range(1, 20):
    np.testing.assert_array_equal(missing.hold(rows[:t], np.zeros(3)), whole[:t])


@pytest.mark.parametrize("how", ["hold", "interpolate"])
def test_filled_values_are_counted(tmp_path, how):
  train, clean = ([GAPS, *make([3, 3, 3])], list("abab")), (make([3]), ["a"])
  data = series.load(write_pair(tmp_path, train, clean), missing=how)
  (note,) = [note for note in data.notes if "missing" in note]
  assert note.startswith("a_TRAIN.ts: 5 values missing in 1 series: ")
  assert ("future" in note) == (how == "interpolate")
  assert all(np.isfinite(split.inputs).all() for split in data.splits)


def test_samples_are_joined_as_a_loop_joins_them():
  random = np.random.default_rng(0)
  inputs, lengths = random.normal(size=(3, 7, 2)).astype(np.float32), np.array([7, 3, 1], np.int32)
  for row, length in zip(inputs, lengths, strict=True):
    row[length:] = 0
  batch = Batch(jnp.asarray(inputs), jnp.zeros(3, jnp.int32), jnp.asarray(lengths))
  joined = series.join_samples(batch, 3)
  assert joined.lengths.tolist() == [3, 1, 1] and joined.inputs.shape == (3, 3, 6)
  for b in range(3):
    for t in range(3):
      expected = [inputs[b, s, f] if s < 7 else 0 for s in range(3 * t, 3 * t + 3) for f in (0, 1)]
      np.testing.assert_array_equal(joined.inputs[b, t], expected)
  assert series.join_samples(batch, 1) is batch


def refuses(message, call, *given, **named):
  with pytest.raises(ValueError, match=re.escape(message)) as error:
    call(*given, **named)
  assert "\n" not in str(error.value)


def test_a_label_that_is_a_number_names_a_class_that_is_the_same_number(tmp_path):
  names = ("0", "1.5", "2", "10")
  found = [series.find_class(label, names) for label in ("0.0", "1.50", "2", "3", "open", "1_0")]
  assert found == ["0", "1.5", "2", None, None, None]
  assert series.find_class("1", ("open", "shut")) is None
  assert series.find_class("2.0", ("1a", "2")) == "2"
  pair = write_pair(tmp_path, (make([2, 2, 2, 2]), list("2121")), (make([2, 3]), ["2.0", "1.0"]))
  data = series.load(pair)
  assert data.class_names == ("1", "2") and data.splits.test.labels.tolist() == [1, 0]


def test_files_that_do_not_fit_together(tmp_path):
  good = (make([2, 2, 2, 2]), list("abab"))
  check = lambda message, train, test, **named: refuses(
    message, series.load, write_pair(tmp_path, train, test), **named
  )
  check("a_TEST.ts, line 10: no training series has the class 'c'; the classes there are a, b",
        good, (make([2, 2]), ["a", "c"]))  # fmt: skip
  check("has the classes '1' and '1.0', which are one number", (
    make([2, 2, 2]), ["1", "1.0", "2"]), good)  # fmt: skip
  check("has only the class 'a'; a classifier needs two", (make([2, 2]), ["a", "a"]), good)
  check("has one series of each class, so that none can be held out", (make([2, 2]), ["a", "b"]), (
    make([2]), ["a"]))  # fmt: skip
  check("a_TRAIN.ts has 2 channels", good, (make([2], channels=3), ["a"]))
  check("--validation_share is 0.7", good, good, validation_share=0.7)
  empty = [rows.copy() for rows in good[0]]
  empty[2][:, 1] = np.nan
  check("a_TRAIN.ts, line 11: channel 2 has no value in all of the series", (empty, good[1]), good)
  gap = ([GAPS[3:], *good[0]], ["a", *good[1]])
  check("a_TEST.ts, line 9: step 2 of channel 1 is missing; complete the file", good, gap,
        missing="error")  # fmt: skip
  check("missing is 'guess'; choose one of hold, interpolate, error", good, good, missing="guess")
  single = ([rows[:1] for rows in good[0]], good[1])
  check("a_TRAIN.ts: every series has one step", single, single)
  far = [rows.copy() for rows in good[0]]
  far[1][1, 0] = 1e40
  check("a_TEST.ts, line 10: step 2 of channel 1 is 1e+40, too far from", good, (far, good[1]))
  for rows in far:
    rows[0, 0] = np.finfo(np.float64).max
  check("a_TRAIN.ts: channel 1 has values too large to be added up", (far, good[1]), good)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_the_unit_of_a_channel_changes_nothing(tmp_path, unit):
  values, labels = make([4, 4, 4, 4]), list("abab")
  scaled = [unit * rows for rows in values]
  plain, other = (
    series.load(write_pair(tmp_path, (v, labels), (v, labels))).splits.test.inputs
    for v in (values, scaled)
  )
  np.testing.assert_allclose(other, plain, rtol=1e-6)


def test_two_formats_without_names_of_channels_fit_together(tmp_path):
  made = make([3, 3, 3, 3]), list("abab")
  paths = write_pair(tmp_path, made, made)
  np.savez(tmp_path / "b.npz", X=np.stack(made[0]), y=np.array(made[1]), meta=np.zeros(2))
  loaded = series.load(series.Paths(paths.train, tmp_path / "b.npz"))
  assert loaded.channels == ("channel 1", "channel 2")
  assert "b.npz: arrays that are not read: meta" in loaded.notes


def test_channels_are_compared_by_name(tmp_path):
  values, labels = make([2, 2, 2, 2], channels=1), list("abab")
  paths = write_pair(tmp_path, (values, labels), (values, labels), write_csv, ".csv")
  paths.test.write_text(paths.test.read_text().replace("channel 0", "speed"))
  refuses("has the channels channel 0, ", series.load, paths)


def test_what_was_looked_for_is_said(tmp_path):
  find = lambda message, **given: refuses(message, series.find_files, **given)
  find("give --data_dir=FOLDER, or --train=FILE and --test=FILE, or --dataset")
  find("is named in one of three ways", data_dir="a", train="b", test="c")
  find("there is --train but no --test", train="a.ts")
  find("there is --test but no --train", test="a.ts")
  find("a.ts is no file; give the path of a .ts, .npz", train="a.ts", test="b.ts")
  find("--data_dir=nowhere is no folder", data_dir="nowhere")
  find("--data_dir=~no_such_user is no folder", data_dir="~no_such_user")
  find("has no series; looked for *_TRAIN.ts and *_TEST.ts; train.npz and", data_dir=str(tmp_path))
  find("dataset is 'Nothing'; choose one of ACSF1, ArrowHead", dataset="Nothing")
  good = (make([2, 2]), ["a", "b"])
  write_ts(tmp_path / "b_TRAIN.ts", *good)
  find("has b_TRAIN.ts but no *_TEST.ts; looked for", data_dir=str(tmp_path))
  find(
    "--train and --test are both", **dict.fromkeys(("train", "test"), str(tmp_path / "b_TRAIN.ts"))
  )
  write_ts(tmp_path / "b_TEST.ts", *good)
  assert series.find_files(data_dir=str(tmp_path)) == (
    tmp_path / "b_TRAIN.ts", tmp_path / "b_TEST.ts"
  )  # fmt: skip
  write_npz(tmp_path / "test.npz", *good)
  both = series.find_files(train=str(tmp_path / "test.npz"), test=str(tmp_path / "test.npz"))
  refuses("test.npz has no array 'X_train' (it has X, y, lengths); save it", series.load, both)
  unseen = tmp_path / "\x01.npz"
  refuses("cannot be printed; rename it", series.load, series.Paths(unseen, unseen))
  find("has series in several formats (b_TRAIN.ts, test.npz)", data_dir=str(tmp_path))
  (tmp_path / "test.npz").unlink()
  write_ts(tmp_path / "c_TEST.ts", *good)
  find("has b_TEST.ts, c_TEST.ts; name the files with --train", data_dir=str(tmp_path))
  (tmp_path / "b_TEST.ts").unlink()
  find("has b_TRAIN.ts and c_TEST.ts, which are of two data sets", data_dir=str(tmp_path))


def test_aeon_that_is_absent_is_named(monkeypatch):
  monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
  refuses("--dataset=GunPoint is a part of aeon; pip install 'rc-jax[peers]'",
          series.find_files, dataset="GunPoint")  # fmt: skip
  refuses("--dataset=Trace is a part of tslearn; pip install 'rc-jax[peers]'",
          series.find_files, dataset="Trace")  # fmt: skip

"""What is written in a format is read back from it, bit by bit."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from series_files import WRITERS, pad, write_ts

from data_pipelines import series

VALUES = st.floats(-1e12, 1e12) | st.just(np.nan)
LABELS = st.text("abc-1.é", min_size=1, max_size=4)


@st.composite
def collections(draw):
  """Series of several lengths and of one number of channels, with labels."""
  channels = draw(st.integers(1, 3))
  lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
  values = [draw(arrays.arrays(np.float64, (n, channels), elements=VALUES)) for n in lengths]
  return values, [draw(LABELS) for _ in lengths]


@pytest.mark.parametrize("name", WRITERS)
def test_what_is_written_is_read_back(name, tmp_path):
  # Beside other work drawing takes longer than hypothesis likes.
  @settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
  @given(collections())
  def check(made):
    values, labels = made
    WRITERS[name](tmp_path / name, values, labels)
    read = series.read_file(tmp_path / name)
    assert read.labels == tuple(labels)
    assert len(read.values) == len(read.places) == len(values)
    for rows, expected in zip(read.values, values, strict=True):
      np.testing.assert_array_equal(rows, expected)
    assert len(read.channels) == values[0].shape[1]

  check()


def test_arrays_of_one_channel_and_numbers_as_labels(tmp_path):
  X = np.arange(6, dtype=np.int16).reshape(2, 3)
  np.savez(tmp_path / "a.npz", X=X, y=np.array([1.5, 2.0]))
  read = series.read_file(tmp_path / "a.npz")
  assert read.labels == ("1.5", "2.0") and read.notes == ()
  np.testing.assert_array_equal(np.stack(read.values), X[..., None])
  np.savez(tmp_path / "a.npz", X=X, y=np.array([b"on", b"off"]))
  assert series.read_file(tmp_path / "a.npz").labels == ("on", "off")


def test_nan_at_the_end_of_arrays_is_padding_where_no_lengths_are_given(tmp_path):
  values = [np.ones((2, 2)), np.array([[1, np.nan], [np.nan, np.nan], [2, np.nan]])]
  X, _ = pad(values)
  np.savez(
    tmp_path / "a.npz", X=np.pad(X, ((0, 0), (0, 2), (0, 0)), constant_values=np.nan), y=[1, 2]
  )
  read = series.read_file(tmp_path / "a.npz")
  for rows, expected in zip(read.values, values, strict=True):
    np.testing.assert_array_equal(rows, expected)
  assert read.notes == ("a.npz: 2 series end in steps that are NaN throughout: taken for padding",)


def test_a_header_as_the_archive_has_it(tmp_path):
  text = "%old comment\n\n@problemName x\n@TIMESTAMPS FALSE\n@missing true\n@univariate true\n"
  text += "@dimensions 1\n@equalLength false\n@seriesLength 3\n@classLabel true a b\n@DATA\n"
  (tmp_path / "x.ts").write_bytes(("﻿" + text + "1,?, 3 :b\r\n\n NaN,2:a\r\n").encode())
  read = series.read_file(tmp_path / "x.ts")
  assert read.labels == ("b", "a") and read.places == ("line 12", "line 14")
  np.testing.assert_array_equal(read.values[0][:, 0], [1, np.nan, 3])
  np.testing.assert_array_equal(read.values[1][:, 0], [np.nan, 2])


def test_dates_are_times_and_uneven_ones_are_told(tmp_path):
  rows = ["id,when,x,y", "a,2024-05-01T12:00:00,1,up", "a,2024-05-01T12:00:10,2,up"]
  (tmp_path / "even.csv").write_text("\n".join(["id,when,x,label", *(r for r in rows[1:])]))
  assert series.read_file(tmp_path / "even.csv").notes == ()
  rows.append("a,2024-05-01T13:00:10+01:00,2,up")  # ten seconds later would be 12:00:20
  with pytest.raises(ValueError, match=r"line 4: the time .* does not come after"):
    (tmp_path / "late.csv").write_text("\n".join(rows))
    series.read_file(tmp_path / "late.csv")
  rows[-1] = "a,2024-05-01T12:00:40,2,up"
  (tmp_path / "uneven.csv").write_text("\n".join(rows))
  (note,) = series.read_file(tmp_path / "uneven.csv").notes
  assert note.startswith("uneven.csv: steps lie 10 to 30 apart in time")


def test_times_a_nanosecond_apart_differ(tmp_path):
  first = 1_700_000_000_000_000_000
  rows = [f"a,{time},1,up" for time in (first, first + 1, first + 2)]
  (tmp_path / "x.csv").write_text("\n".join(["id,ns,x,label", *rows]))
  read = series.read_file(tmp_path / "x.csv")
  assert [len(rows) for rows in read.values] == [3] and read.notes == ()


def test_aeons_reader_reads_the_same(tmp_path):
  pytest.importorskip("aeon")
  from aeon.datasets import load_from_ts_file

  random = np.random.default_rng(0)
  for lengths in ((4, 4, 4), (4, 2, 3)):
    values = [random.normal(size=(n, 2)) for n in lengths]
    labels = ["b", "a", "b"]
    equal = "true" if len(set(lengths)) == 1 else "false"
    header = ["@problemName x", "@timestamps false", "@missing false", "@univariate false"]
    header += ["@dimension 2", f"@equallength {equal}", "@classlabel true a b"]
    write_ts(tmp_path / "x.ts", values, labels, header=header)
    theirs, their_labels = load_from_ts_file(str(tmp_path / "x.ts"))
    ours = series.read_file(tmp_path / "x.ts")
    assert list(their_labels) == list(ours.labels)
    for a, b in zip(theirs, ours.values, strict=True):
      np.testing.assert_array_equal(np.asarray(a).T, b)


@pytest.mark.parametrize("name", [name for name in series.PACKAGED if name != "Trace"])
def test_the_sets_that_aeon_brings_are_read_as_aeon_reads_them(name):
  pytest.importorskip("aeon")
  from aeon.datasets import load_from_ts_file

  for path in series.find_files(dataset=name):
    theirs, labels = load_from_ts_file(str(path))
    ours = series.read_file(path)
    assert list(labels) == [label.lower() for label in ours.labels]  # aeon's are in lower case
    for a, b in zip(theirs, ours.values, strict=True):
      np.testing.assert_array_equal(np.asarray(a).T, b)


def test_trace_is_read_as_tslearn_reads_it():
  pytest.importorskip("tslearn")
  from tslearn.datasets import CachedDatasets

  X_train, y_train, X_test, y_test = CachedDatasets().load_dataset("Trace")
  for (X, y), ours in zip(
    ((X_train, y_train), (X_test, y_test)),
    series.read_files(series.find_files(dataset="Trace")),
    strict=True,
  ):
    np.testing.assert_array_equal(np.stack(ours.values), X)
    assert ours.labels == tuple(map(str, y))


def test_one_file_holds_both_splits(tmp_path):
  path = tmp_path / "a.npz"
  X = np.arange(24.0).reshape(4, 3, 2)
  np.savez(path, X_train=X, y_train=list("abab"), X_test=X[:2, :2], y_test=list("ba"),
           lengths_train=[3, 2, 1, 3])  # fmt: skip
  train, test = series.read_files(series.find_files(train=str(path), test=str(path)))
  assert train.labels == tuple("abab") and test.labels == tuple("ba")
  assert [len(rows) for rows in train.values] == [3, 2, 1, 3]
  np.testing.assert_array_equal(train.values[1], X[1, :2])
  np.testing.assert_array_equal(np.stack(test.values), X[:2, :2])
  assert str(test.path) == f"{path} (test)"
  upper, link = tmp_path / "b.NPZ", tmp_path / "link.npz"
  path.rename(upper)
  link.symlink_to(upper)
  again = series.read_files(series.find_files(train=str(upper), test=str(link)))
  np.testing.assert_array_equal(again[1].values[1], test.values[1])
  np.savez(path, X=X, y=list("abab"), X_test=np.array([None]))
  (note,) = series.read_file(path).notes
  assert note == "a.npz: arrays that are not read: X_test"

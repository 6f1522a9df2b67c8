"""A file that cannot be used is told in one sentence, with file and line or row."""

import re
import zipfile

import numpy as np
import pytest

from data_pipelines import series

GOOD_TS = """@problemName x
@timeStamps false
@univariate false
@dimension 2
@equalLength true
@seriesLength 2
@classLabel true a b
@data
1,2:3,4:a
5,6:7,8:b
"""
GOOD_CSV = """id,time,x,y,label
s1,0,1,2,a
s1,1,3,4,a
s2,0,5,6,b
"""


def ts(old, new):
  assert old in GOOD_TS
  return GOOD_TS.replace(old, new)


def lines(old, new):
  assert old in GOOD_CSV
  return GOOD_CSV.replace(old, new)


UNIVARIATE = ts("@univariate false\n@dimension 2", "@univariate true")
TEXTS = {
  "empty.ts": ("", "empty.ts is empty; give a file of series"),
  "no_data.ts": ("@classLabel true a b\n", "no_data.ts has no line @data"),
  "no_series.ts": (GOOD_TS.partition("1,2")[0], "no_series.ts has no series after @data"),
  "no_header.ts": ("1,2:a\n", "line 1: there are values before a line @data"),
  "no_classes.ts": (ts("@classLabel true a b\n", ""), "the header has no @classLabel true"),
  "regression.ts": (
    ts("@classLabel true a b", "@classLabel false"),
    "line 7: the header has no @classLabel true",
  ),
  "twice.ts": (ts("true a b", "true a b a"), "line 7: @classLabel names 'a' more than once"),
  "other_label.ts": (
    ts("8:b", "8:c"),
    "line 10: the label 'c' is not in the header's @classLabel (a, b)",
  ),
  "no_label.ts": (ts("8:b", "8:"), "line 10: the label is missing"),
  "unknown_label.ts": (ts("8:b", "8:?"), "line 10: the label is '?', which stands for a missing"),
  "blank_label.ts": (ts("8:b", "8:b b"), "line 10: the label 'b b' is not in the header's"),
  "unprintable_label.ts": (ts("8:b", "8:b\x1b"), "line 10: the label 'b\\x1b' cannot be printed"),
  "no_colon.ts": (ts("5,6:7,8:b", "5,6"), "line 10: there is no ':' before a label"),
  "ragged.ts": (ts("7,8:b", "7:b"), "line 10: dimension 2 has 1 values, dimension 1 has 2"),
  "length_zero.ts": (ts("5,6:7,8:b", "::b"), "line 10: dimension 1 has no values"),
  "number.ts": (ts("7,8:b", "7,x8:b"), "line 10: value 2: 2 is 'x8', which is no finite number"),
  "infinite.ts": (ts("7,8:b", "7,inf:b"), "line 10: value 2: 2 is 'inf', which is no finite"),
  "underscore.ts": (ts("7,8:b", "7,1_0:b"), "line 10: value 2: 2 is '1_0', which is no finite"),
  "comma.ts": (ts("7,8:b", "7,8,:b"), "line 10: value 2: 3 is '', which is no finite number"),
  "dimension.ts": (
    ts("@dimension 2", "@dimension 3"),
    "line 9: the series has 2 dimensions, but the header says @dimension 3",
  ),
  "univariate.ts": (
    UNIVARIATE,
    "line 8: the series has 2 dimensions, but the header says @univariate true",
  ),
  "dimensions.ts": (
    ts("@dimension 2\n", "").replace("5,6:7,8:b", "5,6:b"),
    "line 9: the series has 1 dimensions, but the header says @univariate false",
  ),
  "length.ts": (
    ts("@seriesLength 2", "@seriesLength 3"),
    "line 9: the series has 2 values, but the header says @seriesLength 3",
  ),
  "equal.ts": (
    ts("@seriesLength 2\n", "").replace("5,6:7,8:b", "5:7:b"),
    "line 9: the series has 1 values, the first has 2, but the header says @equalLength true",
  ),
  "dimensions_unsaid.ts": (
    ts("@dimension 2\n", "").replace("@univariate false\n", "").replace("5,6:7,8:b", "5,6:b"),
    "the series has 1 dimensions, those before have 2",
  ),
  "no_dimension.ts": (ts("@dimension 2", "@dimension 0"), "@dimension is '0'; give a whole number"),
  "digits.ts": (ts("@dimension 2", "@dimension " + 5000 * "2"), "give a whole number of 1 or more"),
  "tab.ts": (ts("@dimension 2", "@dimension\t3"), "the header says @dimension 3"),
  "count.ts": (ts("@seriesLength 2", "@seriesLength two"), "line 6: @seriesLength is 'two'"),
  "bool.ts": (ts("@equalLength true", "@equalLength yes"), "line 5: @equalLength is 'yes'; give"),
  "stamps.ts": (ts("Stamps false", "Stamps true"), "line 2: values with time stamps are not read"),
  "empty.csv": ("", "empty.csv is empty"),
  "blank.csv": ("\n\n", "blank.csv has no line below the names of its columns"),
  "names.csv": ("id,time,x,label\n", "names.csv has no line below the names of its columns"),
  "columns.csv": ("id;time;x;label\ns;0;1;a\n", "line 1: there are 1 columns; give id, time, one"),
  "no_names.csv": ("s1,0,1,2,a\n", "line 1: there are values where the first line has to name"),
  "no_names_dates.csv": (
    "s1,2024-05-01T12:00:00,0.0,a\ns1,2024-05-01T12:00:01,0.1,a\n",
    "line 1: there are values where the first line has to name",
  ),
  "no_name.csv": (lines("x,y", "x,"), "line 1: column 4 has no name; give it one"),
  "same_names.csv": (lines("x,y", "x,x"), "line 1: the column 'x' is there more than once"),
  "ragged.csv": (lines("s1,1,3,4,a", "s1,1,3,a"), "line 3: there are 4 fields, the first line nam"),
  "number.csv": (lines("s1,1,3,4", "s1,1,3,four"), "line 3: column 'y' is 'four', which is no fin"),
  "infinite.csv": (lines("s1,1,3,4", "s1,1,-inf,4"), "line 3: column 'x' is '-inf', which is no"),
  "no_label.csv": (lines("5,6,b", "5,6,"), "line 4, series 's2': the label is missing"),
  "na_label.csv": (lines("5,6,b", "5,6,NA"), "the label is 'NA', which stands for a missing one"),
  "two_labels.csv": (
    lines("3,4,a", "3,4,b"),
    "line 3: the label is 'b', but series 's1' began with 'a' in line 2; a series has one label, "
    "in the last column, here 'label'",
  ),
  "label_before.csv": (
    lines("x,y,label", "x,Class,machine"),
    "line 1: the last column, 'machine', is read as the label, and 'Class' stands among the chan",
  ),
  "no_id.csv": (lines("s2,0", ",0"), "line 4: the id of the series is missing"),
  "same_id.csv": (
    GOOD_CSV + "s1,2,1,1,a\n",
    "line 5: the series 's1' began in line 2, and others came between",
  ),
  "same_time.csv": (lines("s1,1", "s1,0"), "line 3: the time 0 of series 's1' does not come after"),
  "time.csv": (lines("s1,1", "s1,noon"), "line 3: the time is 'noon'; give a number, or a date"),
  "nan_time.csv": (lines("s1,1", "s1,nan"), "line 3: the time is 'nan'; give a number"),
  "long_time.csv": (lines("s1,1", "s1," + "9" * 400), "line 3: the time is '9999"),
  "quotes.csv": (lines("s2,0", '"s2,0'), "line 4: unexpected end of data; correct the quotes"),
  "ending.txt": ("1", "ending.txt ends in '.txt'; give a file in .ts, .npz, .npy, .csv"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_bad_text_file_is_one_clear_sentence(name, tmp_path):
  text, message = TEXTS[name]
  (tmp_path / name).write_text(text)
  check_sentence(tmp_path / name, message)


def check_sentence(path, message):
  with pytest.raises(ValueError, match=re.escape(message)) as error:
    series.read_file(path)
  assert "\n" not in str(error.value) and str(error.value).startswith(str(path))


def test_the_good_files_are_good(tmp_path):
  for name, text in {"a.ts": GOOD_TS, "a.csv": GOOD_CSV}.items():
    (tmp_path / name).write_text(text)
    assert series.read_file(tmp_path / name).labels == ("a", "b")


X, Y = np.zeros((3, 4, 2)), np.array([0, 1, 0])
RAGGED = np.array([[1, 2], [3]], dtype=object)
ARRAYS = {
  "no_y": (dict(X=X), "has no array 'y' (it has X); save it"),
  "both": (dict(X_train=X, y_train=Y), "y=y), or name it by both --train and --test"),
  "objects": (dict(X=RAGGED, y=Y), "array 'X' holds objects, or is no file of NumPy"),
  "object_labels": (dict(X=X, y=np.array(["a", 1, None], object)), "array 'y' holds objects"),
  "text": (dict(X=np.array([["1"]]), y=Y[:1]), "X is <U1[1, 1]; give numbers of shape [N, T, F]"),
  "flat": (dict(X=X[:, 0, 0], y=Y), "X is float64[3]; give numbers of shape"),
  "labels": (dict(X=X, y=Y[:, None]), "y is int64[3, 1]; give numbers or text of shape [N]"),
  "disagree": (dict(X=X, y=Y[:2]), "X has 3 series, y 2 labels"),
  "none": (dict(X=X[:0], y=Y[:0]), "X has no series"),
  "no_steps": (dict(X=X[:, :0], y=Y), "X is [3, 0, 2], without a step or channel"),
  "no_channel": (dict(X=X[..., :0], y=Y), "X is [3, 4, 0], without a step or channel"),
  "infinite": (dict(X=np.where(np.eye(3, 4) > 0, np.inf, 0), y=Y), "row 0: there is an infinite"),
  "all_nan": (dict(X=np.stack([X[0], np.nan * X[0]]), y=Y[:2]), "row 1: the series has no steps"),
  "nan_label": (dict(X=X, y=np.array([0, 1, np.nan])), "row 2: the label is 'nan', which stands"),
  "bytes": (
    dict(X=X, y=np.array([b"\xe9", b"\xe8", b"a"])),
    "row 0: the label b'\\xe9' is no UTF-8",
  ),
  "no_label": (dict(X=X, y=np.array(["a", "", "b"])), "row 1: the label is missing"),
  "lengths": (dict(X=X, y=Y, lengths=[4, 4]), "lengths is int64[2]; give a whole number for each"),
  "length": (dict(X=X, y=Y, lengths=[4, 0, 4]), "row 1: the length is 0; it has to lie in 1..4"),
  "swapped": (
    dict(X=X.swapaxes(1, 2), y=Y, lengths=[4, 3, 4]),
    "row 0: the length is 4; it has to lie in 1..2, the steps of X; X looks like [N, F, T]",
  ),
  "too_long": (dict(X=X, y=Y, lengths=[4, 5, 4]), "row 1: the length is 5; it has to lie in 1..4"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_bad_arrays_are_one_clear_sentence(name, tmp_path):
  arrays, message = ARRAYS[name]
  np.savez(tmp_path / "a.npz", **arrays)
  check_sentence(tmp_path / "a.npz", message)


def test_files_that_are_none_of_numpy(tmp_path):
  (tmp_path / "empty.npz").touch()
  check_sentence(tmp_path / "empty.npz", "empty.npz: cannot be read (it is empty)")
  (tmp_path / "text.npz").write_text("1,2,3")
  check_sentence(tmp_path / "text.npz", "holds objects, or is no file of NumPy")
  np.savez(tmp_path / "cut.npz", X=X, y=Y)
  whole = (tmp_path / "cut.npz").read_bytes()
  (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
  check_sentence(tmp_path / "cut.npz", "cut.npz: cannot be read (File is not a zip file)")
  with zipfile.ZipFile(tmp_path / "junk.npz", "w") as made:
    made.writestr("X", b"abc")
  check_sentence(tmp_path / "junk.npz", "array 'X' cannot be read (it is no array of NumPy)")
  np.savez(tmp_path / "other.npz", X=X, y=Y)
  (tmp_path / "other.npz").rename(tmp_path / "X_other.npy")
  np.save(tmp_path / "y_other.npy", Y)
  check_sentence(tmp_path / "X_other.npy", "is an .npz under another name; give it that ending")
  np.save(tmp_path / "X.npy", X)
  with pytest.raises(ValueError, match=r"y\.npy cannot be read \(No such file"):
    series.read_file(tmp_path / "X.npy")
  with pytest.raises(
    ValueError, match=r"inputs\.npy: the name of an \.npy file of series begins with"
  ):
    series.read_file(tmp_path / "inputs.npy")
  check_sentence(tmp_path / "absent.ts", "absent.ts cannot be read (No such file or directory)")
  (tmp_path / "latin.ts").write_bytes("# caf\xe9\n".encode("latin-1"))
  check_sentence(tmp_path / "latin.ts", "latin.ts is no UTF-8 text")

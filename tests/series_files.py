"""Writes labelled series in each format, as a user's own tools would."""

import csv

import numpy as np


def write_ts(path, values, labels, *, header=None):
  """A `.ts` file; `header` replaces the honest one."""
  names = " ".join(sorted(set(labels)))
  dimension = values[0].shape[1]
  header = header or [
    "# made by a test",
    "@problemName Made",
    "@timeStamps false",
    f"@univariate {'true' if dimension == 1 else 'false'}",
    f"@dimension {dimension}",
    f"@equalLength {'true' if len({len(v) for v in values}) == 1 else 'false'}",
    f"@classLabel true {names}",
  ]
  text = lambda x: "?" if np.isnan(x) else repr(float(x))
  lines = [
    ":".join([",".join(map(text, channel)) for channel in rows.T] + [label])
    for rows, label in zip(values, labels, strict=True)
  ]
  path.write_text("\n".join([*header, "@data", *lines]) + "\n")


def write_csv(path, values, labels):
  """A `.csv` file in long form; missing values are empty fields."""
  channels = [f"channel {i}" for i in range(values[0].shape[1])]
  with open(path, "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["id", "time", *channels, "label"])
    for i, (rows, label) in enumerate(zip(values, labels, strict=True)):
      for t, row in enumerate(rows):
        fields = ["" if np.isnan(x) else repr(float(x)) for x in row]
        writer.writerow([f"s{i}", 0.5 * t, *fields, label])


def pad(values, fill=np.nan):
  """`X [N, T, F]` of series of several lengths, and these lengths `[N]`."""
  lengths = np.array([len(rows) for rows in values])
  X = np.full((len(values), lengths.max(), values[0].shape[1]), fill)
  for row, rows in zip(X, values, strict=True):
    row[: len(rows)] = rows
  return X, lengths


def write_npz(path, values, labels):
  """An `.npz` file whose padding is nonsense, since `lengths` are given."""
  X, lengths = pad(values, fill=1e30)
  np.savez(path, X=X, y=np.array(labels), lengths=lengths)


def write_npy(path, values, labels):
  """`X_*.npy` with its `y_*.npy` and `lengths_*.npy`."""
  X, lengths = pad(values, fill=-7.0)
  for name, array in {"X": X, "y": np.array(labels), "lengths": lengths}.items():
    np.save(path.with_name(name + path.name[1:]), array)


WRITERS = {
  "a_TRAIN.ts": write_ts,
  "train.csv": write_csv,
  "train.npz": write_npz,
  "X_train.npy": write_npy,
}

"""A run goes on with the data that it began with, and with no other."""

import json

import numpy as np
import pytest

from data_pipelines.batches import Split, Splits
from experiments.harness import workdir
from experiments.harness.fingerprint import identify_data, identify_splits, list_differences

NAMES = ("no", "yes")
INPUTS = np.random.default_rng(0).normal(-6, 2, (300, 7, 5)).astype(np.float32)
LABELS = np.arange(300) % 2


def identify(inputs=INPUTS, labels=LABELS, lengths=None, names=NAMES, **saved):
  lengths = np.full(len(inputs), 7) if lengths is None else lengths
  split = Split(inputs, labels, lengths, num_classes=2, num_steps=7, name="any")
  other = Split(INPUTS[:4], LABELS[:4], [7] * 4, num_classes=2, num_steps=7, name="any")
  data = identify_data(identify_splits(Splits(split, other, other)), names, saved)
  return json.loads(json.dumps(data))


def exchange(values, i, j):
  values = values.copy()
  values[[i, j]] = values[[j, i]]
  return values


def test_rounding_by_another_machine_is_no_other_data():
  rounded = INPUTS * (1 + 1e-6 * np.random.default_rng(1).normal(size=INPUTS.shape))
  assert list_differences(identify(mean=[1.0]), identify(rounded.astype("f4"), mean=[1.0])) == []


@pytest.mark.parametrize(
  "changed, message",
  [
    (dict(inputs=exchange(INPUTS, 10, 200)), "other inputs in the train split"),
    (dict(inputs=INPUTS + 0.1 * (np.arange(300) == 7)[:, None, None]), "other inputs in the train"),
    (dict(inputs=np.zeros((300, 7, 5), np.uint8)), "other inputs in the train"),
    (dict(labels=exchange(LABELS, 0, 1)), "other labels in the train split"),
    (dict(lengths=np.arange(300) % 7 + 1), "other lengths in the train split"),
    (dict(inputs=INPUTS[:9], labels=LABELS[:9]), "train split had 300 examples, has 9"),
    (dict(names=("no", "oui")), "the classes were no, yes, are no, oui"),
    (dict(mean=[1.001]), "another mean of the inputs"),
  ],
)
def test_what_differs_is_named(changed, message):
  (difference,) = list_differences(identify(mean=[1.0]), identify(**({"mean": [1.0]} | changed)))
  assert message in difference


def test_whole_numbers_are_compared_to_the_last_bit():
  images = np.random.default_rng(0).integers(0, 255, (300, 7, 5)).astype(np.uint8)
  other = images.copy()
  other[299, 6, 4] ^= 1
  assert list_differences(identify(images), identify(images.copy())) == []
  assert list_differences(identify(images), identify(other)) == ["other inputs in the train split"]


def test_a_workdir_refuses_other_data_and_an_old_one_goes_on_with_a_note(tmp_path):
  open_with = lambda data: workdir.Workdir(str(tmp_path), "speech", {}, {}, data)
  workdir.Workdir(str(tmp_path), "speech", {}, {})  # as before the fingerprint
  (note,) = open_with(identify()).notes
  assert "whether the data is still the same was not checked" in note
  assert open_with(identify()).notes == []
  before = (tmp_path / "config.json").read_bytes()
  with pytest.raises(ValueError, match=r"holds a run on other data \(other labels in the train"):
    open_with(identify(labels=1 - LABELS))
  assert (tmp_path / "config.json").read_bytes() == before

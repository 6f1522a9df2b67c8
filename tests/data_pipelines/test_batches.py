"""Splits and their shuffled batches."""

import numpy as np
import pytest

from data_pipelines.batches import Split, filled_indices, shuffled_indices


def split(inputs=None, labels=(0, 1, 0), lengths=(2, 3, 1)):
  inputs = np.zeros((3, 3), np.float32) if inputs is None else inputs
  return Split(inputs, labels, lengths, num_classes=2, num_steps=3, name="training")


def test_records_by_index():
  records = split()[np.array([2, 1])]
  assert records.labels.tolist() == [0, 1] and records.lengths.tolist() == [1, 3]


def test_every_epoch_has_each_record_once_in_another_order():
  batches = shuffled_indices(12, 4, seed=7)
  epochs = [np.concatenate([batches[3 * e + k] for k in range(3)]) for e in range(3)]
  for epoch in epochs:
    assert sorted(epoch.tolist()) == list(range(12))
  assert len({tuple(e.tolist()) for e in epochs}) == 3


def test_the_short_batch_is_dropped_and_the_seed_decides():
  batches = shuffled_indices(11, 4, seed=7)
  epoch = np.concatenate([batches[0], batches[1]])
  assert len(set(epoch.tolist())) == 8
  again = shuffled_indices(11, 4, seed=7)
  other = shuffled_indices(11, 4, seed=8)
  assert all(np.array_equal(batches[k], again[k]) for k in range(6))
  assert any(not np.array_equal(batches[k], other[k]) for k in range(6))


@pytest.mark.parametrize("batch_size", [3, 4, 5, 10])
def test_filled_batches_lose_no_record_and_may_be_larger_than_the_data(batch_size):
  batches = filled_indices(4, batch_size, seed=7)
  drawn = np.concatenate([batches[k] for k in range(12)])
  assert all(len(batches[k]) == batch_size for k in range(12))
  epochs = [shuffled_indices(4, 4, seed=7)[k] for k in range(30)]  # the same orders, whole
  assert drawn.tolist() == np.concatenate(epochs)[: len(drawn)].tolist()


def test_an_iterator_goes_on_from_its_state():
  iterator = iter(shuffled_indices(20, 3, seed=1).to_iter_dataset())
  for _ in range(8):
    next(iterator)
  state = iterator.get_state()
  expected = [next(iterator).tolist() for _ in range(5)]
  other = iter(shuffled_indices(20, 3, seed=1).to_iter_dataset())
  other.set_state(state)
  assert [next(other).tolist() for _ in range(5)] == expected


@pytest.mark.parametrize(
  "change, message",
  [
    (dict(labels=(0, 2, 0)), "label 2 of record 1 in the training split is outside 0..1"),
    (dict(labels=(0, -1, 0)), "label -1 of record 1"),
    (dict(labels=(0, 1.2, 0)), "label 1.2 of record 1 in the training split is no whole number"),
    (dict(labels=(0, np.nan, 0)), "label nan of record 1 in the training split is no whole"),
    (dict(lengths=(2, 2, 0.5)), "length 0.5 of record 2"),
    (dict(lengths=(0, 1, 1)), "length 0 of record 0 in the training split is outside 1..3"),
    (dict(lengths=(1, 1, 4)), "length 4 of record 2"),
    (dict(labels=(0, 1)), "3 inputs, 2 labels and 3 lengths"),
    (dict(inputs=np.zeros((0, 3)), labels=(), lengths=()), "the training split has no records"),
    (
      dict(inputs=np.array([[0, 0], [0, np.nan], [0, 0]])),
      "record 1 in the training split has NaN",
    ),
  ],
)
def test_bad_records_are_named(change, message):
  with pytest.raises(ValueError, match=message):
    split(**change)


def test_a_batch_larger_than_the_data():
  with pytest.raises(ValueError, match="batch_size is 64 but there are only 10 training examples"):
    shuffled_indices(10, 64, seed=0)

"""Mutated archives of arrays: MNIST's idx files, and the npz of a run's examples."""

import gzip
import hashlib
import io
import struct
from unittest import mock

import numpy as np

from data_pipelines import temporal_mnist
from experiments.harness.examples import read_examples
from tests.fuzz.mutations import mutate
from tests.fuzz.outcomes import READ, REFUSED, check, refuse


def try_idx(rng, folder, seeds):
  """Writes four archives, mutates one of them, and loads them; as `try_sound`."""
  made, numbers = {}, np.random.default_rng(rng.randrange(100))
  for part, count in (("train", 12), ("t10k", 5)):
    images = numbers.integers(0, 256, (count, 28, 28)).astype(np.uint8)
    labels = numbers.integers(0, 10, count).astype(np.uint8)
    head = struct.pack(">IIII", 2051, count, 28, 28)
    made[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(head + images.tobytes(), mtime=0)
    made[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(
      struct.pack(">II", 2049, count) + labels.tobytes(), mtime=0
    )
  digests = {name: hashlib.md5(data).hexdigest() for name, data in made.items()}
  which, whole = rng.choice(sorted(made)), rng.randrange(5) == 0
  content, done = (made[which], []) if whole else mutate(rng, made[which], list(made.values()))
  for name, data in (made | {which: content}).items():
    (folder / name).write_bytes(data)
  with mock.patch.object(temporal_mnist, "MD5", digests), refuse(which) as refused:
    splits = temporal_mnist.load("mnist", data_dir=str(folder), holdout=2)
  check(bool(refused) == (content != made[which]), f"{which} after {done}: {refused}")
  if refused:
    return REFUSED, f"idx: {' + '.join(done)}"
  check(np.array_equal(splits.test.labels, labels), "other labels")
  check(np.array_equal(splits.test.inputs, images), "other images")
  return READ, "idx: untouched"


def try_npz(rng, folder, seeds):
  """Writes examples.npz, mutates it, and reads it; as `try_sound`."""
  file = io.BytesIO()
  arrays = {"inputs": np.arange(2000.0).reshape(4, 50, 10), "labels": np.arange(4)}
  np.savez_compressed(file, **arrays)
  if rng.randrange(2):
    file = io.BytesIO()
    np.savez(file, **arrays, pickled=np.array([print], object))
  content, done = mutate(rng, file.getvalue(), [b"PK\3\4", file.getvalue()])
  path = folder / "examples.npz"
  path.write_bytes(content)
  with refuse(path.name) as refused:
    read = read_examples(path)
    check(all(isinstance(a, np.ndarray) and a.dtype != object for a in read.values()), "an object")
  return REFUSED if refused else READ, f"npz: {' + '.join(done)}"

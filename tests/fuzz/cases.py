"""One case of hostile data: made from a seed and a number, and read."""

import random
import shutil

import numpy as np

from tests.fuzz.arrays import try_idx, try_npz
from tests.fuzz.seeds import write_seeds
from tests.fuzz.sounds import try_sound
from tests.fuzz.trees import try_cache, try_tree

KINDS = {"sound": try_sound, "tree": try_tree, "cache": try_cache, "idx": try_idx, "npz": try_npz}
PERIOD = 50  # of so many cases one is of each other kind, and all others are sounds


def list_seeds():
  """The sound files that are mutated."""
  return list(write_seeds(np.random.default_rng(0)))


def kind_of(number):
  """The kind of a case by its number; the last ones of a period are no sounds."""
  others = [kind for kind in KINDS if kind != "sound"]
  return (["sound"] * (PERIOD - len(others)) + others)[number % PERIOD]


def run_case(seed, number, folder, seeds):
  """Runs a case in a folder, which is gone afterwards unless it fails.

  Args:
    seed: of all cases.
    number: of this one.
    folder: to write into; it is made anew.
    seeds: of `list_seeds`.

  Returns:
    Its outcome and what was done.

  Raises:
    Exception: whatever a reader of bad data must not raise.
  """
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir()
  rng = random.Random(f"{seed} {number}")
  outcome, what = KINDS[kind_of(number)](rng, folder, seeds)
  shutil.rmtree(folder)
  return outcome, what

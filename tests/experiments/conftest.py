"""What tests of the binaries share."""

import signal

import numpy as np
import pytest
import soundfile
from running import share_programs

from experiments.harness import figures, flags


@pytest.fixture(autouse=True, scope="module")
def parsed_flags():
  """Tests set flags by `flagsaver`; of the two devices that they have, a run takes one."""
  flags.FLAGS(["test", "--devices=1"])


@pytest.fixture(autouse=True, scope="session")
def signals_are_heard():
  """As in a terminal: a job in the background ignores SIGINT, and one of `nohup` SIGHUP."""
  signal.signal(signal.SIGINT, signal.default_int_handler)
  signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def no_pictures(monkeypatch):
  """For tests that look at a run's numbers alone: drawing was a quarter of their time."""
  monkeypatch.setattr(figures, "draw_all", lambda *given, **named: [])


@pytest.fixture
def shared_programs(monkeypatch):
  """For tests of what lies in a run's folder, where compiling would be half of the time."""
  share_programs(monkeypatch)


@pytest.fixture(scope="session")
def words(tmp_path_factory):
  """A miniature tree of recordings: a tone a word, eight speakers."""
  root = tmp_path_factory.mktemp("words")
  rng = np.random.default_rng(0)
  t = np.arange(16_000) / 16_000
  entries = {"validation_list.txt": [], "testing_list.txt": []}
  for word, hertz in (("low", 200), ("mid", 900), ("high", 3000)):
    (root / word).mkdir()
    for speaker in range(24):
      name = f"{word}/speaker{speaker}_nohash_0.wav"
      tone = 0.3 * np.sin(2 * np.pi * hertz * t) + 0.05 * rng.standard_normal(len(t))
      soundfile.write(root / name, tone, 16_000)
      if speaker % 4 == 0:
        entries["validation_list.txt" if speaker % 8 else "testing_list.txt"].append(name)
  for name, listed in entries.items():
    (root / name).write_text("\n".join(listed) + "\n")
  return root

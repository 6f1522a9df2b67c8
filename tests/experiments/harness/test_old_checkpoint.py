"""A run that an earlier version began is taken up, number by number, and goes on."""

import contextlib
import pathlib
import shutil

import numpy as np
import pytest
from running import lines, read_json, run, set_up

from experiments import temporal_mnist
from experiments.harness import run_state
from experiments.harness.checkpoints import Snapshot
from experiments.harness.files import Files
from experiments.harness.workdir import Workdir
from tests.fixtures.make import EPOCHS, FOLDER, GIVEN, list_arrays

ARCHIVES = sorted(FOLDER.glob("*.zip"))


@pytest.mark.parametrize("archive", ARCHIVES, ids=lambda path: path.stem)
def test_it_is_read_as_it_was_written_and_goes_on(archive, tmp_path, no_pictures, capsys):
  folder = tmp_path / "run"
  shutil.unpack_archive(archive, folder)
  before = lines(folder)
  assert [line["epoch"] for line in before] == [1, EPOCHS]
  task, settings = set_up(temporal_mnist, **GIVEN, epochs="3", workdir=str(folder))
  with contextlib.closing(Workdir(str(folder), task.name, settings.flags, {})) as workdir:
    with contextlib.closing(Files(workdir, task)) as files:
      taken_up = run_state.RunState(task, settings, files)
      read = list_arrays(Snapshot(taken_up.state, taken_up.best_params, {}))
    assert workdir.notes == []
  written = dict(np.load(pathlib.Path(folder) / "numbers.npz"))
  assert sorted(read) == sorted(written)
  for name, array in written.items():
    np.testing.assert_array_equal(read[name], array, strict=True, err_msg=name)

  assert run(temporal_mnist, folder, **GIVEN, epochs="3") == 0
  assert lines(folder)[:EPOCHS] == before and lines(folder)[-1]["epoch"] == 3
  assert read_json(folder)["trained"]["epoch"] == 3
  assert "damaged" not in capsys.readouterr().err


def test_there_is_one():
  assert ARCHIVES

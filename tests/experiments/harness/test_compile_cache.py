"""Compiled programs are kept, unless there is nowhere to keep them."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from experiments.harness import compile_cache

ROOT = pathlib.Path(__file__).parents[3]
OPTIONS = (
  "jax_compilation_cache_dir",
  "jax_enable_compilation_cache",
  "jax_persistent_cache_min_compile_time_secs",
  "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture(autouse=True)
def options_stay():
  """The options of this process are those of the tests again."""
  before = {name: getattr(jax.config, name) for name in OPTIONS}
  yield
  for name, value in before.items():
    jax.config.update(name, value)


WITHOUT_PICTURES = """
import runpy
from experiments.harness import figures
figures.draw_all = lambda *given, **named: []
runpy.run_module("experiments.spotting", run_name="__main__", alter_sys=True)
"""


def start(folder, home, *flags):
  """A binary in a process of its own, whose user has this home and no settings of JAX."""
  environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XDG_"))}
  environment |= {"HOME": str(home), "JAX_DISABLE_MOST_OPTIMIZATIONS": "true"}
  command = [
    sys.executable, "-c", WITHOUT_PICTURES, f"--workdir={folder}", "--units=4",
    "--batch_size=8", "--num_examples=8", "--num_test=500", "--engine=full", "--progress=false",
    *flags,
  ]  # fmt: skip
  done = subprocess.run(
    command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  return done


def entries(folder):
  return {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if not p.name.endswith("-atime")}


def test_a_second_start_compiles_nothing_anew(tmp_path):
  folder = tmp_path / "home" / ".cache" / "rc_jax" / "compiled"
  start(tmp_path / "first", tmp_path / "home")
  before = entries(folder)
  assert len(before) > 10
  second = start(tmp_path / "second", tmp_path / "home")
  assert entries(folder) == before
  assert second.stderr == ""


def test_a_folder_that_cannot_be_written_is_told_in_one_sentence(tmp_path):
  (tmp_path / "file").write_text("mine")
  problem = compile_cache.turn_on(str(tmp_path / "file" / "below"))
  assert problem == (
    f"running without a cache of compiled programs: {tmp_path}/file/below cannot be written "
    "(Not a directory); give another folder, or off, as --compile_cache"
  )
  assert not jax.config.jax_enable_compilation_cache


def test_the_users_own_folder_stands_unless_the_flag_names_another(tmp_path, monkeypatch):
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "own"))
  monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
  assert compile_cache.turn_on(None) is None
  assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
  assert jax.config.jax_persistent_cache_min_compile_time_secs == 0
  assert compile_cache.turn_on(str(tmp_path / "other")) is None
  assert jax.config.jax_compilation_cache_dir == str(tmp_path / "other")
  monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
  assert compile_cache.turn_on(None) is None
  assert jax.config.jax_compilation_cache_dir == str(tmp_path / "xdg" / "rc_jax" / "compiled")


def test_off_is_off():
  assert compile_cache.turn_on("off") is None
  assert not jax.config.jax_enable_compilation_cache

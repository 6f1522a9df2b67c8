"""Strict JAX, two host devices, no display, and the same random cases on every run."""

import gc
import os
import pathlib
import tempfile
from importlib.metadata import version

# Compiling takes most of the time: each program once, for subprocesses too; the least of them are
# sooner compiled than read.
LEAST_SECONDS = 0.1
COMPILED = tempfile.TemporaryDirectory(prefix="rc_jax_tests_")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", COMPILED.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(LEAST_SECONDS))
# Read once, when JAX starts; XLA ends the process if it does not know one.
FLAGS = [os.environ.get("XLA_FLAGS", "")]
if "xla_force_host_platform_device_count" not in FLAGS[0]:
  FLAGS.append("--xla_force_host_platform_device_count=2")
# XLA's older emitters make a program in half the time, which then runs up to a tenth slower. JAX
# 0.12 has them no more, and `make test-newest` and `make test-slow` take those that users have.
if version("jaxlib").startswith("0.10.") and "COMPILE_AS_USERS" not in os.environ:
  FLAGS.append("--xla_cpu_use_fusion_emitters=false")
# Two workers leave no core for a second thread of the compiler.
FLAGS.append("--xla_cpu_parallel_codegen_split_count=1")
os.environ["XLA_FLAGS"] = " ".join(filter(None, FLAGS))
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402
from jax.sharding import AxisType  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")
# Tracing makes many objects that live as long as their program: looking for cycles among them at
# Python's usual rate is a twentieth of the time.
gc.set_threshold(200_000, 20, 100)

hypothesis.settings.register_profile(
  "same_cases", derandomize=True, deadline=None, max_examples=40, database=None
)
hypothesis.settings.load_profile("same_cases")


@pytest.fixture(autouse=True)
def less_compiling(request, monkeypatch):
  """Programs run for moments, so that optimizing them takes longer than it gives.

  Without it the engine's tests take half as long again. The tests of benchmarks compile as users
  do, and compare both engines that way. Those of `rc_jax` make few programs twice, so that to keep
  them takes longer than it gives.
  """
  room = room_of(request)
  monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", str(room != "benchmarks").lower())
  jax.config.update("jax_disable_most_optimizations", room != "benchmarks")
  least = 10 if room == "rc_jax" else LEAST_SECONDS
  jax.config.update("jax_persistent_cache_min_compile_time_secs", least)


def room_of(request):
  """The folder of tests that a test is in."""
  return request.path.relative_to(pathlib.Path(__file__).parent).parts[0]


@pytest.fixture(autouse=True)
def strict_dtypes(request):
  """No implicit promotion of types, but in whole trainings: optax's Adam relies on it."""
  mode = "standard" if room_of(request) == "experiments" else "strict"
  with jax.numpy_dtype_promotion(mode):
    yield


@pytest.fixture
def shared():
  """The folder of real recordings of words, where a checkout has it."""
  folder = pathlib.Path(__file__).parents[2] / "shared" / "data" / "speech_commands"
  if not folder.is_dir():
    pytest.skip("no ../shared/data/speech_commands beside this checkout")
  return folder


@pytest.fixture
def two_devices():
  """A mesh of two devices, along "device"; where there is one, a GPU, the test is skipped."""
  if jax.device_count() < 2:
    pytest.skip("needs two devices")
  return jax.make_mesh((2,), ("device",), axis_types=(AxisType.Auto,))


def pytest_collection_modifyitems(items):
  """The longest test comes first, so that of two processes none waits for it at the end."""
  items.sort(key=lambda item: item.name != "test_the_whole_pipeline")

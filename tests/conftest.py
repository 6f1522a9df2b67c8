"""Strict JAX, two host devices, no display, and the same random cases on every run."""

import os

FLAGS = os.environ.get("XLA_FLAGS", "")
if "xla_force_host_platform_device_count" not in FLAGS:  # read once, when JAX starts
  os.environ["XLA_FLAGS"] = f"{FLAGS} --xla_force_host_platform_device_count=2".strip()
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import pytest  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")

hypothesis.settings.register_profile(
  "same_cases", derandomize=True, deadline=None, max_examples=40, database=None
)
hypothesis.settings.load_profile("same_cases")


@pytest.fixture(autouse=True)
def strict_dtypes(request):
  """No implicit promotion of types, but in whole trainings: optax's Adam relies on it."""
  mode = "standard" if "experiments" in request.path.parts else "strict"
  with jax.numpy_dtype_promotion(mode):
    yield

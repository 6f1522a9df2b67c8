"""The circumstances of each start of a run, in config.json: what it depends on beside its flags."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

import jax

ENVIRONMENT = ("GLIBC_TUNABLES", "XLA_FLAGS")  # what changes how fast a run is
PACKAGES = ("rc-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
# Settings of JAX that change the numbers of a run. They are part of its identity.
NUMERICS = (
  "jax_enable_x64",
  "jax_default_prng_impl",
  "jax_threefry_partitionable",
  "jax_default_matmul_precision",
)
_OF_MACHINE = ("python", "packages", "git_revision", "device", "cpu_count", "environment")


def describe_machine() -> dict[str, Any]:
  """What else a run depends on: versions, revision of the code, device, environment."""
  versions = {}
  for name in PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      versions[name] = "not installed"
  return {
    "python": platform.python_version(),
    "packages": versions,
    "git_revision": _find_revision(),
    "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    "cpu_count": os.cpu_count(),
    "environment": {name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
  }


def _find_revision() -> str:
  """The revision of this clone; "unknown" without git, or where the clone is another project's."""
  root = pathlib.Path(__file__).parents[2]

  def ask(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()

  try:
    is_inside_another = bool(ask("rev-parse", "--show-prefix"))
    return ("" if is_inside_another else ask("describe", "--always", "--dirty")) or "unknown"
  except OSError:
    return "unknown"


def describe_numerics() -> dict[str, Any]:
  """The settings of JAX that change numbers."""
  return {name: getattr(jax.config, name, None) for name in NUMERICS}


def list_starts(
  old: Mapping[str, Any] | None, new: Mapping[str, Any], notes: list[str]
) -> list[dict[str, Any]]:
  """Returns the circumstances of all starts of a run, oldest first, this one last.

  Args:
    old: config.json so far; one that has no list is of a single start.
    new: what config.json is to say now.
    notes: what the user is told at this start.
  """
  starts = [] if old is None else old.get("starts") or [_describe_start(old)]
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  return [*starts, {"time": now} | _describe_start(new) | {"notes": notes}]


def _describe_start(config: Mapping[str, Any]) -> dict[str, Any]:
  flags = config.get("flags", {})
  given = {name: flags[name] for name in ("epochs", "num_examples", "devices") if flags.get(name)}
  return given | {name: config[name] for name in _OF_MACHINE if name in config}

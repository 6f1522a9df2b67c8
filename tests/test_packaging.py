"""What `pip install rc-jax` brings: four requirements, three packages, and enough to train."""

import ast
import configparser
import email.parser
import functools
import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parents[1]
CORE = {"jax", "flax", "optax", "numpy"}
# What only other packages import, and why it is declared nevertheless.
NOT_IMPORTED = {
  "flatbuffers": "jax.export imports it and JAX does not declare it",
  "importlib-resources": "tensorflow-datasets imports it and does not declare it",
  "mypy": "a command of `make types`",
  "pytest-xdist": "an option of pytest in `make test`",
  "ruff": "a command of `make lint`",
  "setuptools": "builds the wheel below, in a process of its own",
  "mkdocs-material": "a theme, named in mkdocs.yml",
  "mkdocstrings": "a plugin, named in mkdocs.yml",
}

# Refuses the packages that are named in the first argument, as if they were not installed.
REFUSE = """
import importlib.abc, json, sys

class Refuse(importlib.abc.MetaPathFinder):
  names = frozenset(json.loads(sys.argv[1]))

  def find_spec(self, name, path=None, target=None):
    if name.partition(".")[0] in self.names:
      raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""


def declared() -> dict[str, dict[str, Requirement]]:
  """Extra -> requirements by name, extras of rc-jax itself resolved; "" has the core."""
  config = configparser.ConfigParser()
  config.read(ROOT / "setup.cfg")
  texts = {"": config["options"]["install_requires"], **config["options.extras_require"]}
  listed = {extra: [Requirement(line) for line in _lines(text)] for extra, text in texts.items()}

  def resolve(extra: str) -> dict[str, Requirement]:
    found = {}
    for requirement in listed[extra]:
      if requirement.name == "rc-jax":
        for inner in requirement.extras:
          found |= resolve(inner)
      else:
        found[canonicalize_name(requirement.name)] = requirement
    return found

  return {extra: resolve(extra) for extra in listed}


def _lines(text: str) -> list[str]:
  return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@functools.cache
def imported_by(folder: str) -> set[str]:
  """Distributions that the modules of a folder import, at their top or within functions."""
  own = {"rc_jax", "data_pipelines", "experiments", "benchmarks", "tests", "deploy"}
  own |= {path.stem for path in (ROOT / "tests").glob("*.py")}
  tops = set()
  for path in (ROOT / folder).rglob("*.py"):
    text = path.read_text()
    tops |= set(re.findall(r'pytest\.importorskip\("(\w+)', text))
    for node in ast.walk(ast.parse(text)):
      if isinstance(node, ast.Import):
        tops |= {alias.name.partition(".")[0] for alias in node.names}
      elif isinstance(node, ast.ImportFrom) and node.level == 0:
        tops.add(node.module.partition(".")[0])
  owners = importlib.metadata.packages_distributions()
  return {
    canonicalize_name(distribution)
    for top in tops - own - sys.stdlib_module_names
    for distribution in owners.get(top, [top])[:1]
  }


def needed_by(names: set[str]) -> set[str]:
  """Distributions that the named ones need, directly or not, themselves among them."""
  found: set[str] = set()
  waiting = [(name, "") for name in names]
  seen = set()
  while waiting:
    name, extra = waiting.pop()
    if (name, extra) in seen:
      continue
    seen.add((name, extra))
    found.add(name)
    try:
      lines = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
      continue  # of another platform
    for requirement in map(Requirement, lines):
      if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
        inner = canonicalize_name(requirement.name)
        waiting += [(inner, each) for each in ("", *requirement.extras)]
  return found


def readme_lines() -> str:
  return re.search(r"```python\n(import jax.*?)```", (ROOT / "README.md").read_text(), re.S)[1]


def check_what_it_printed(done: subprocess.CompletedProcess) -> None:
  """The README's lines learned to answer early, and printed what their comment claims."""
  assert done.returncode == 0, done.stderr
  printed = r"accuracy ([\d.]+) after ([\d.]+) of 40 steps"
  accuracy, steps = map(float, re.match(printed, done.stdout).groups())
  assert accuracy > 0.9 and steps < 25
  claimed = re.search(printed, readme_lines()).groups()
  assert abs(float(claimed[0]) - accuracy) < 0.03 and abs(float(claimed[1]) - steps) < 2


def run(*command, **options) -> subprocess.CompletedProcess:
  return subprocess.run(
    [str(part) for part in command], capture_output=True, text=True, check=False, **options
  )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
  """The wheel, built of a copy of the tree by this environment's setuptools: no network."""
  tree = tmp_path_factory.mktemp("tree")
  for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
    shutil.copy(ROOT / name, tree)
  # Also what must not be packaged, so that its absence from the wheel means something.
  for name in ("rc_jax", "data_pipelines", "deploy", "experiments", "benchmarks", "tests"):
    shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
  build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
  done = run(sys.executable, "-c", build, "dist", cwd=tree)
  assert done.returncode == 0, done.stderr
  (path,) = (tree / "dist").glob("*.whl")
  return path


def test_the_wheel_has_four_direct_requirements_and_every_extra(wheel):
  with zipfile.ZipFile(wheel) as archive:
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = email.parser.Parser().parsestr(archive.read(name).decode())
  requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
  direct = {each.name: each for each in requirements if each.marker is None}
  assert set(direct) == CORE
  assert {operator.operator for operator in direct["jax"].specifier} == {">=", "<"}
  assert set(metadata.get_all("Provides-Extra")) == set(declared()) - {""}
  assert metadata["Requires-Python"] == ">=3.11"


def test_the_wheel_holds_three_packages_and_nothing_else(wheel):
  with zipfile.ZipFile(wheel) as archive:
    names = {name for name in archive.namelist() if ".dist-info/" not in name}
  expected = {
    str(path.relative_to(ROOT))
    for package in ("rc_jax", "data_pipelines", "deploy")
    for ending in ("py", "py.typed", "tsv", "c", "h", "js", "html")
    for path in (ROOT / package).rglob(f"*{'' if '.' in ending else '.'}{ending}")
  }
  assert names == expected
  assert "rc_jax/py.typed" in names
  assert any(name.endswith("checksums.tsv") for name in names)


def test_every_requirement_has_a_lower_bound():
  for extra, requirements in declared().items():
    for name, requirement in requirements.items():
      if not requirement.extras & {"cuda13", "tpu"}:  # bounded by the core's `jax`
        operators = {each.operator for each in requirement.specifier}
        assert ">=" in operators, f"{name} of {extra or 'the core'}"


@pytest.mark.parametrize(
  ("folder", "extras"),
  [
    ("rc_jax", []),
    ("data_pipelines", ["data", "demo", "digits"]),
    # matplotlib draws a picture, jax2onnx writes a graph; who lacks them is asked for them then
    ("deploy", ["deploy", "experiments", "onnx"]),
    ("experiments", ["experiments", "sweep"]),
    ("tests", ["dev", "onnx", "peers"]),
  ],
)
def test_what_is_imported_is_declared_for_it(folder, extras):
  known = declared()
  allowed = set(CORE).union(*(known[extra] for extra in extras))
  assert imported_by(folder) <= allowed


def test_what_is_declared_is_imported():
  folders = ("rc_jax", "data_pipelines", "deploy", "experiments", "benchmarks", "tests")
  imported = set().union(*map(imported_by, folders)) | set(NOT_IMPORTED)
  assert set().union(*declared().values()) <= imported


def test_the_readmes_lines_do_what_they_claim_and_need_nothing_beside_the_four():
  assert len(re.findall(r"^ *[^ #\n]", readme_lines(), re.M)) <= 13  # lines of code
  allowed = needed_by(CORE)
  assert "tensorflow-datasets" not in allowed
  owners = importlib.metadata.packages_distributions()
  refused = [
    top
    for top, distributions in owners.items()
    if not {canonicalize_name(each) for each in distributions} & (allowed | {"rc-jax"})
  ]
  assert {"grain", "librosa", "soundfile", "matplotlib", "tqdm", "chex"} <= set(refused)
  command = (sys.executable, "-c", REFUSE + readme_lines(), json.dumps(refused))
  # A hundred updates run for longer than it takes to optimize them a little.
  flags = f"{os.environ['XLA_FLAGS']} --xla_backend_optimization_level=1"
  little = {
    "XLA_FLAGS": f"{flags} --xla_llvm_disable_expensive_passes=true",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "false",
  }
  check_what_it_printed(run(*command, cwd=ROOT, env=os.environ | little))


def test_the_lock_names_packages_only():
  for line in (ROOT / "requirements.lock").read_text().splitlines():
    assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [\w. '<>=!]+)?", line), line


def test_the_lock_satisfies_what_is_declared():
  pins: dict[str, list[str]] = {}
  for line in (ROOT / "requirements.lock").read_text().splitlines():
    name, _, rest = line.partition("==")
    pins.setdefault(name, []).append(rest.partition(" ")[0])
  known = declared()
  for name, requirement in (known[""] | known["dev"] | known["docs"]).items():
    assert name in pins, f"{name} is not in requirements.lock; run `make lock`"
    for version in pins[name]:
      assert requirement.specifier.contains(version), f"{name} {version}; run `make lock`"


@pytest.mark.slow  # asks a package index for the requirements
def test_the_wheel_alone_trains_the_readmes_lines(wheel, tmp_path):
  bare = tmp_path / "bare"
  assert run(sys.executable, "-m", "venv", bare).returncode == 0
  python = bare / "bin" / "python"
  done = run(python, "-m", "pip", "install", "--quiet", wheel)
  assert done.returncode == 0, done.stderr
  done = run(python, "-m", "pip", "check")
  assert done.returncode == 0, done.stdout
  check_what_it_printed(run(python, "-I", "-c", readme_lines(), cwd=tmp_path))
  done = run(python, "-I", "-c", "import data_pipelines.speech", cwd=tmp_path)
  assert done.stderr.splitlines()[-1].endswith("install them with `pip install 'rc-jax[data]'`")

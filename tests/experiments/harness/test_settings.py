"""Settings as a value: complete, checked, and changed without a flag being touched."""

import ast
import pathlib

import pytest

from experiments import population, speech, spotting, temporal_mnist
from experiments.harness import flags
from experiments.harness.settings import make_settings
from experiments.harness.updates import choose_task_engine
from experiments.registry import EXPERIMENTS, load_binary
from rc_jax import EarlyExit
from tests import running

HARNESS = pathlib.Path(flags.__file__).parent


def settings_of(binary, **given):
  defaults = flags.read_defaults(binary.EXPERIMENT)
  return make_settings(binary.EXPERIMENT, defaults | given, defaults)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_what_is_not_given_has_the_papers_value_and_stays_as_it_is(name):
  settings = settings_of(load_binary(name))
  assert settings.replace() == settings
  assert set(settings.flags) == set(settings.flag_defaults)
  assert settings.workdir == f"runs/{name}"
  assert settings.learning_rate == settings.flags["learning_rate"]


def test_a_tilde_in_the_workdir_is_the_users_home(monkeypatch):
  monkeypatch.setenv("HOME", "/home/someone")
  defaults = flags.read_defaults(temporal_mnist.EXPERIMENT)
  settings = make_settings(temporal_mnist.EXPERIMENT, defaults | {"workdir": "~/x"}, defaults)
  assert settings.workdir == "/home/someone/x"
  assert settings.replace(workdir="~/y").flags["workdir"] == "/home/someone/y"


def test_other_values_keep_the_flags_right():
  settings = settings_of(speech, beta="0.5,30:0.165")
  other = settings.replace(seed=3, beta="0.10", workdir="elsewhere")
  assert (other.seed, other.workdir, other.betas) == (3, "elsewhere", ((0, 0.1),))
  changed = {"seed": 3, "beta": "0.1", "workdir": "elsewhere"}
  assert other.flags == settings.flags | changed
  assert settings.seed == 0 and settings.flags["beta"] == "0.5,30:0.165"
  with pytest.raises(ValueError, match="--seed is -1"):
    settings.replace(seed=-1)


@pytest.mark.parametrize("name", ["epochs", "learning_rate", "clip"])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_numbers_are_finite(name, value):
  with pytest.raises(ValueError, match=f"--{name} is {value}; it must be"):
    settings_of(speech, **{name: value})


def test_a_network_without_memory_has_no_first_spike():
  assert settings_of(temporal_mnist, model="cnn").objective == "eos"
  assert settings_of(temporal_mnist).objective == "rc"
  with pytest.raises(ValueError, match="--objective=rc does not fit --model=cnn"):
    settings_of(temporal_mnist, model="cnn", objective="rc")


@pytest.mark.parametrize(
  ("given", "widths"),
  [({"epochs": "1"}, 5), ({"epochs": "200"}, 12), ({"epochs": "200", "widths": "3"}, 3)],
)
def test_a_long_training_has_more_loops_unless_their_number_is_given(given, widths):
  task, settings = running.mnist_setup(engine="early_exit", **given)
  assert choose_task_engine(task, settings) == EarlyExit(widths=widths)


def test_members_are_made_without_touching_a_flag(tmp_path):
  before = flags.FLAGS.flag_values_dict()
  settings = settings_of(spotting, num_examples=128, units=4, num_test=500)
  members = population.make_members(spotting, settings, ["0", "7"], ["0.2"], tmp_path)
  assert [own.seed for _, own in members] == [0, 7]
  assert members[1][1].workdir == str(tmp_path / "beta-0.2" / "7")
  assert flags.FLAGS.flag_values_dict() == before


def imports_of(path):
  """Names of the modules that a file imports, at any place in it."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom):
      yield node.module
      yield from (f"{node.module}.{name.name}" for name in node.names)
    elif isinstance(node, ast.Import):
      yield from (name.name for name in node.names)


def test_arrows_lead_into_the_harness_alone_and_in_no_circle():
  files = {f"experiments.harness.{path.stem}": path for path in HARNESS.glob("*.py")}
  uses = {name: set(imports_of(path)) for name, path in files.items()}
  for name, found in uses.items():
    front = [m for m in found if m.startswith("experiments.") and "harness" not in m]
    assert not front, f"{name} imports {front}"
  waiting = {name: found & files.keys() for name, found in uses.items()}
  while waiting:
    free = [name for name, found in waiting.items() if not found & waiting.keys()]
    assert free, f"a circle of imports: {sorted(waiting)}"
    for name in free:
      del waiting[name]


def test_no_flag_is_read_below_main():
  readers = [p.stem for p in HARNESS.glob("*.py") if "experiments.harness.flags" in imports_of(p)]
  assert readers == []

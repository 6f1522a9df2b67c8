"""The exported C code against `features.log_mel` and the classifier's own step."""

import functools
import pathlib
import shutil
import subprocess
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_pipelines.speech import features
from deploy.export.c import write_sound
from deploy.models import CONSTRUCTORS
from deploy.rule import Rule

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, cc")

FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-O1"]
MAIN = pathlib.Path(__file__).with_name("sound.c")
NAMES = ["yes", "no", 'a "word"', "grün ??/", "*/ %s\\"]
UNITS = {"lstm": 23, "dense_lstm": 16}  # 23 is no multiple of what is computed at a time
NEVER = Rule(0.999999)
THETA = 0.5
SWAPPED = Rule(0.32, 3, 0.0)  # so low that classes change places while both are sure
HEAD_SCALE = 2.5
NUM_STEPS = 1050
MEAN = np.linspace(-8, -5, 20, dtype=np.float32)
STD = np.linspace(3, 4, 20, dtype=np.float32)


class Output(NamedTuple):
  size: int
  names: list[str]
  steps: np.ndarray  # [steps, 1 + C]: step, probabilities
  events: list[tuple[int, float, int, int]]


@functools.cache
def audio() -> np.ndarray:
  """Sweeps, noise and silence, 10.7 s.

  Noise lies under the sweeps, as in recordings: in bands that a loud tone leaves empty, float32
  transforms, JAX's as ours, differ from the exact one by up to 1e-4.
  """
  rng = np.random.default_rng(3)
  seconds = np.arange(16000) / 16000
  sweep = lambda low, high: np.sin(2 * np.pi * (low + (high - low) / 2 * seconds) * seconds)
  noise = lambda level: level * rng.standard_normal(16000)
  parts = [
    0.5 * sweep(100, 4000) + noise(0.001),
    np.zeros(16000),
    noise(0.2),
    0.9 * sweep(7900, 50) + noise(0.003),
    noise(1e-4),
    0.3 * sweep(300, 300) * (1 + sweep(3, 9)) + noise(0.01),
  ]
  samples = np.concatenate([*parts, *parts[::-1]])
  return samples[: 160 * (NUM_STEPS + 19) + 250].astype(np.float32)


@functools.cache
def model(constructor):
  """The classifier and parameters: biases are not zero, and the head is large enough to decide."""
  hidden = {"hidden": (32,)} if constructor == "lstm" else {}
  classifier = CONSTRUCTORS[constructor](UNITS[constructor], len(NAMES), **hidden)
  step = jax.ShapeDtypeStruct((features.STEP_SIZE,), jnp.float32)
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    scale = 0.2 if len(leaf.shape) == 1 else 1 / np.sqrt(leaf.shape[0])
    scale *= HEAD_SCALE if "head" in jax.tree_util.keystr(path) else 1
    return (scale * rng.standard_normal(leaf.shape)).astype(np.float32)

  shapes = jax.eval_shape(classifier.init, jax.random.key(0), step)
  return classifier, jax.tree_util.tree_map_with_path(draw, shapes)


@functools.cache
def step_inputs() -> np.ndarray:
  """Of the whole signal at once, `[steps, 420]`, but for the last frames, which are padded."""
  prepare = lambda x: features.context(features.standardise(features.log_mel(x), MEAN, STD))
  return np.asarray(jax.jit(prepare)(audio()))[:NUM_STEPS]


@functools.cache
def python_steps(constructor, rule, reset_step=-1, of_one_class=True):
  """Probabilities and decisions of a plain loop that resets the carry at each decision."""
  classifier, params = model(constructor)
  inputs = step_inputs()

  @jax.jit
  def one(carry, x):
    carry, output = classifier.step(params, carry, classifier.encode(params, x))
    return carry, jax.nn.softmax(classifier.decode(params, output))

  start = carry = classifier.initial_carry(params)
  steps, events, step, sure = [], [], 0, []
  for t, x in enumerate(inputs):
    if t == reset_step:
      carry, step, sure = start, 0, []
    carry, probabilities = one(carry, x)
    p = np.asarray(probabilities)
    steps.append([step, *p])
    step += 1
    label = int(p.argmax())
    sure = [*sure, label] if p.max() >= np.float32(rule.theta) else []
    is_one = set(sure[-rule.patience :]) == {label} or not of_one_class
    if len(sure) >= rule.patience and is_one:
      events.append((label, float(p.max()), step - 1, 160 * (t + 20) + 200))
      carry, step, sure = start, 0, []
  return np.array(steps), events


@pytest.fixture(scope="module")
def build(tmp_path_factory):
  """Writes and compiles a model once; returns its program and sizes."""

  @functools.cache
  def build(constructor, rule, weights="float32", not_reported=()):
    folder = tmp_path_factory.mktemp("c")
    given = dict(rule=rule, weights=weights, not_reported=not_reported)
    sizes = write(folder, constructor, **given)
    command = ["cc", *FLAGS, f"-I{folder}", folder / "rc_model.c", MAIN, "-o", folder / "run"]
    done = subprocess.run([*command, "-lm"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "run", sizes

  return build


def write(folder, constructor="lstm", **changes):
  arguments = dict(params=model(constructor)[1] if constructor in UNITS else {}, rule=NEVER)
  arguments |= dict(class_names=NAMES, mean=MEAN, std=STD)
  return write_sound(folder, constructor=constructor, **(arguments | changes))


def run(program, *arguments, samples=None) -> Output:
  heard = audio() if samples is None else samples
  command = [program, *map(str, arguments)]
  done = subprocess.run(command, input=heard.tobytes(), capture_output=True, check=False)
  assert done.returncode == 0, done.stderr.decode()
  words = [line.partition(" ") for line in done.stdout.decode().splitlines()]
  rows = {key: [rest for word, _, rest in words if word == key] for key, _, _ in words}
  events = [event.split() for event in rows.get("event", [])]
  return Output(
    int(rows["sizeof"][0]),
    rows["name"],
    np.array([row.split() for row in rows.get("step", [])], np.float64),
    [(int(a), float(b), int(c), int(d)) for a, b, c, d in events],
  )


@needs_cc
@pytest.mark.parametrize("constructor", UNITS)
def test_a_thousand_chained_steps_have_the_probabilities_of_jax(build, constructor):
  program, sizes = build(constructor, NEVER)
  output = run(program, 160)
  steps, events = python_steps(constructor, NEVER)
  assert len(steps) == NUM_STEPS and not events and not output.events
  assert steps[:, 1:].max() - steps[:, 1:].min() > 0.5  # the probabilities move
  np.testing.assert_array_equal(output.steps[:, 0], np.arange(NUM_STEPS))
  np.testing.assert_allclose(output.steps, steps, rtol=0, atol=1e-5)
  assert output.size == sizes["state_bytes"]
  assert output.names == NAMES


@needs_cc
@pytest.mark.parametrize("constructor", UNITS)
@pytest.mark.parametrize("chunk", [1, 37, 160, 400, 16000])
def test_events_are_those_of_a_loop_that_resets_the_carry(build, constructor, chunk):
  output = run(build(constructor, Rule(THETA, 1, 0.0))[0], chunk)
  steps, events = python_steps(constructor, Rule(THETA, 1, 0.0))
  # Where no confidence lies at the threshold, rounding moves no event.
  assert np.abs(steps[:, 1:].max(axis=1) - THETA).min() > 2e-5
  assert len(events) > 10 and len({event[0] for event in events}) > 1
  assert max(event[2] for event in events) > 5
  assert [event[:1] + event[2:] for event in output.events] == [e[:1] + e[2:] for e in events]
  np.testing.assert_allclose([e[1] for e in output.events], [e[1] for e in events], atol=1e-5)


@needs_cc
def test_patience_refractory_time_and_classes_that_are_no_events(build):
  rule = SWAPPED._replace(refractory_s=0.5)
  steps, decisions = python_steps("dense_lstm", rule)
  assert np.abs(steps[:, 1:].max(axis=1) - rule.theta).min() > 2e-5
  assert decisions != python_steps("dense_lstm", rule, of_one_class=False)[1]
  silent = max({d[0] for d in decisions}, key=[d[0] for d in decisions].count)
  expected, last = [], -np.inf
  for label, _, step, sample in decisions:
    if label != silent and sample - last >= 8000:
      expected.append((label, step, sample))
      last = sample
  assert 2 < len(expected) < len([d for d in decisions if d[0] != silent])
  program, _ = build("dense_lstm", rule, not_reported=(NAMES[silent],))
  assert [e[:1] + e[2:] for e in run(program, 400).events] == expected


@needs_cc
def test_a_reset_forgets_the_state_and_keeps_the_audio(build):
  # After 160 m samples there were m - 21 steps.
  output = run(build("lstm", NEVER)[0], 160, 160 * 321)
  steps, _ = python_steps("lstm", NEVER, reset_step=300)
  assert output.steps[299, 0] == 299 and output.steps[300, 0] == 0
  np.testing.assert_allclose(output.steps, steps, rtol=0, atol=1e-5)


@needs_cc
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_a_broken_sample_counts_as_silence(build, bad):
  broken = audio()[:16000].copy()
  broken[5000:5100] = bad
  silent = np.where(broken == audio()[:16000], broken, np.float32(0))
  program, _ = build("lstm", NEVER)
  expected = run(program, 160, samples=silent).steps
  assert len(expected) == 79  # a second's last frames reach beyond it
  np.testing.assert_array_equal(run(program, 160, samples=broken).steps, expected)


@needs_cc
@pytest.mark.parametrize("constructor", UNITS)
def test_int8_weights_change_probabilities_little_and_take_a_quarter(build, constructor):
  float_sizes = build(constructor, NEVER)[1]
  program, sizes = build(constructor, NEVER, "int8")
  steps = run(program, 160).steps
  difference = np.abs(steps - python_steps(constructor, NEVER)[0]).max()
  print(f"{constructor}: int8 changes a probability by at most {difference:.4f}")
  assert 1e-4 < difference < 0.1
  assert sizes["source_bytes"] < 0.5 * float_sizes["source_bytes"]
  assert sizes["constant_bytes"] < 0.35 * float_sizes["constant_bytes"]
  assert sizes["parameters"] == float_sizes["parameters"]


def test_what_is_written_depends_on_the_arguments_alone(tmp_path):
  sizes = write(tmp_path / "a" / "b")
  assert write(tmp_path / "c") == sizes
  for name, kind in (("rc_model.c", "source"), ("rc_model.h", "header")):
    text = (tmp_path / "c" / name).read_bytes()
    assert text == (tmp_path / "a" / "b" / name).read_bytes()
    assert len(text) == sizes[f"{kind}_bytes"]


def with_kernel(kernel):
  """Parameters of "lstm" with another kernel of the head's first layer."""
  params = model("lstm")[1]
  first, last = params["head"]
  return params | {"head": [first | {"kernel": kernel.astype(np.float32)}, last]}


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(constructor="cnn"), "constructor is 'cnn'; only lstm, gru and dense_lstm"),
    (dict(constructor="dense_lstm", params={"input": 1}), "not those of dense_lstm: KeyError"),
    (dict(params={"encoder": {}, "classifier": {}}), "params are not those of lstm: KeyError"),
    (dict(params=None), "params are not those of lstm"),
    (dict(params=with_kernel(np.ones((7, 32)))), r"head.0 has weights \[7, 32\]; expected \[23"),
    (dict(params=with_kernel(np.full((23, 32), np.nan))), "not finite"),
    (dict(class_names=NAMES[:4]), r"head.1 has weights \[32, 5\]; expected \[32, 4\]"),
    (dict(class_names="yes"), "give a list of strings"),
    (dict(class_names=["one"]), "class_names has 1 entries; give 2 or more"),
    (dict(rule=Rule(0.2)), "theta is 0.2, which .* always reaches"),
    (dict(rule=Rule(1.0)), "theta is 1.0; a threshold"),
    (dict(rule=Rule([0.5, 0.6])), "one number"),
    (dict(rule=Rule(0.9, 0)), "patience is 0; it counts steps"),
    (dict(rule=Rule(0.9, 1, -1.0)), "refractory time is -1.0; give seconds"),
    (dict(mean=np.zeros(3)), r"mean has shape \[3\]; give one number a band: \[20\]"),
    (dict(std=np.zeros(20)), "std is 0.0 for a band"),
    (dict(weights="int4"), "weights is 'int4'; choose one of float32, int8"),
  ],
)
def test_what_cannot_be_written_is_told_in_a_sentence(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message) as error:
    write(tmp_path, **changes)
  assert "\n" not in str(error.value)
  assert not list(tmp_path.iterdir())

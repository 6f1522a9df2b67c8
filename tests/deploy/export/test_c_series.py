"""The exported C code of a run of series against the way that series are read for training."""

import functools
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from small_series_run import (
  CHANNELS,
  LONGEST,
  MEAN,
  NAMES,
  STD,
  THETA,
  UNITS,
  model,
  read_batch,
  save_run,
  some_series,
)

from deploy.export import __main__ as export_main
from deploy.export.c import write_series
from deploy.rule import Rule
from rc_jax import rank_code
from rc_jax.unroll import unroll_rows

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, cc")

FLAGS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-O1"]


def write(folder, samples=1, constructor="lstm", layers=1, **changes):
  said, _, params = model(samples, constructor, layers)
  given = dict(constructor=said.constructor, params=params, class_names=NAMES, channels=CHANNELS)
  given |= dict(rule=Rule(THETA), mean=MEAN, std=STD, samples_per_step=samples)
  return write_series(folder, **(given | changes))


def build(folder):
  """Compiles what was written into a folder, with the program that reads series."""
  source, program = Path(__file__).with_name("series.c"), folder / "run"
  command = ["cc", *FLAGS, f"-I{folder}", folder / "rc_model.c", source, "-o", program, "-lm"]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  return program


def hear(program, series):
  """The lines that a program prints: their first word, and numbers or names."""
  told = [np.concatenate([[len(rows)], rows.ravel()]).tobytes() for rows in series]
  done = subprocess.run([program], input=b"".join(told), capture_output=True, check=False)
  assert done.returncode == 0, done.stderr.decode()
  lines = [line.partition(" ")[::2] for line in done.stdout.decode().splitlines()]
  return [(word, rest if word in ("class", "channel") else _numbers(rest)) for word, rest in lines]


@pytest.fixture(scope="module")
def never_sure(tmp_path_factory):
  """A program that gives the probabilities of all steps, and the sizes of its code."""
  folder = tmp_path_factory.mktemp("never")
  return write(folder, rule=Rule(1 - 1e-7)), build(folder)


def _numbers(text):
  return [float(number) for number in text.split()]


def split_series(lines):
  """Of each series its probabilities `[steps, C]` and decisions."""
  found, steps, decisions = [], [], []
  for word, numbers in [*lines, ("step", None)]:
    if word == "decision":
      decisions.append(numbers)
    elif word == "step":
      if decisions:
        found.append((np.array(steps), decisions))
        steps, decisions = [], []
      steps.append(numbers)
  return found


@needs_cc
@pytest.mark.parametrize("network", [(1, "lstm", 1), (3, "lstm", 2), (3, "gru", 1), (1, "gru", 3)])
def test_it_decides_as_the_rank_code_of_the_joined_steps(tmp_path, network):
  samples = network[0]
  sizes = write(tmp_path, *network)
  lines = hear(build(tmp_path), some_series())
  assert lines[0] == ("sizeof", [sizes["state_bytes"]])
  assert [rest for word, rest in lines if word == "class"] == NAMES
  assert [rest for word, rest in lines if word == "channel"] == CHANNELS
  _, classifier, params = model(*network)
  batch = read_batch(samples)
  logits = jax.jit(functools.partial(unroll_rows, classifier))(params, batch)
  code = rank_code(logits, THETA, batch.lengths)
  expected = np.asarray(jax.nn.softmax(logits))
  assert np.abs(expected.max(axis=-1) - THETA).min() > 2e-5  # rounding moves no decision
  assert 3 < code.spiked.sum() < LONGEST - 3 and code.step.max() > 4
  heard = split_series(lines)
  assert len(heard) == LONGEST
  for i, (steps, decisions) in enumerate(heard):
    step, length = int(code.step[i]), len(some_series()[i])
    p = expected[i, : step + 1]
    np.testing.assert_allclose(steps, p, rtol=0, atol=1e-5)  # and none after the decision
    seen = min((step + 1) * samples, length)
    wanted = [code.spiked[i], code.label[i], p[-1].max(), step, seen]
    for decision in decisions:
      np.testing.assert_allclose(decision, wanted, rtol=0, atol=1e-5)
    # A step that is not full waits for the end.
    at_push = code.spiked[i] and (step + 1) * samples <= length
    assert len(decisions) == (2 if at_push else 1)


@needs_cc
def test_patience_asks_for_one_class_at_steps_on_end(tmp_path, never_sure):
  theta = 0.5
  write(tmp_path, rule=Rule(theta, 2))
  lines, never = (hear(one, some_series()) for one in (build(tmp_path), never_sure[1]))
  delayed = changed = 0
  for (_, decisions), (steps, _) in zip(split_series(lines), split_series(never), strict=True):
    label, sure = steps.argmax(axis=1), steps.max(axis=1) >= theta
    twice = sure[1:] & sure[:-1] & (label[1:] == label[:-1])
    first = int(np.argmax(twice)) + 1 if twice.any() else len(steps) - 1
    assert decisions[-1][0] == twice.any() and decisions[-1][3] == first
    delayed += sure.any() and first > int(np.argmax(sure)) + 1
    changed += (sure[1:] & sure[:-1] & (label[1:] != label[:-1]))[:first].any()
  assert delayed > 2 and changed > 2


@needs_cc
def test_without_a_sample_there_is_no_label(never_sure):
  lines = hear(never_sure[1], [np.zeros((0, 2))])
  assert lines[-1] == ("decision", [0, -1, 0, -1, 0])


@needs_cc
def test_what_is_infinite_or_too_large_for_the_network_is_missing(never_sure):
  rows = some_series()[-1].copy()
  absent = np.isnan(rows)
  expected = hear(never_sure[1], [rows])
  for value in (np.inf, -np.inf, 1e300, 3e38):
    rows[absent] = value
    assert hear(never_sure[1], [rows]) == expected


@needs_cc
def test_large_and_equal_logits(tmp_path):
  params = model(1, "lstm", 1)[2]
  head = {"kernel": np.zeros((UNITS, 3), np.float32), "bias": np.float32([-200, 200, 200])}
  write(tmp_path, params=params | {"head": [head]})
  lines = hear(build(tmp_path), some_series())
  assert all(numbers == [0, 0.5, 0.5] for word, numbers in lines if word == "step")
  assert {numbers[1] for word, numbers in lines if word == "decision"} == {1}  # the first of both


@needs_cc
def test_fast_math_which_knows_no_nan_is_refused(tmp_path):
  write(tmp_path)
  command = ["cc", "-ffast-math", "-c", tmp_path / "rc_model.c", "-o", tmp_path / "o"]
  done = subprocess.run(command, capture_output=True, text=True, check=False)
  assert done.returncode and "compile without -ffast-math" in done.stderr
  subprocess.run([*command, "-fno-finite-math-only"], check=True)


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler, c++")
def test_the_header_is_one_of_cplusplus_too(tmp_path):
  write(tmp_path)
  (tmp_path / "a.cpp").write_text('#include "rc_model.h"\nint main() { rc_state s; rc_init(&s); }')
  objects = [tmp_path / "a.o", tmp_path / "rc_model.o"]
  subprocess.run(["c++", "-c", tmp_path / "a.cpp", "-o", objects[0]], check=True)
  subprocess.run(["cc", "-std=c99", "-c", tmp_path / "rc_model.c", "-o", objects[1]], check=True)
  subprocess.run(["c++", *objects, "-o", tmp_path / "a", "-lm"], check=True)


@needs_cc
def test_int8_weights_change_probabilities_little(tmp_path, never_sure):
  sizes, program = never_sure
  smaller = write(tmp_path, rule=Rule(1 - 1e-7), weights="int8")
  p, q = (
    np.array([numbers for word, numbers in hear(one, some_series()) if word == "step"])
    for one in (program, build(tmp_path))
  )
  assert 1e-4 < np.abs(p - q).max() < 0.1
  assert smaller["constant_bytes"] < 0.5 * sizes["constant_bytes"]


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(constructor="conv_lstm"), "constructor is 'conv_lstm'; only lstm, gru and dense_lstm"),
    (dict(constructor="gru"), "params are not those of gru: KeyError"),
    (dict(channels=["level"]), r"input has weights \[2, 36\]; expected \[1, 36\]"),
    (dict(channels=[]), "channels has 0 entries; give 1 or more"),
    (dict(samples_per_step=3), r"input has weights \[2, 36\]; expected \[6, 36\]"),
    (dict(mean=np.zeros(3)), r"mean has shape \[3\]; give one number a channel: \[2\]"),
    (dict(std=np.zeros(2)), "std is 0.0 for a channel"),
    (dict(weights="int4"), "weights is 'int4'"),
    (dict(rule=Rule(0.3)), "theta is 0.3, which .* always reaches"),
  ],
)
def test_what_cannot_be_written_is_told_in_a_sentence(tmp_path, changes, message):
  _, _, params = model(1, "lstm", 1)
  given = dict(constructor="lstm", params=params, class_names=NAMES, channels=CHANNELS)
  given |= dict(rule=Rule(THETA), mean=MEAN, std=STD)
  with pytest.raises(ValueError, match=message):
    write_series(tmp_path, **(given | changes))
  assert not list(tmp_path.iterdir())


def test_the_command_writes_what_the_function_does(tmp_path, monkeypatch, capsys):
  save_run(tmp_path / "run")
  arguments = ["prog", str(tmp_path / "run"), f"--out={tmp_path / 'out'}", "--theta=0.7"]
  monkeypatch.setattr(sys, "argv", arguments)
  assert export_main.main() == 0
  sizes = write(tmp_path / "expected", 3, rule=Rule(0.7))
  said = capsys.readouterr().out
  assert f"{sizes['parameters']} parameters" in said and "interpolate" not in said
  for name in ("rc_model.c", "rc_model.h"):
    assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


def test_it_says_that_the_code_does_not_look_ahead(tmp_path, monkeypatch, capsys):
  reading = {"channels": CHANNELS, "missing": "interpolate", "samples_per_step": 3}
  save_run(tmp_path / "run", reading=reading)
  monkeypatch.setattr(sys, "argv", ["prog", str(tmp_path / "run"), f"--out={tmp_path / 'out'}"])
  assert export_main.main() == 0
  assert "--missing=interpolate, which looks ahead" in capsys.readouterr().out


def test_weights_too_small_for_a_scale(tmp_path):
  params = model(1, "lstm", 1)[2]
  head = [params["head"][0] | {"kernel": np.full_like(params["head"][0]["kernel"], 1e-44)}]
  with np.errstate(all="raise", under="ignore"):
    write(tmp_path, params=params | {"head": head}, weights="int8")


@pytest.mark.parametrize(
  ("run", "flags", "message"),
  [
    ({}, ["--format=web"], "--format=web is for sound; a run of series goes to --format=c"),
    ({}, ["--refractory=0.2"], "--refractory is for sound"),
    ({"reading": {}}, [], "an older version trained it; train again"),
    ({"experiment": "spotting"}, [], "is a run of spotting; .* experiments.speech or experim"),
    (
      {"reading": {"channels": CHANNELS, "missing": "hold", "samples_per_step": "3"}},
      [],
      "damaged",
    ),
    ({"statistics": {"mean": [0, 0]}}, [], "how it reads series is damaged in model.json"),
    ({}, ["--out="], "--out is empty; name a folder"),
  ],
)
def test_what_the_command_refuses(tmp_path, monkeypatch, run, flags, message):
  save_run(tmp_path / "run", **run)
  monkeypatch.setattr(sys, "argv", ["prog", str(tmp_path / "run"), f"--out={tmp_path}", *flags])
  with pytest.raises(ValueError, match=message):
    export_main.main()
  assert not (tmp_path / "rc_model.c").exists()

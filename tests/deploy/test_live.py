"""Live decisions against those of whole clips: the same, whatever pieces the sound comes in."""

import argparse
import contextlib
import errno
import functools
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from small_run import MEAN, MODEL, NAMES, STD, drawn_params, init_params, sound

import rc_jax
from data_pipelines import speech
from data_pipelines.speech import features
from deploy import decide, listen
from deploy.commands import load_data, load_speech_run, make_run_spotter
from deploy.export import __main__ as export_main
from deploy.front_end import make_front_end
from deploy.models import Model, build, shift_logit
from deploy.recordings import read_pieces
from deploy.rule import Rule, check_rule
from deploy.run_files import load_run, save_calibration, with_unknown_bias
from deploy.spotter import make_spotter


@jax.jit
def steps_of_frames(frames):
  return features.context(features.standardise(frames, MEAN, STD))


def batch_steps(audio):
  """The steps of the batch front end, but for the last ones, whose windows reach into padding."""
  return np.asarray(steps_of_frames(features.log_mel_of_clips(audio)))


@pytest.mark.parametrize("size", [1, 37, 160, 400, 16_000])
def test_the_front_end_equals_that_of_clips(size):
  audio = sound(0.4 if size == 1 else 2.0)
  front_end = make_front_end(MEAN, STD)
  state, found = front_end.init(), []
  for start in range(0, len(audio), size):
    state, steps = front_end.push(state, audio[start : start + size])
    found.append(steps)
  found = np.concatenate(found)
  expected = batch_steps(audio)
  assert len(expected) - 2 <= len(found) <= len(expected)
  np.testing.assert_allclose(found, expected[: len(found)], atol=2e-6)
  assert len(state.samples) < features.WINDOW and len(state.frames) == 20  # it does not grow


def test_the_front_end_equals_that_of_recorded_words(shared):
  front_end = make_front_end(MEAN, STD)
  paths = sorted((shared / "five").glob("*.flac"))[:20]
  assert paths
  for path in paths:
    audio = soundfile.read(path, dtype="float32")[0]
    _, steps = front_end.push(front_end.init(), audio)
    np.testing.assert_allclose(steps, batch_steps(audio)[: len(steps)], atol=2e-6)


@jax.jit
def take_step(carry, x):
  """One step of the network: its carry, and its probabilities."""
  classifier, params = build(MODEL), drawn_params()
  carry, output = classifier.step(params, carry, classifier.encode(params, x))
  return carry, jax.nn.softmax(classifier.decode(params, output))


@functools.cache
def make_test_spotter(theta, **options):
  """A spotter that reports all decisions; it is compiled once."""
  given = {"refractory_s": 0.0, "not_reported": (), **options}
  return make_spotter(
    build(MODEL), drawn_params(), NAMES, theta, make_front_end(MEAN, STD), **given
  )


def follow(steps, theta, patience=1, timeout=10**9, of_one_class=True):
  """Decisions `(step, label)` in plain Python: the network begins anew after each."""
  first = build(MODEL).initial_carry(drawn_params())
  carry, waited, count, last, found = first, 0, 0, None, []
  for t, x in enumerate(steps):
    carry, p = take_step(carry, x)
    p = np.asarray(p)
    label, waited = int(p.argmax()), waited + 1
    count = (
      (count + 1 if label == last or not of_one_class else 1)
      if p[label] >= np.broadcast_to(theta, 3)[label]
      else 0
    )
    last = label if count else None
    if count >= patience:
      found.append((t, label))
    if count >= patience or waited >= timeout:
      carry, waited, count, last = first, 0, 0, None
  return found


@pytest.mark.parametrize(
  ("theta", "options"),
  [
    (0.7, {}),
    ((0.6, 0.9, 0.75), {}),
    (0.4, {"patience": 3}),
    (0.9, {"timeout_s": 0.15}),
  ],
)
@pytest.mark.parametrize("size", [37, 16_000])
def test_a_spotter_begins_anew_after_each_decision(theta, options, size):
  audio, spotter = sound(2.5), make_test_spotter(theta, **options)
  state, events, shown = spotter.init(), [], []
  for start in range(0, len(audio), size):
    state, new, probabilities = spotter.push(state, audio[start : start + size])
    events += new
    shown.append(probabilities)
  steps = batch_steps(audio)[: len(np.concatenate(shown))]
  timeout = round(options["timeout_s"] / 0.01) if "timeout_s" in options else 10**9
  patience = options.get("patience", 1)
  expected = follow(steps, theta, patience, timeout)
  if patience > 1:  # of one class
    assert expected != follow(steps, theta, patience, of_one_class=False)
  assert expected and len({label for _, label in expected}) > 1
  assert [(e.seconds, e.label) for e in events] == [
    (float(speech.heard_ms(t)) / 1000, label) for t, label in expected
  ]


def test_streams_side_by_side_decide_as_each_alone():
  front_end = make_front_end(MEAN, STD)
  spotter = make_spotter(build(MODEL), drawn_params(), NAMES, 0.6, front_end, patience=2)
  audio = np.stack([sound(3.0), sound(3.0)[::-1], np.zeros(48_000, np.float32)])
  state, events, shown = spotter.init(3), [], []
  for start in range(0, 48_000, 16_000):
    state, new, probabilities = spotter.push(state, audio[:, start : start + 16_000])
    events += new
    shown.append(probabilities)
  shown = np.concatenate(shown, axis=1)
  for k in range(3):
    _, expected, alone = spotter.push(spotter.init(), audio[k])
    np.testing.assert_allclose(shown[k], alone, atol=1e-6)
    found = [(e.seconds, e.label, e.waited_seconds) for e in events if e.stream == k]
    assert found == [(e.seconds, e.label, e.waited_seconds) for e in expected] and (found or k == 2)
  assert [e.seconds for e in events] == sorted(e.seconds for e in events)
  assert spotter.push(spotter.init(1), audio[:1])[2].shape == (1, len(shown[0]), 3)
  broken = audio[:, :10].copy()
  broken[1, 3] = np.nan
  for samples, message in (
    (audio[:2, :10], r"samples have shape \[2, 10\]; give \[3, n\]"),
    (broken, "samples of stream 1 hold nan; give finite numbers"),
    (np.zeros((3, 10), np.int16), "samples are int16; give floats"),
  ):
    with pytest.raises(ValueError, match=message):
      spotter.push(state, samples)
  with pytest.raises(ValueError, match="streams is 0; give 1 or more"):
    spotter.init(0)


def test_within_the_refractory_time_no_second_event_follows():
  spotter = make_spotter(
    build(MODEL), drawn_params(), NAMES, 0.6, make_front_end(MEAN, STD), refractory_s=0.5
  )
  _, events, _ = spotter.push(spotter.init(), sound(6.0))
  times = [e.seconds for e in events]
  assert len(times) > 2 and min(np.diff(times)) >= 0.5 - 1e-9
  assert "unknown" not in {e.word for e in events}


@pytest.mark.parametrize(
  ("theta", "options"),
  [
    (0.2, {}),
    ([0.9, 0.9], {}),
    *((0.9, {"patience": bad}) for bad in (0, 2.5, float("nan"), True, 2**31, "3")),
    (0.9, {"timeout_s": 0}),
    (0.9, {"refractory_s": -1}),
  ],
)
def test_a_spotter_refuses_options_out_of_range(theta, options):
  with pytest.raises(ValueError, match=r"theta|patience|timeout_s|refractory"):
    make_spotter(build(MODEL), drawn_params(), NAMES, theta, make_front_end(MEAN, STD), **options)


def test_a_timeout_without_end_is_none():
  make = lambda **given: make_spotter(
    build(MODEL), drawn_params(), NAMES, 0.6, make_front_end(MEAN, STD), **given
  )
  audio = sound(2)
  want, got = (one.push(one.init(), audio) for one in (make(), make(timeout_s=float("inf"))))
  assert [e.seconds for e in want[1]] == [e.seconds for e in got[1]] != []


def test_a_run_is_loaded_where_it_was_moved_to(run_folder, tmp_path):
  moved = run_folder.rename(tmp_path / "elsewhere")
  run = load_run(moved)
  assert (run.class_names, run.theta, run.model, run.input_shape) == (NAMES, 0.8, MODEL, (420,))
  jax.tree.map(np.testing.assert_array_equal, run.params, drawn_params())
  assert run.rule == Rule(0.8, 1, 0.5)
  save_calibration(moved, {"theta": 0.9, "class_names": NAMES})
  assert load_run(moved).rule == Rule(0.9)


def change(folder, **values):
  said = json.loads((folder / "model.json").read_text())
  (folder / "model.json").write_text(json.dumps(said | values))


def test_statistics_of_a_channel_far_from_zero_keep_their_digits(run_folder):
  change(run_folder, statistics={"mean": [1e9 + 0.5], "std": [1.0]})
  statistics = load_run(run_folder).statistics
  assert (1e9 + 1.5 - statistics["mean"]) / statistics["std"] == 1


def test_a_bias_shifts_the_logit_of_unknown_alone(run_folder):
  plain = load_run(run_folder)
  save_calibration(run_folder, {"theta": 0.9, "class_names": NAMES, "unknown_bias": -1.5})
  shifted = load_run(run_folder)
  assert (plain.unknown_bias, shifted.unknown_bias) == (0, -1.5)
  model = Model("dense_lstm", {"units": 4, "num_classes": 3})
  given = {"classifier": build(model), "params": init_params(model, 0), "unknown_bias": 0.0}
  dense, x = plain._replace(**given), batch_steps(sound(1.0))[3]
  for one, other in ((plain, shifted), (dense, with_unknown_bias(dense, -1.5))):
    classifier = one.classifier
    run_step = jax.jit(lambda params, c=classifier: c.run_step(params, c.initial_carry(params), x))
    first, then = (np.asarray(run_step(run.params)[1]) for run in (one, other))
    np.testing.assert_allclose(then - first, [0, 0, -1.5], atol=1e-6)
  back = with_unknown_bias(shifted, 0.0)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), back.params, plain.params)


@pytest.mark.parametrize("nats", [float("nan"), 21, True, "-1"])
def test_a_bias_that_is_none(run_folder, nats):
  with pytest.raises(ValueError, match=r"unknown_bias is .*; give nats from -20 to 20"):
    with_unknown_bias(load_run(run_folder), nats)
  save_calibration(run_folder, {"theta": 0.9, "class_names": NAMES, "unknown_bias": nats})
  with pytest.raises(ValueError, match=r"calibration.json has no rule .* calibrate again"):
    load_run(run_folder)


def test_a_bias_of_a_run_that_cannot_have_one(run_folder):
  run = load_run(run_folder)
  with pytest.raises(ValueError, match="the run has no class 'unknown'; leave it out"):
    with_unknown_bias(run._replace(class_names=("a", "b", "c")), -1.0)
  with pytest.raises(ValueError, match="no dense head whose logits could be shifted"):
    with_unknown_bias(run._replace(params={"kernel": jnp.zeros(3)}), -1.0)
  with pytest.raises(ValueError, match="one logit for two classes"):
    with_unknown_bias(run._replace(params={"head": [{"bias": jnp.zeros(1)}]}), -1.0)
  with pytest.raises(ValueError, match=r"the network has no class 7; give one of 0\.\.2"):
    shift_logit({"head": [{"bias": jnp.zeros(3)}]}, 7, -1.0)


@pytest.mark.parametrize(
  "rule, message",
  [
    (Rule(None), "theta is None; a rule has one number"),
    (Rule(np.array([0.9])), r"theta is array\(\[0\.9\]\); a rule has one number"),
    (Rule(0.9, 1.5), r"patience is 1\.5; it counts steps on end"),
    (Rule(0.9, 2, None), "refractory time is None; give seconds"),
  ],
)
def test_a_rule_that_is_none(rule, message):
  with pytest.raises(ValueError, match=message):
    check_rule(rule, 3)
  check_rule(Rule(np.float32(0.9), np.int64(2), 0), 3)


BAD_RUNS = {
  "not a run": (lambda f: None, "has no model.json", "the folder above"),
  "newer": (lambda f: change(f, format=3), "format 3", None),
  "a rival": (
    lambda f: change(f, format=2, objective="sprt"),
    "trained with --objective=sprt, whose decisions read more than",
    None,
  ),
  "not JSON": (lambda f: (f / "model.json").write_text("{"), "is damaged .*train the run", None),
  "a name is missing": (lambda f: change(f, class_names=NAMES[:2]), "names 2 classes, the", None),
  "no statistics": (lambda f: change(f, statistics={}), "statistics in .* are damaged", None),
  "bands of one value": (
    lambda f: change(f, statistics={"mean": [0.0] * 20, "std": [0.0] * 20}),
    "std is 0.0 for a band",
    None,
  ),
  "a field of another kind": (lambda f: change(f, arguments=None), "model.json is damaged", None),
  "a constructor that is no name": (lambda f: change(f, constructor=["lstm"]), "is damaged", None),
  "names that are no list": (lambda f: change(f, class_names="abc"), "class_names has to be", None),
  "an input of no shape": (lambda f: change(f, input_shape=[-1]), r"input_shape is \[-1\]", None),
  "unknown network": (lambda f: change(f, constructor="os.system"), "is unknown", None),
  "other arguments": (lambda f: change(f, arguments={"units": 4, "size": 1}), "do not fit", None),
  "other shapes": (
    lambda f: change(f, arguments={"units": 9, "num_classes": 3, "hidden": [4]}),
    "does not hold the network",
    None,
  ),
  "half of the parameters": (
    lambda f: (f / "params.msgpack").write_bytes((f / "params.msgpack").read_bytes()[:500]),
    "cannot be read",
    None,
  ),
  "no parameters": (lambda f: (f / "params.msgpack").unlink(), "cannot be read", None),
  "calibrated for others": (
    lambda f: save_calibration(f, {"theta": 0.9, "class_names": ["a", "b", "c"]}),
    "other classes",
    None,
  ),
  "half a calibration": (
    lambda f: (f / "calibration.json").write_text("{"),
    "is damaged .*; calibrate again, or delete it",
    None,
  ),
  "calibrated for nobody": (
    lambda f: save_calibration(f, {"theta": 0.9, "class_names": None}),
    "other classes",
    None,
  ),
  "calibrated without theta": (
    lambda f: save_calibration(f, {"class_names": NAMES}),
    "has no rule .*theta.*calibrate again",
    None,
  ),
  "a patience that is no number of steps": (
    lambda f: save_calibration(f, {"theta": 0.9, "patience": True, "class_names": NAMES}),
    "has no rule .patience is True",
    None,
  ),
  "has not ended": (
    lambda f: ((f / "config.json").write_text("{}"), (f / "model.json").unlink()),
    "has not ended",
    None,
  ),
  "another task": (
    lambda f: change(f, experiment="spotting"),
    "is a run of spotting; give one of",
    None,
  ),
}


@pytest.mark.parametrize("name", BAD_RUNS)
def test_a_bad_run_gets_one_sentence(run_folder, tmp_path, name):
  damage, words, where = BAD_RUNS[name]
  damage(run_folder)
  with pytest.raises(ValueError, match=words) as caught:
    load_speech_run(tmp_path if where else run_folder)
  assert "\n" not in str(caught.value)


def test_a_folder_that_may_not_be_read_gets_one_sentence(run_folder, monkeypatch):
  def refuse(path):
    raise PermissionError(errno.EACCES, "Permission denied", str(path))

  monkeypatch.setattr(pathlib.Path, "is_file", refuse)
  with pytest.raises(ValueError, match=r"cannot be read \(Permission denied\); make it"):
    load_run(run_folder)


@pytest.mark.parametrize(
  ("names", "keywords"),
  [(NAMES, ["yes", "no"]), (("no", "unknown", "yes"), "all")],
)
def test_the_data_of_a_run_is_read_for_its_classes(names, keywords, run_folder, monkeypatch):
  """A class `unknown` that is not the last is a folder of that name: the run took all words."""
  asked = []

  def load(**given):
    asked.append(given["keywords"])
    return argparse.Namespace(class_names=names)

  monkeypatch.setattr(speech, "load", load)
  load_data(load_speech_run(run_folder)._replace(class_names=names), {})
  assert asked == [keywords]


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1)])
def test_a_recording_of_any_rate_is_read_in_pieces(tmp_path, rate, channels):
  t = np.arange(int(1.3 * rate)) / rate
  tone = 0.5 * np.sin(2 * np.pi * 440 * t)
  soundfile.write(tmp_path / "a.wav", np.stack([tone] * channels, axis=1), rate, subtype="FLOAT")
  samples = np.concatenate(list(read_pieces(tmp_path / "a.wav")))
  assert abs(len(samples) - 1.3 * 16_000) <= 1
  expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(samples)) / 16_000)
  np.testing.assert_allclose(samples[800:-800], expected[800:-800], atol=2e-3)


def command(monkeypatch, capsys, main, *arguments):
  monkeypatch.setattr("sys.argv", ["command", *map(str, arguments)])
  status = main()
  return status, capsys.readouterr()


def test_decide_says_what_the_rank_code_of_a_clip_says(run_folder, tmp_path, monkeypatch, capsys):
  folder = tmp_path / "clips"
  folder.mkdir()
  classifier, params = load_run(run_folder)[:2]

  @jax.jit
  def read(steps):
    carry, rest = classifier.initial_carry(params), (classifier.encode, classifier.decode)
    logits = rc_jax.unroll(classifier.step, params, carry, steps, encode=rest[0], decode=rest[1])
    return rc_jax.rank_code(logits, 0.8)

  lines, statuses = [], []
  for seed in range(4):
    audio = sound(1.0, seed)
    soundfile.write(folder / f"{seed}.wav", audio, 16_000, subtype="FLOAT")
    code = read(batch_steps(audio))
    heard = round(float(speech.heard_ms(int(code.step))), 1)
    lines.append((NAMES[int(code.label)], heard) if bool(code.spiked) else (None, None))
    statuses.append(0 if bool(code.spiked) else 1)
  (folder / "broken.wav").write_bytes(b"RIFF")
  (folder / "._0.wav").write_bytes(b"hidden")
  paths = ("gone.wav", "a" * 300, folder)
  status, said = command(monkeypatch, capsys, decide.main, run_folder, *paths, "--json")
  found = [json.loads(line) for line in said.out.splitlines()]
  assert [(f["word"], f.get("heard_ms")) for f in found] == lines
  assert 0 in statuses and status == 2 and "broken.wav cannot be read" in said.err
  assert "gone.wav does not exist" in said.err and "aaa cannot be read: File name too" in said.err


def test_export_writes_what_the_run_decides_with(run_folder, tmp_path, monkeypatch, capsys):
  out = tmp_path / "c"
  status, said = command(monkeypatch, capsys, export_main.main, run_folder, f"--out={out}")
  assert status == 0 and "parameters" in said.out
  assert '"yes", "no", "unknown"' in (out / "rc_model.c").read_text()


def test_all_decide_by_the_calibrated_rule(run_folder, tmp_path, monkeypatch, capsys):
  rule = Rule(0.6, 3, 0.2)
  save_calibration(run_folder, {**rule._asdict(), "class_names": NAMES})
  run, audio = load_speech_run(run_folder), sound(3.0)
  hear = lambda given: (lambda spotter: spotter.push(spotter.init(), audio)[1])(
    make_run_spotter(run, given)
  )
  times = [[event.seconds for event in hear(given)] for given in (None, rule)]
  assert run.rule == rule and times[0] == times[1]
  for other in ({"theta": 0.9}, {"patience": 1}, {"refractory_s": 0.0}):
    assert [event.seconds for event in hear(rule._replace(**other))] != times[0]
  soundfile.write(tmp_path / "a.wav", audio, 16_000, subtype="FLOAT")
  given = f"--input={tmp_path / 'a.wav'}"
  _, said = command(monkeypatch, capsys, listen.main, run_folder, given)
  assert [float(line.split()[0]) for line in said.out.splitlines()] == pytest.approx(
    times[0], abs=0.006
  )
  assert "of the training" not in said.err
  command(monkeypatch, capsys, export_main.main, run_folder, f"--out={tmp_path / 'c'}")
  header = (tmp_path / "c" / "rc_model.h").read_text()
  for line in ("RC_THETA 0.600000024f", "RC_PATIENCE 3", "RC_REFRACTORY 3200"):
    assert f"#define {line}\n" in header


def test_listen_hears_the_same_in_a_file_and_in_raw_samples(
  run_folder, tmp_path, monkeypatch, capsys
):
  audio = np.round(sound(4.0) * 32768) / 32768
  soundfile.write(tmp_path / "a.wav", audio, 16_000)
  (tmp_path / "a.raw").write_bytes((audio * 32768).astype("<i2").tobytes())
  log, plot = tmp_path / "log.jsonl", tmp_path / "heard.png"
  of_file = (f"--input={tmp_path / 'a.wav'}", f"--log={log}", f"--plot={plot}", "--theta=0.6")
  status, said = command(monkeypatch, capsys, listen.main, run_folder, *of_file)
  events = [json.loads(line) for line in log.read_text().splitlines()]
  assert status == 0 and plot.stat().st_size > 1000
  assert len(events) == len(said.out.splitlines()) > 1
  assert said.err.endswith(f"{len(events)} events in 4.0 s\n")
  assert all(len(e["probabilities"]) == 3 for e in events)
  with open(tmp_path / "a.raw") as raw:
    monkeypatch.setattr("sys.stdin", raw)
    _, of_raw = command(monkeypatch, capsys, listen.main, run_folder, "--input=-", "--theta=0.6")
  assert of_raw.out == said.out
  with pytest.raises(ValueError, match="--rate is 1; give Hz, 100 to 1000000"):
    command(monkeypatch, capsys, listen.main, run_folder, "--input=-", "--rate=1")


class UnpluggedMicrophone:
  """Takes the place of sounddevice: a microphone that is gone after a tenth of a second."""

  class PortAudioError(Exception):
    pass

  class InputStream(contextlib.nullcontext):
    def __init__(self, rate, *, callback, finished_callback, **options):
      super().__init__()
      self.started = lambda: (
        callback(np.zeros((rate // 10, 1), np.float32), 0, None, Status),
        finished_callback(),
      )

    def start(self):
      self.started()

  @staticmethod
  def query_devices(device, kind):
    return {"default_samplerate": 48_000.0}


class Status:
  input_overflow = False


def test_listen_says_what_is_missing(run_folder, tmp_path, monkeypatch, capsys):
  monkeypatch.setitem(sys.modules, "sounddevice", None)
  with pytest.raises(ValueError, match=r"the microphone needs sounddevice .* give --input"):
    command(monkeypatch, capsys, listen.main, run_folder)
  assert "theta 0.8 is that of the training; python -m deploy.calibrate" in capsys.readouterr().err
  monkeypatch.setitem(sys.modules, "sounddevice", UnpluggedMicrophone)
  picture = tmp_path / "heard.png"
  with pytest.raises(ValueError, match="the microphone went away; connect it and start again"):
    command(monkeypatch, capsys, listen.main, run_folder, f"--plot={picture}")
  assert capsys.readouterr().err.endswith("0 events in 0.1 s\n") and picture.stat().st_size > 1000
  with pytest.raises(ValueError, match="the microphone went away"):
    command(monkeypatch, capsys, listen.main, run_folder, "--plot=/nowhere/a.png")
  assert "0 events in 0.1 s\nerror: --plot=/nowhere/a.png cannot" in capsys.readouterr().err
  with pytest.raises(ValueError, match="--log=/nowhere/x cannot be written"):
    command(monkeypatch, capsys, listen.main, run_folder, "--input=x.wav", "--log=/nowhere/x")

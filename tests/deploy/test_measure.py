"""Scores and thresholds against closed forms and plain loops; recordings against their labels."""

import argparse
import json
import sys

import jax
import numpy as np
import pytest
import scipy.stats
import soundfile
from small_run import NAMES, sound

from data_pipelines import two_sequence
from data_pipelines.speech import features
from data_pipelines.speech.loudness import SPEECH_LEVEL
from deploy import calibrate, measure
from deploy.commands import add_run, load_speech_run, make_run_spotter, with_arguments
from deploy.labels import Word, check_spelling, check_words
from deploy.long_recordings import add_noise, join_clips
from deploy.recordings import read_pieces
from deploy.rule import Rule
from deploy.run_files import load_run
from deploy.scoring import bound_rate, score
from deploy.spotter import BLOCK
from deploy.thresholds import (
  choose_for_accuracy,
  choose_for_rate,
  choose_for_time,
  list_thetas,
)
from rc_jax import evaluate, record

RATE = 16_000


def test_events_are_matched_to_words():
  words = [Word(1.0, 1.5, "yes"), Word(1.6, 2.0, "no"), Word(4, 4.5, "cat"), Word(6, 6.5, "no")]
  events = [
    (1.3, "yes"),  # right
    (1.7, "yes"),  # the same word again, though "no" has begun
    (1.8, "no"),  # right
    (4.2, "no"),  # "cat" is no keyword: a false alarm
    (5.2, "yes"),  # nothing is there
    (6.9, "yes"),  # another word than the one that was said
    (7.1, "no"),  # too late
  ]
  found = score(events, words, ("yes", "no"), 0.5)
  assert (found.words, found.false_alarms, found.per_hour) == (3, 3, 6.0)
  assert found.recall == pytest.approx(2 / 3) and found.wrong == pytest.approx(1 / 3)
  assert found.repeated == 0.5
  assert found.delay_start_s == pytest.approx((0.3 + 0.2) / 2)
  assert found.delay_end_s == pytest.approx(-0.2)


@pytest.mark.parametrize("word", ["Yes", "cafe\u0301"])
def test_a_keyword_that_is_written_otherwise_is_told(word):
  names = ("yes", "caf\xe9", "unknown")
  check_spelling([Word(0, 1, "yes"), Word(1, 2, "cat"), Word(2, 3, "caf\xe9")], names, "a.tsv")
  with pytest.raises(ValueError, match=r"a.tsv has the word .*, the run the class '(yes|caf\xe9)'"):
    check_spelling([Word(0, 1, word)], names, "a.tsv")


def test_labels_may_come_in_any_order_and_where_there_is_no_word_nothing_is_missed():
  words, events = [Word(1.0, 1.5, "yes"), Word(1.7, 2.2, "yes")], [(1.4, "yes"), (2.0, "yes")]
  assert score(events, words, ("yes",), 0.5) == score(events, words[::-1], ("yes",), 0.5)
  none = score(events, [], ("yes",), 0.5)
  assert none.false_alarms == 2 and np.isnan([none.recall, none.wrong, none.repeated]).all()
  assert none.to_json()["recall"] is None


def test_nothing_heard_in_half_an_hour_proves_less_than_six_an_hour():
  assert bound_rate(0, 0.5) == pytest.approx(-np.log(0.05) / 0.5)
  assert score([], [], ("yes",), 0.5).per_hour_bound == pytest.approx(5.99, abs=0.01)
  # The bound is the rate at which so few events are seen in only 5 % of hours.
  assert scipy.stats.poisson.cdf(7, bound_rate(7, 1.0)) == pytest.approx(0.05)


@pytest.mark.parametrize(
  ("words", "message"),
  [
    ([Word(1, 0.5, "yes")], "from 1 to 0.5 s"),
    ([Word(9, 11, "yes")], "but the recording goes from 0 to 10.00 s"),
    ([Word(1, 3, "yes"), Word(2, 4, "no")], "'yes' until 3 s and 'no' from 2 s on, which overlap"),
  ],
)
def test_labels_that_cannot_be(words, message):
  with pytest.raises(ValueError, match=message):
    check_words(words, 10.0, "a.tsv")


def test_a_joined_recording_has_its_words_where_it_says():
  t = np.arange(RATE) / RATE
  tone = (0.2 * np.sin(2 * np.pi * 440 * t) * ((t > 0.3) & (t < 0.7))).astype(np.float32)
  clips = [tone, 0.5 * tone, np.zeros(RATE, np.float32)]  # the last one is silent
  rng = np.random.default_rng(0)
  track, words = join_clips(clips.__getitem__, ["a", "b", "c"], minutes=0.5, gap_s=0.5, rng=rng)
  assert len(track) == 30 * RATE and {word.word for word in words} == {"a", "b"}
  check_words(words, 30.0, "made")
  inside = np.zeros(len(track), bool)
  for word in words:
    assert word.end - word.start == pytest.approx(0.4, abs=0.03)
    part = slice(round(word.start * RATE), round(word.end * RATE))
    inside[part] = True
    assert 20 * np.log10(np.sqrt(np.mean(track[part] ** 2)) / SPEECH_LEVEL) == pytest.approx(
      0, abs=3.5
    )
  assert not track[~inside].any()
  noisy = add_noise(np.zeros(10 * RATE, np.float32), 20.0, rng)
  assert np.sqrt(np.mean(noisy**2)) == pytest.approx(0.1 * SPEECH_LEVEL, rel=0.02)
  with pytest.raises(ValueError, match="all are silent"):
    join_clips(lambda k: np.zeros(RATE, np.float32), ["a"], minutes=1, gap_s=1, rng=rng)


def sound_of_blocks(number):
  """Sound of so many blocks of steps that a spotter needs no further steps one by one."""
  frames = number * BLOCK + 2 * features.CONTEXT
  return sound(12)[: (frames - 1) * features.HOP + features.WINDOW // 2]


@pytest.mark.parametrize("patience", [1, 3])
def test_all_thresholds_at_once_decide_as_the_spotter_does(run_folder, patience):
  run, audio = load_speech_run(str(run_folder)), sound_of_blocks(18)
  assert len(audio) > measure.PIECE_S * RATE  # two pieces, the first of which ends within a block
  run = run._replace(rule=run.rule._replace(patience=patience))
  thetas = np.array([0.6, 0.8, 0.95])
  found = measure.find_decisions(run, audio, thetas)
  assert sum(len(decisions) for decisions in found) > 20
  for theta, decisions in zip(thetas, found, strict=True):
    for refractory_s, options, kept in (
      (0.0, {"not_reported": ()}, decisions),
      (0.5, {}, measure.keep_events(decisions, 0.5)),
    ):
      spotter = make_run_spotter(run, Rule(float(theta), patience, refractory_s), **options)
      _, events, _ = spotter.push(spotter.init(), audio)
      assert [(event.seconds, event.word) for event in events] == kept


def test_the_promise_of_accuracy_holds_over_calibration_sets():
  """On two-sequence, read by the ideal observer: 600 draws of 400 from sequences all of which are
  known, so that the true loss of each threshold is known, too."""
  thetas, number, max_loss, confidence = list_thetas(2), 400, 0.05, 0.9
  observer = two_sequence.ideal_observer()
  batch = jax.jit(two_sequence.sample, static_argnums=1)(jax.random.key(0), 4_000)
  recorded, logits = record(observer, (), batch)
  read = [evaluate(recorded, (), logits, float(theta)) for theta in thetas]
  lost = np.array([(r.eos_label == r.label) & (r.predicted != r.label) for r in read])
  true_loss = lost.mean(axis=1)
  assert true_loss[-1] > 2 * max_loss  # low thresholds break the promise
  rng, broken, chosen = np.random.default_rng(0), 0, []
  for _ in range(600):
    drawn = lost[:, rng.integers(0, lost.shape[1], number)]
    theta = choose_for_accuracy(thetas, drawn, max_loss, confidence)
    chosen.append(theta)
    broken += true_loss[np.flatnonzero(thetas == theta)[0]] > max_loss
  assert broken <= scipy.stats.binom.ppf(0.999, 600, 1 - confidence)
  assert broken >= 5  # it is not bought with thresholds that are far too high
  assert len(set(chosen)) > 3 and max(chosen) < 0.99


def test_thresholds_for_a_time_and_for_a_rate():
  thetas = np.array([0.99, 0.9, 0.8, 0.7])
  assert choose_for_time(thetas, np.array([900.0, 700, 600, 500]), 650, "{:.0f} ms") == 0.8
  assert choose_for_rate(thetas, np.array([0, 0, 1, 0]), 3.5, 1.0, 0.95) == 0.9
  assert choose_for_rate(thetas, np.array([0, 0, 1, 0]), 10.0, 1.0, 0.95) == 0.7
  for classes in (2, 10):
    assert np.all(np.diff(list_thetas(classes)) < 0) and list_thetas(classes)[-1] > 1 / classes


@pytest.mark.parametrize(
  ("choose", "message"),
  [
    (
      lambda t: choose_for_accuracy(t, np.zeros((2, 100), bool), 0.01, 0.95),
      "100 examples cannot show .* give at least 299",
    ),
    (
      lambda t: choose_for_accuracy(t, np.ones((2, 400), bool), 0.01, 0.95),
      "loss of accuracy is too large even at theta = 0.9000",
    ),
    (
      lambda t: choose_for_accuracy(t, np.ones((2, 9), bool), 1.0, 0.95),
      "both lie between 0 and 1",
    ),
    (
      lambda t: choose_for_time(t, np.array([900, 800]), 700, "{:.0f} ms"),
      "the fastest takes 800 ms",
    ),
    (
      lambda t: choose_for_rate(t, np.zeros(2), 0.5, 1.0, 0.95),
      "30.0 minutes cannot show .* give at least 180 minutes",
    ),
    (lambda t: choose_for_rate(t, np.full(2, 99), 9, 1.0, 0.95), "rate of false alarms is too"),
  ],
)
def test_what_cannot_be_promised(choose, message):
  with pytest.raises(ValueError, match=message):
    choose(np.array([0.9, 0.8]))


def call(module, monkeypatch, *arguments):
  monkeypatch.setattr(sys, "argv", ["prog", *map(str, arguments)])
  return module.main()


def write_recording(folder, samples):
  """A recording of two words, and its labels."""
  path, labels = folder / "a.wav", folder / "a.tsv"
  soundfile.write(path, samples, RATE)
  with_mark = "\ufeff# start\tend\tword\n1.0\t1.5\tyes\n3.0\t3.5\tno\n"  # as Notepad saves it
  labels.write_text(with_mark)
  return path, labels


def test_measure_writes_numbers_and_picture(run_folder, tmp_path, monkeypatch, capsys):
  path, labels = write_recording(tmp_path, sound(36))  # an hour's hundredth
  out, picture = path.with_name("a.json"), path.with_name("a.png")
  given = [f"--recording={path}", f"--labels={labels}", f"--json={out}", f"--plot={picture}"]
  assert call(measure, monkeypatch, run_folder, *given) == 0
  said = capsys.readouterr().out
  assert "0.6 minutes, 2 keywords" in said and len(said.splitlines()) == 2 + len(measure.THETAS)
  scores = json.loads(out.read_text())
  assert [one["theta"] for one in scores] == list(measure.THETAS)
  assert all(one["per_hour"] == pytest.approx(100 * one["false_alarms"]) for one in scores)
  assert picture.stat().st_size > 5_000
  assert call(measure, monkeypatch, run_folder, given[0]) == 0
  assert "      -       -" in capsys.readouterr().out  # no keyword is labelled
  for more, words in (
    (given[:1] + given[-1:], "--plot draws misses of keywords"),
    ([given[0], "--snr_db=10"], "--snr_db adds noise to a made recording"),
    (["--synthesize=1", given[1]], "--labels are of --recording"),
    (["--synthesize=1", "--gap_s=-1"], "--gap_s is -1; give seconds, 0 or more"),
    (["--synthesize=-1"], "--synthesize is -1; give minutes, more than 0"),
    (["--synthesize=inf"], "--synthesize is inf; give minutes"),
  ):
    with pytest.raises(ValueError, match=words):
      call(measure, monkeypatch, run_folder, *more)
  labels.write_text("1.0\t2.0\tyes\n1.5 1.8 no\n")
  with pytest.raises(ValueError, match=r"line 2 of .* is '1.5 1.8 no'; give start, end"):
    call(measure, monkeypatch, run_folder, *given)


def parse(*given):
  parser = argparse.ArgumentParser()
  add_run(parser)
  return parser.parse_args(["run", *given])


def test_a_calibration_is_what_load_run_takes(run_folder, tmp_path, monkeypatch, capsys):
  path, labels = write_recording(tmp_path, sound_of_blocks(12))
  given = ["--max_false_alarms_per_hour=100000", f"--recording={path}", f"--labels={labels}"]
  given.append("--patience=2")
  assert call(calibrate, monkeypatch, run_folder, *given) == 0
  assert "written to" in capsys.readouterr().out
  said = json.loads((run_folder / "calibration.json").read_text())
  assert load_run(run_folder).rule == Rule(list_thetas(len(NAMES))[-1], 2, 0.5)
  heard = np.concatenate(list(read_pieces(path)))
  words_there = [Word(1.0, 1.5, "yes"), Word(3.0, 3.5, "no")]
  (found,) = measure.measure(load_run(run_folder), heard, words_there, np.array([said["theta"]]))
  assert found.false_alarms == said["false_alarms"] > 0
  for bad, words in (("--patience=0", "patience is 0"), ("--refractory=-1", "refractory time is")):
    with pytest.raises(ValueError, match=words):
      call(calibrate, monkeypatch, run_folder, *given[:-1], bad)
    with pytest.raises(ValueError, match=words):
      call(measure, monkeypatch, run_folder, f"--recording={path}", bad)
  with pytest.raises(ValueError, match="leave --patience and --refractory out"):
    call(calibrate, monkeypatch, run_folder, "--max_mean_ms=500", "--patience=2")
  assert said["hours"] == pytest.approx(7.8825 / 3600)
  assert call(calibrate, monkeypatch, run_folder, *given, "--unknown_bias=-2") == 0
  biased = load_run(run_folder)
  assert biased.unknown_bias == -2 and load_run(run_folder, calibrated=False).unknown_bias == 0
  loud = json.loads((run_folder / "calibration.json").read_text())
  find = lambda run: measure.measure(run, heard, [], np.array([0.7]))[0].false_alarms
  assert find(biased) > find(load_run(run_folder, calibrated=False))
  (found,) = measure.measure(biased, heard, words_there, np.array([loud["theta"]]))
  assert found.false_alarms == loud["false_alarms"]
  assert find(with_arguments(biased, parse("--unknown_bias=0"))) < find(biased)
  assert with_arguments(biased, parse()).unknown_bias == -2
  assert call(calibrate, monkeypatch, run_folder, *given) == 0  # what was before counts no more
  assert json.loads((run_folder / "calibration.json").read_text()) == said
  with pytest.raises(ValueError, match="give at least 180 minutes"):
    call(calibrate, monkeypatch, run_folder, "--max_false_alarms_per_hour=1", *given[1:])
  with pytest.raises(ValueError, match="give --recording=FILE or --synthesize=MINUTES"):
    call(calibrate, monkeypatch, run_folder, given[0])
  with pytest.raises(ValueError, match="read on clips; give --max_false_alarms_per_hour, or leave"):
    call(calibrate, monkeypatch, run_folder, "--max_mean_ms=500", *given[1:-1])


def test_calibration_on_the_clips_of_a_data_set(run_folder, monkeypatch, tmp_path, capsys):
  """The clips of a folder, read by a network that knows nothing of them."""
  words, rng = tmp_path / "words", np.random.default_rng(0)
  lists = {"validation": [], "testing": []}
  for word in ("yes", "no", "cat"):
    (words / word).mkdir(parents=True)
    for k in range(30):
      name = f"{word}/{k:08x}_nohash_0.wav"
      soundfile.write(words / name, 0.1 * rng.normal(size=RATE), RATE)
      lists["validation" if k < 20 else "testing"] += [name] if k < 25 else []
  for split, names in lists.items():
    (words / f"{split}_list.txt").write_text("\n".join(names) + "\n")
  (words / "cat" / "broken.wav").write_bytes(b"RIFF")
  data = [f"--data_dir={words}", f"--cache_dir={tmp_path / 'cache'}"]
  with pytest.raises(ValueError, match=r"broken\.wav"):
    call(calibrate, monkeypatch, run_folder, "--max_mean_ms=1013", *data)
  described = json.loads((run_folder / "model.json").read_text())
  described["reading"] = {"smell": "sweet"}
  (run_folder / "model.json").write_text(json.dumps(described))
  with pytest.raises(ValueError, match=r"this version does not know .*smell"):
    call(calibrate, monkeypatch, run_folder, "--max_mean_ms=1013", *data)
  described["reading"] = {"on_bad_file": "skip"}  # as its training read it
  (run_folder / "model.json").write_text(json.dumps(described))
  assert call(calibrate, monkeypatch, run_folder, "--max_mean_ms=1013", *data) == 0
  said = json.loads((run_folder / "calibration.json").read_text())
  assert said["clips"] == 60 and said["split"] == "validation" and said["theta"] > 0.99
  with pytest.raises(ValueError, match=r"60 examples cannot show .* at least 299"):
    call(calibrate, monkeypatch, run_folder, "--max_accuracy_loss=0.01", *data)
  assert call(calibrate, monkeypatch, run_folder, "--max_accuracy_loss=0.5", *data) == 0
  kept = tmp_path / "made.wav"
  made = ["--synthesize=0.5", "--of=all", "--gap_s=0.2", "--snr_db=20", f"--save={kept}"]
  assert call(measure, monkeypatch, run_folder, *made, *data) == 0
  said = capsys.readouterr().out
  assert "0.5 minutes" in said
  again = [f"--recording={kept}", f"--labels={kept.with_suffix('.tsv')}"]
  assert call(measure, monkeypatch, run_folder, *again) == 0
  found = capsys.readouterr().out.splitlines()
  assert found == said.splitlines()[-len(found) :]  # as it measured what it made

import hashlib
import re

import hypothesis
import hypothesis.strategies as st
import pytest

from data_pipelines.speech.split_rules import (
  SPEAKER_PATTERN,
  assign,
  hashed_split,
  parse_list,
  speaker_finder,
)

hexadecimal = st.text("0123456789abcdef", min_size=8, max_size=8)


def which_set(file_name, validation_percentage=10, testing_percentage=10):
  """The rule as the data set's README states it."""
  hash_name = re.sub(r"_nohash_.*$", "", file_name)
  hashed = int(hashlib.sha1(hash_name.encode()).hexdigest(), 16)
  percentage = (hashed % (134_217_727 + 1)) * (100.0 / 134_217_727)
  if percentage < validation_percentage:
    return "validation"
  return "test" if percentage < testing_percentage + validation_percentage else "train"


# As the official lists have them.
@pytest.mark.parametrize(
  ("speaker", "split"),
  [
    ("026290a7", "validation"),
    ("060cd039", "validation"),
    ("1657c9fa", "validation"),
    ("3bdf05d3", "validation"),  # at 9.91 %
    ("ffb86d3c", "test"),  # at 10.06 %
    ("5f449e17", "test"),  # at 19.999 %
    ("59fe87e6", "train"),  # at 20.07 %
    ("022cd682", "test"),
    ("0487ba9b", "test"),
    ("00176480", "train"),
    ("012c8314", "train"),
  ],
)
def test_hash_agrees_with_the_official_lists(speaker, split):
  assert hashed_split(speaker) == split


def test_hash_agrees_with_the_whole_lists(shared):
  listed = {
    "validation": parse_list((shared / "validation_list.txt").read_text()),
    "test": parse_list((shared / "testing_list.txt").read_text()),
  }
  names = [f"{path.parent.name}/{path.name}" for path in shared.glob("*/*.flac")]
  speaker = speaker_finder(SPEAKER_PATTERN)
  assert assign(names, listed, speaker) == assign(names, None, speaker)


@hypothesis.given(hexadecimal, st.integers(0, 9))
def test_hash_is_which_set(speaker, take):
  name = f"{speaker}_nohash_{take}.wav"
  assert hashed_split(speaker_finder(SPEAKER_PATTERN)(f"yes/{name}")) == which_set(name)


@hypothesis.given(
  st.lists(st.tuples(st.sampled_from("abc"), hexadecimal, st.integers(0, 3)), min_size=1)
)
def test_every_clip_is_in_one_split_and_no_speaker_in_two(clips):
  names = {f"{word}/{speaker}_nohash_{take}.wav" for word, speaker, take in clips}
  speaker = speaker_finder(SPEAKER_PATTERN)
  assigned = assign(names, None, speaker)
  assert sorted(name for split in assigned.names.values() for name in split) == sorted(names)
  homes = {}
  for split, members in assigned.names.items():
    for name in members:
      assert homes.setdefault(speaker(name), split) == split
  assert assigned.shared_speakers == ()


def test_shares_are_ten_percent():
  splits = [hashed_split(f"speaker{number}") for number in range(10_000)]
  assert 900 < splits.count("validation") < 1100
  assert 900 < splits.count("test") < 1100


def test_a_speaker_stays_when_others_join():
  speaker = speaker_finder(SPEAKER_PATTERN)
  few = [f"a/{number:08x}_nohash_0.wav" for number in range(20)]
  many = [f"a/{number:08x}_nohash_0.wav" for number in range(200)]
  for split, members in assign(few, None, speaker).names.items():
    assert set(members) <= set(assign(many, None, speaker).names[split])


@pytest.mark.parametrize(
  ("pattern", "name", "speaker"),
  [
    (SPEAKER_PATTERN, "yes/abc_nohash_1.wav", "abc"),
    (SPEAKER_PATTERN, "yes/a_b_nohash_1.wav", "a_b"),
    (SPEAKER_PATTERN, "yes/a_nohash_b_nohash_1.wav", "a"),
    (SPEAKER_PATTERN, "yes/recording7.flac", "recording7"),
    (SPEAKER_PATTERN, "x_nohash_y/recording7.flac", "recording7"),
    (r"^spk(\d+)_", "yes/spk12_take3.wav", "12"),
    (r"^spk\d+", "yes/spk12_take3.wav", "spk12"),
    (r"^spk(\d+)?_", "yes/spk_take3.wav", "spk_take3"),
  ],
)
def test_speaker_pattern(pattern, name, speaker):
  assert speaker_finder(pattern)(name) == speaker


def test_bad_speaker_pattern():
  with pytest.raises(ValueError, match=r"speaker_pattern '\(' is not a regular expression"):
    speaker_finder("(")


def test_lists_decide_and_what_they_lack_is_noted():
  names = ["a/s_nohash_0.wav", "a/s_nohash_1.wav", "a/t_nohash_0.wav", "a/u_nohash_0.wav"]
  listed = {"validation": [names[1], "a/gone.wav"], "test": [names[2], names[2]]}
  assigned = assign(names, listed, speaker_finder(SPEAKER_PATTERN))
  assert assigned.names == {"train": [names[0], names[3]], "validation": [names[1]],
                            "test": [names[2]]}  # fmt: skip
  assert assigned.missing == ("a/gone.wav",)
  assert assigned.shared_speakers == ("s",)


def test_names_that_tell_no_speaker_are_noted():
  names = ["a/anna_1.wav", "a/anna_2.wav", "a/s_nohash_0.wav"]
  assert assign(names, None, speaker_finder(SPEAKER_PATTERN)).unnamed == tuple(names[:2])
  assert assign(names, None, speaker_finder("^([^_]+)_")).unnamed == ()
  listed = {"validation": names[:1], "test": names[1:2]}
  assert assign(names, listed, speaker_finder(SPEAKER_PATTERN)).unnamed == ()


def test_a_clip_on_both_lists_is_an_error():
  with pytest.raises(ValueError, match=r"a/x\.wav is on validation_list\.txt and on testing_list"):
    assign(["a/x.wav"], {"validation": ["a/x.wav"], "test": ["a/x.wav"]}, lambda name: name)


def test_parse_list():
  text = "a/1.wav\r\n\n  ./b/2.wav \nc\\3.wav\n"
  assert parse_list(text) == ["a/1.wav", "b/2.wav", "c/3.wav"]

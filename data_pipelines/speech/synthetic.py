"""The `synthetic` source: words spoken by espeak-ng, for a demonstration without a download.

A voice is a variant of the engine, that is a timbre. Each voice is in one split only and speaks
every word in several English accents, at several speeds and pitches. A word starts at a random
time of its one-second clip and gets a random level and noise. All random numbers follow from the
clip's own name, so that every run makes the same clips.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from data_pipelines.speech import espeak, store
from data_pipelines.speech.features import NUM_SAMPLES, SAMPLE_RATE
from data_pipelines.speech.source import SPLITS, Clip, Source
from data_pipelines.speech.waveforms import resample

FORMAT = 1
WORDS = (
  *("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"),
  *("bed", "cat", "dog", "happy", "house", "tree"),
)
ACCENTS = (
  *("en-us", "en-us-nyc", "en", "en-gb-scotland"),
  *("en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029"),
)
# Variants that differ only in their number sound alike and therefore share a split.
VOICES = {
  "train": (
    *("Alex", "Alicia", "Andy", "AnxiousAndy", "Gene", "Gene2", "Henrique", "Jacky", "Marco"),
    *("Mario", "Michael", "Mike", "mike2", "Nguyen", "RicishayMax", "RicishayMax2"),
    *("RicishayMax3", "anika", "anikaRobot", "announcer", "aunty", "benjamin", "boris", "croak"),
    *("ed", "edward", "edward2", "f1", "f3", "f5", "grandma", "grandpa", "gustave", "iven"),
    *("iven2", "iven3", "iven4", "kaukovalta", "klatt", "klatt2", "klatt3", "klatt4", "klatt5"),
    *("klatt6", "m1", "m3", "m5", "m7", "marcelo", "michel", "miguel", "norbert", "pablo"),
    *("pedro", "quincy", "rob", "robosoft", "robosoft2", "robosoft3", "robosoft4", "robosoft5"),
    *("robosoft6", "robosoft7", "robosoft8", "sandro", "shelby", "steph", "steph2", "steph3"),
    *("travis", "whisper", "whisperf"),
  ),
  "validation": (
    *("Andrea", "Denis", "Hugo", "Reed", "adam", "belinda", "david", "f2", "m2", "m6", "john"),
    *("max", "paul", "zac"),
  ),
  "test": (
    *("Annie", "Diogo", "Lee", "Storm", "antonio", "caleb", "f4", "ian", "linda", "m4", "m8"),
    *("robert", "victor"),
  ),
}
TAKES = 3  # clips of each word by each voice
_RATES = (110, 200)  # speed, in words per minute
_PITCHES = (25, 75)  # on the engine's scale of 0 to 99
_LEVELS = (0.05, 0.8)  # the word's peak, where full scale is 1
_NOISE_DB = (12.0, 40.0)  # how far the noise lies below the word's mean power
_AUDIBLE = 0.02  # a word begins and ends where it exceeds this fraction of its peak


class Recipe(NamedTuple):
  """Everything but the engine that determines the clips.

  Attributes:
    words: the words to say.
    voices: for each split, its voice variants.
    takes: the number of clips of each word by each voice.
  """

  words: Sequence[str] = WORDS
  voices: Mapping[str, Sequence[str]] = VOICES
  takes: int = TAKES


class _Line(NamedTuple):
  """A clip to make: its name, its word and the request to the engine."""

  name: str
  word: str
  utterance: espeak.Utterance


def synthetic_source(
  cache_dir: pathlib.Path, *, progress: bool, recipe: Recipe | None = None
) -> Source:
  """Makes the source of synthesized words; their 16-bit samples are made once and cached.

  Args:
    cache_dir: the folder of the cache.
    progress: whether to show a progress bar while clips are made.
    recipe: what to make; None means 16 words and about 4,700 clips.

  Raises:
    ValueError: if espeak-ng is not installed, lacks a voice or fails, or if cache_dir cannot be
      written.
  """
  recipe = recipe or Recipe()
  engine = espeak.find_engine()
  espeak.check_variants(engine, [name for split in SPLITS for name in recipe.voices[split]])
  lines = {split: _write_script(recipe, split) for split in SPLITS}
  fingerprint = _fingerprint(lines)
  folder = store.open_or_build(
    cache_dir,
    f"synthetic-{fingerprint[:32]}",
    lambda folder: _record_all(folder, engine, lines, progress),
  )
  clips = {split: np.load(_samples_path(folder, split), mmap_mode="r") for split in SPLITS}

  def read(split: str, index: int) -> Clip:
    line = lines[split][index]
    samples = clips[split][index].astype(np.float32) / 32768
    return Clip(line.name, line.word, samples, len(samples) / SAMPLE_RATE)

  return Source(
    fingerprint=fingerprint,
    words=tuple(sorted(recipe.words)),
    sizes={split: len(lines[split]) for split in SPLITS},
    read=read,
  )


def _generator_for(*names) -> np.random.Generator:
  """Makes a random generator whose numbers follow from these names alone."""
  digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
  return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def _write_script(recipe: Recipe, split: str) -> list[_Line]:
  """Lists the clips of a split in order, each with its random accent, speed and pitch."""
  lines = []
  for word in recipe.words:
    for voice in recipe.voices[split]:
      # The takes of a voice have different accents until all accents are used.
      accents = _generator_for("accents", word, voice).permutation(ACCENTS)
      for take in range(recipe.takes):
        name = f"{word}/{voice}_nohash_{take}"
        rng = _generator_for("utterance", name)
        rate, pitch = (int(rng.integers(low, high + 1)) for low, high in (_RATES, _PITCHES))
        language = accents[take % len(accents)]
        lines.append(_Line(name, word, espeak.Utterance(word, f"{language}+{voice}", rate, pitch)))
  return lines


def _fingerprint(lines: dict[str, list[_Line]]) -> str:
  """Hashes everything that determines the clips, the engine's version included."""
  version = importlib.metadata.version("espeakng-loader")
  recipe = [FORMAT, version, _LEVELS, _NOISE_DB, _AUDIBLE, lines]
  return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()


def _samples_path(folder: pathlib.Path, split: str) -> pathlib.Path:
  """Returns the file that holds the samples of a split."""
  return folder / f"{split}.npy"


def _record_all(folder: pathlib.Path, engine: espeak.Engine, lines, progress: bool) -> None:
  """Writes the samples `[N, 16000]` int16 of each split; one run of the engine speaks them all."""
  utterances = [line.utterance for split in SPLITS for line in lines[split]]
  with (
    contextlib.closing(espeak.speak(engine, utterances)) as spoken,
    tqdm.tqdm(
      total=len(utterances), desc="speaking words", unit="clip", disable=not progress
    ) as bar,
  ):
    for split in SPLITS:
      clips = np.zeros((len(lines[split]), NUM_SAMPLES), np.int16)
      for row, line in zip(clips, lines[split], strict=True):
        rate, samples = next(spoken)
        row[:] = _record_clip(np.frombuffer(samples, "<i2"), rate, line)
        bar.update()
      np.save(_samples_path(folder, split), clips)


def _record_clip(samples: np.ndarray, rate: int, line: _Line) -> np.ndarray:
  """Places a spoken word into one second of noise.

  Args:
    samples: `[n]` int16 samples of the word.
    rate: their sample rate in Hz.
    line: the clip's line, whose name determines the random numbers.

  Returns:
    `[16000]` int16 samples at 16 kHz.

  Raises:
    ValueError: if the engine gave silence.
  """
  word = resample(samples.astype(np.float32), rate)
  peak = np.abs(word).max(initial=0)
  if peak == 0:
    raise ValueError(f"espeak-ng says nothing for {line.utterance}")
  audible = np.flatnonzero(np.abs(word) > _AUDIBLE * peak)
  word = word[audible[0] : audible[-1] + 1][:NUM_SAMPLES]

  rng = _generator_for("recording", line.name)
  word = word * (np.exp(rng.uniform(*np.log(_LEVELS))) / peak)
  clip = _draw_noise(rng) * np.sqrt(np.mean(word**2) * 10 ** (-rng.uniform(*_NOISE_DB) / 10))
  start = rng.integers(0, NUM_SAMPLES - len(word) + 1)
  clip[start : start + len(word)] += word
  return np.round(np.clip(clip, -1, 1) * 32767).astype(np.int16)


def _draw_noise(rng: np.random.Generator) -> np.ndarray:
  """Draws noise `[16000]` of unit power whose spectrum lies between white and brown."""
  spectrum = np.fft.rfft(rng.normal(size=NUM_SAMPLES))
  frequency = np.maximum(np.arange(len(spectrum)), 20)  # flat below 20 Hz
  noise = np.fft.irfft(spectrum * frequency ** -rng.uniform(0, 1), NUM_SAMPLES)
  return noise / np.sqrt(np.mean(noise**2))

"""Speech without the keywords, said by a synthesizer in many voices, as one long track.

A spotter that is to keep silent while people talk must have heard people talk. The track has either
random words in many languages and voices, to train on, or English sentences in other voices, to
count false alarms on. What sounds like a keyword is left out of both.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import tqdm

from data_pipelines.speech import cache, espeak, store, texts
from data_pipelines.speech.background import to_int16
from data_pipelines.speech.features import SAMPLE_RATE
from data_pipelines.speech.loudness import LOUD, SPEECH_LEVEL, find_word
from data_pipelines.speech.synthetic import ACCENTS, VOICES
from data_pipelines.speech.waveforms import resample

FORMAT = 1
LANGUAGES = (  # a language reads English words by its own rules, which gives many more sounds
  *ACCENTS,
  *("de", "nl", "sv", "da", "fr", "es", "it", "pt", "ro", "pl", "cs", "ru", "tr", "fi", "hu"),
  *("el", "id", "sw", "hi", "vi"),
)
_LEVELS_DB = (-3.0, 3.0)  # of single utterances, about SPEECH_LEVEL
_RATES = (120, 220)  # words per minute
_PITCHES = (25, 75)
_WORDS = (3, 7)  # to an utterance of random words
_GAPS_S = (0.2, 0.8)  # silence after an utterance

Kind = Literal["words", "sentences"]


def open_other_speech(
  cache_dir: str | pathlib.Path | None,
  kind: Kind,
  keywords: Sequence[str],
  *,
  split: str = "train",
  utterances: int = 1500,
  seed: int = 0,
  progress: bool = True,
) -> np.ndarray:
  """Opens a track of speech without the keywords; says and caches it first where it is new.

  Args:
    cache_dir: folder of the cache; None means the user's cache folder.
    kind: "words" (random ones, many languages) or "sentences" (English, in turn).
    keywords: words that are left out, with what sounds like them, and sentences that have them.
    split: whose voices speak; of the sentences, "test" has one half and the others the other one.
    utterances: number of them; 1500 are about an hour.
    seed: of the words, voices, speeds and pauses.
    progress: whether to show a progress bar.

  Returns:
    `[n]` int16 samples at 16 kHz, memory-mapped.

  Raises:
    ValueError: espeak-ng is not installed, or cache_dir cannot be written.
  """
  folder = pathlib.Path(cache_dir).expanduser() if cache_dir else cache.default_cache_dir()
  engine = espeak.find_engine()
  lines = _write_lines(kind, keywords, split, utterances, np.random.default_rng(seed))
  version = importlib.metadata.version("espeakng-loader")
  recipe = [FORMAT, version, SPEECH_LEVEL, _LEVELS_DB, _GAPS_S, LOUD, seed, lines]
  key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:32]
  build = lambda made: np.save(made / "track.npy", _record(engine, lines, seed, progress))
  return np.load(store.open_or_build(folder, f"other-{key}", build) / "track.npy", mmap_mode="r")


def _write_lines(
  kind: Kind, keywords: Sequence[str], split: str, number: int, rng: np.random.Generator
) -> list[espeak.Utterance]:
  """Draws what is said: text, voice, speed and pitch of each utterance."""
  heard = {like for word in keywords for like in texts.list_homophones(word.lower())}
  words = [word for word in texts.WORDS if word not in heard]
  half = texts.SENTENCES[split == "test" :: 2]
  sentences = [s for s in half if not heard & set(re.findall("[a-z]+", s.lower()))]
  lines = []
  for k in range(number):
    if kind == "words":
      text = " ".join(rng.choice(words, rng.integers(_WORDS[0], _WORDS[1] + 1)))
      language = rng.choice(LANGUAGES)
    else:
      text = sentences[k % len(sentences)]
      language = rng.choice(ACCENTS)
    voice = rng.choice(VOICES[split])
    rate, pitch = (int(rng.integers(low, high + 1)) for low, high in (_RATES, _PITCHES))
    lines.append(espeak.Utterance(text, f"{language}+{voice}", rate, pitch))
  return lines


def _record(
  engine: espeak.Engine, lines: list[espeak.Utterance], seed: int, progress: bool
) -> np.ndarray:
  """Says all lines, one after the other, with pauses between: `[n]` int16."""
  rng, parts = np.random.default_rng((seed, 1)), []
  with contextlib.closing(espeak.speak(engine, lines)) as spoken:
    bar = tqdm.tqdm(spoken, total=len(lines), desc="speaking", unit="line", disable=not progress)
    for rate, content in bar:
      samples = np.frombuffer(content, "<i2").astype(np.float32) / 32768
      samples = resample(samples, rate)
      gain = SPEECH_LEVEL * 10 ** (rng.uniform(*_LEVELS_DB) / 20) / find_word(samples)[2]
      pause = int(SAMPLE_RATE * rng.uniform(*_GAPS_S))
      parts += [to_int16(gain * samples), np.zeros(pause, np.int16)]
  return np.concatenate(parts)

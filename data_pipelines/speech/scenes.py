"""Training sequences as a spotter meets them: sound before the word, background, other speech.

A clip begins with its word, and a network that is trained on clips learns that a word is near. Live
sound has no beginning. So a scene puts something in front of the clip: the tail of another word, as
it is heard after a decision, and a gap; and it may go on after the clip, so that a network which
was not sure in time may still say the word. Background is mixed into the samples of all of it. Some
scenes have no keyword: background alone, speech of other words, a clip backwards, or halves of two
clips. They belong to the class "unknown".

The loss of rank coding stands at the first spike. Before there is evidence any spike is as likely
wrong as right, so that the network learns from scenes to wait.
"""

import concurrent.futures
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from data_pipelines.batches import shuffled_indices
from data_pipelines.speech.background import to_int16
from data_pipelines.speech.features import (
  CONTEXT,
  HOP,
  NUM_SAMPLES,
  SAMPLE_RATE,
  log_mel,
  num_frames,
)
from data_pipelines.speech.loudness import BACKGROUND_LEVEL, LOUD, SPEECH_LEVEL
from rc_jax.types import Array, Batch, Key

NO_BACKGROUND = 0.15  # share of scenes that stay as quiet as their recordings
NO_TAIL, NO_GAP = 0.35, 0.15  # shares of scenes
_SOUND, _SPEECH, _REVERSED, _SPLICED = range(4)  # kinds of scenes without a keyword
# Of the clip before, up to the end of its word: what is left of a word after a decision about it. A
# longer tail would be a word, which the network would be taught not to answer.
_TAIL_S = (0.0, 0.2)
_AFTER_S = 0.1  # of it after the end of its word
_OTHER_DB = (-6.0, 6.0)  # level of other speech, about that of the clip which it replaces
_ROWS = 16  # to one transform: its intermediate arrays stay in a CPU's caches


class Scenes(NamedTuple):
  """What scenes are made of.

  Attributes:
    lead_in_s: seconds, at most, in front of a clip; at least `_TAIL_S[1] + _AFTER_S` or 0.
    lead_out_s: seconds, at most, after a clip.
    snr_db: lowest and highest signal-to-noise ratio of speech and background, in dB.
    negatives: share of scenes without a keyword, 0 to 1.
    unknown: label of the class "unknown"; not read where `negatives` is 0.
    other_speech: whether half of those scenes are other speech.
  """

  lead_in_s: float
  lead_out_s: float
  snr_db: tuple[float, float]
  negatives: float
  unknown: int
  other_speech: bool

  @property
  def num_samples(self) -> int:
    """Samples of a scene: the longest lead-in, a clip, and the longest lead-out."""
    return (_hops(self.lead_in_s) + _hops(self.lead_out_s)) * HOP + NUM_SAMPLES

  @property
  def num_steps(self) -> int:
    """Steps of the longest scene."""
    return int(num_frames(self.num_samples)) - 2 * CONTEXT


def _hops(seconds: float) -> int:
  return round(seconds * SAMPLE_RATE / HOP)


class Sounds(NamedTuple):
  """Recordings on the device.

  Attributes:
    clips: `[N, 16000]` int16.
    labels: `[N]` int32.
    background: `[n]` int16, of `open_background`; n = 0 for none.
    speech: `[m]` int16, of `open_other_speech`; m = 0 for none.
  """

  clips: Array
  labels: Array
  background: Array
  speech: Array


class Excerpts(NamedTuple):
  """Where the sounds of B scenes are taken from.

  Attributes:
    clip: `[B]` int32, index of the clip.
    background: `[B]` int32, first sample of the background.
    speech: `[B]` int32, first sample of the other speech.
  """

  clip: Any
  background: Any
  speech: Any


def draw_excerpts(sounds: Sounds, scenes: Scenes, batch_size: int, seed: int) -> grain.MapDataset:
  """Makes the grain data set of `Excerpts`; batch k depends on k and the seed alone.

  Raises:
    ValueError: fewer clips than one batch, or a background or speech shorter than a scene.
  """
  length = scenes.num_samples
  for name, track in (("background", sounds.background), ("other speech", sounds.speech)):
    if 0 < len(track) < length:
      raise ValueError(
        f"the {name} has {len(track) / SAMPLE_RATE:.1f} s, a scene {length / SAMPLE_RATE:.1f} s; "
        "give more of it"
      )
  starts = [max(1, len(t) - length + 1) for t in (sounds.background, sounds.speech)]

  def draw(index: np.ndarray, rng: np.random.Generator) -> Excerpts:
    first = [rng.integers(0, high, len(index), dtype=np.int32) for high in starts]
    return Excerpts(index.astype(np.int32), *first)

  return shuffled_indices(len(sounds.labels), batch_size, seed).random_map(draw, seed=seed)


def cut_excerpts(sounds: Sounds, excerpts: Excerpts, *, scenes: Scenes) -> Batch:
  """Takes the sounds of B scenes: a batch whose inputs are a dict of samples, for `compose`.

  Args:
    sounds: recordings.
    excerpts: of `draw_excerpts`.
    scenes: what scenes are made of.
  """

  def cut(track: Array, starts: Array) -> Array:
    if not len(track):
      return jnp.zeros((len(starts), scenes.num_samples), jnp.int16)
    one = lambda start: jax.lax.dynamic_slice(track, (start,), (scenes.num_samples,))
    return jax.vmap(one)(starts)

  labels = sounds.labels[excerpts.clip]
  inputs = {
    "clip": sounds.clips[excerpts.clip],
    "background": cut(sounds.background, excerpts.background),
    "speech": cut(sounds.speech, excerpts.speech),
  }
  return Batch(inputs, labels, jnp.full(labels.shape, scenes.num_steps, jnp.int32))


def compose(key: Key, batch: Batch, *, scenes: Scenes) -> Batch:
  """Makes scenes of sounds.

  Args:
    key: consumed.
    batch: of `cut_excerpts`. The clip of the row before is what is heard before a clip.
    scenes: what they are made of.

  Returns:
    The batch with inputs `[B, F, 20]` float32 log-mel frames, F of the longest scene, the labels of
    the scenes and their lengths in steps.
  """
  samples, labels, lengths = compose_samples(key, batch, scenes=scenes)
  return Batch(jax.lax.map(log_mel, samples, batch_size=_ROWS), labels, lengths)


def compose_samples(key: Key, batch: Batch, *, scenes: Scenes) -> tuple[Array, Array, Array]:
  """Makes scenes as samples `[B, L]` float32, with labels `[B]` and lengths in steps `[B]`.

  A scene of n steps ends at sample `160 * (n + 19)`; what follows is background.
  The arguments are those of `compose`.
  """
  sounds = {name: part.astype(jnp.float32) / 32768 for name, part in batch.inputs.items()}
  before = jnp.roll(sounds["clip"], 1, axis=0)
  other, other_labels = (jnp.roll(a, 2, axis=0) for a in (sounds["clip"], batch.labels))
  keys = jax.random.split(key, len(batch.labels))
  one = functools.partial(_compose_scene, scenes=scenes)
  return jax.vmap(one)(
    keys,
    sounds["clip"],
    before,
    other,
    sounds["background"],
    sounds["speech"],
    batch.labels,
    other_labels,
  )


def _compose_scene(
  key: Key,
  clip: Array,
  before: Array,
  other: Array,
  background: Array,
  speech: Array,
  label: Array,
  other_label: Array,
  *,
  scenes: Scenes,
) -> tuple[Array, Array, Array]:
  """Makes one scene: samples `[L]`, label and number of steps."""
  length = scenes.num_samples
  keys = jax.random.split(key, 7)
  front_key, negative_key, kind_key, level_key, snr_key, none_key, out_key = keys
  loudness, _, _ = _measure(clip)
  is_negative = jax.random.uniform(negative_key) < scenes.negatives
  # Half of them are other speech, where there is any; the rest are of the other kinds alike.
  kinds = [_SOUND, _REVERSED, _SPLICED] + 3 * [_SPEECH] * scenes.other_speech
  kind = jnp.where(is_negative, jax.random.choice(kind_key, jnp.asarray(kinds, jnp.int32)), -1)
  # Halves of one word are that word: then the clip is reversed instead.
  kind = jnp.where((kind == _SPLICED) & (label == other_label), _REVERSED, kind)
  clip = jnp.select(
    [kind == _SOUND, kind == _REVERSED, kind == _SPLICED],
    [jnp.zeros_like(clip), clip[::-1], _splice(clip, other)],
    clip,
  )
  front, start = _make_front(front_key, before, scenes)
  samples = front + _place(clip, start, length)
  spoken_loudness, _, _ = _measure(speech)
  gain = 10 ** (jax.random.uniform(level_key, minval=_OTHER_DB[0], maxval=_OTHER_DB[1]) / 20)
  samples = jnp.where(kind == _SPEECH, speech * (gain * loudness / spoken_loudness), samples)
  low, high = scenes.snr_db
  snr = jax.random.uniform(snr_key, minval=low, maxval=high)
  has_background = jax.random.uniform(none_key) >= NO_BACKGROUND
  reference = jnp.where(kind == _SOUND, SPEECH_LEVEL, loudness)
  noise_level = jnp.where(has_background, reference * 10 ** (-snr / 20), 0)
  samples = samples + background * (noise_level / BACKGROUND_LEVEL)
  out = jax.random.randint(out_key, (), 0, _hops(scenes.lead_out_s) + 1)
  steps = (start + NUM_SAMPLES) // HOP + out + 1 - 2 * CONTEXT
  label = jnp.where(is_negative, scenes.unknown, label).astype(jnp.int32)
  return jnp.clip(samples, -1, 1), label, steps.astype(jnp.int32)


def _make_front(key: Key, before: Array, scenes: Scenes) -> tuple[Array, Array]:
  """Makes what is heard before a clip: samples `[L]`, and the sample at which the clip begins."""
  length, longest = scenes.num_samples, _hops(scenes.lead_in_s) * HOP
  if not longest:
    return jnp.zeros(length), jnp.int32(0)
  tail_key, no_tail_key, gap_key, no_gap_key = jax.random.split(key, 4)
  low, high = (round(s * SAMPLE_RATE) for s in _TAIL_S)
  after = round(_AFTER_S * SAMPLE_RATE)
  _, _, end = _measure(before)
  tail = jax.random.randint(tail_key, (), low, high + 1) + after
  tail = jnp.where(jax.random.uniform(no_tail_key) < NO_TAIL, 0, tail)
  # The square: short gaps are more frequent, as between words that follow one another.
  share = jax.random.uniform(gap_key) ** 2
  gap = (share * (longest - tail).astype(jnp.float32)).astype(jnp.int32)
  gap = jnp.where(jax.random.uniform(no_gap_key) < NO_GAP, 0, gap)
  # The word of the clip before ends at `end`; the tail reaches `after` samples further.
  heard = _place(before, tail - after - end, length)
  return jnp.where(jnp.arange(length, dtype=jnp.int32) < tail, heard, 0), tail + gap


def _splice(clip: Array, other: Array) -> Array:
  """Goes from one word `[16000]` to another in the middle of each, so that neither is whole."""
  (_, start, end), (_, other_start, other_end) = _measure(clip), _measure(other)
  cut, other_cut = (start + end) // 2, (other_start + other_end) // 2
  is_first = jnp.arange(NUM_SAMPLES, dtype=jnp.int32) < cut
  return jnp.where(is_first, clip, _place(other, cut - other_cut, NUM_SAMPLES))


def _place(clip: Array, start: Array, length: int) -> Array:
  """Puts samples `[16000]` at a start in -16000..length of `[length]` zeros; the rest is cut."""
  padded = jnp.pad(clip, (length, length + NUM_SAMPLES))
  return jax.lax.dynamic_slice(padded, (length - start,), (length,))


def _measure(samples: Array) -> tuple[Array, Array, Array]:
  """Does what `find_word` does, on the device: loudness of speech `[n]`, its start and its end."""
  frames = jnp.reshape(samples[: len(samples) // HOP * HOP], (-1, HOP))
  power = jnp.mean(frames**2, axis=1)
  loud = power > LOUD**2 * jnp.max(power)
  first, last = jnp.argmax(loud).astype(jnp.int32), len(loud) - 1 - jnp.argmax(loud[::-1])
  mean = jnp.sum(jnp.where(loud, power, 0)) / jnp.maximum(jnp.sum(loud.astype(jnp.float32)), 1)
  return jnp.sqrt(jnp.maximum(mean, 1e-12)), first * HOP, (last + 1).astype(jnp.int32) * HOP


def load_clips(audio: Callable[[str, int], np.ndarray], number: int, progress: bool) -> np.ndarray:
  """Reads the training recordings of a data set: `[number, 16000]` int16.

  Args:
    audio: of `Speech`.
    number: of training records.
    progress: whether to show a progress bar.
  """
  clips = np.zeros((number, NUM_SAMPLES), np.int16)

  def read(k: int) -> None:
    clips[k] = to_int16(audio("train", k))

  with concurrent.futures.ThreadPoolExecutor() as pool:
    done = pool.map(read, range(number))
    for _ in tqdm.tqdm(
      done, total=number, desc="reading samples", unit="clip", disable=not progress
    ):
      pass
  return clips

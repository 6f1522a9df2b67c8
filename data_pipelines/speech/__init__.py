"""Spoken words as log-mel frames (section 3.4, appendix A.4).

`load` opens a data set and decodes its recordings into a cache on disk. On the device, `augment`
changes the stored frames of a training batch and `prepare` turns them into steps. `Scenes` are
training sequences that do not begin with their word, in background sound.
"""

from data_pipelines.speech.augmentation import Augmentation, augment
from data_pipelines.speech.background import open_background
from data_pipelines.speech.features import (
  HOP,
  NUM_BANDS,
  NUM_FRAMES,
  NUM_SAMPLES,
  NUM_STEPS,
  SAMPLE_RATE,
  STEP_SIZE,
  context,
  heard_ms,
  log_mel,
  standardise,
)
from data_pipelines.speech.notes import Notes
from data_pipelines.speech.other_speech import open_other_speech
from data_pipelines.speech.pipeline import (
  CLIP_AT,
  DATASETS,
  KEYWORDS,
  UNKNOWN,
  Speech,
  Statistics,
  load,
  prepare,
  prepare_whole,
)
from data_pipelines.speech.scenes import (
  Scenes,
  Sounds,
  compose,
  cut_excerpts,
  draw_excerpts,
  load_clips,
)
from data_pipelines.speech.split_rules import SPEAKER_PATTERN

__all__ = [
  "CLIP_AT",
  "DATASETS",
  "HOP",
  "KEYWORDS",
  "NUM_BANDS",
  "NUM_FRAMES",
  "NUM_SAMPLES",
  "NUM_STEPS",
  "SAMPLE_RATE",
  "SPEAKER_PATTERN",
  "STEP_SIZE",
  "UNKNOWN",
  "Augmentation",
  "Notes",
  "Scenes",
  "Sounds",
  "Speech",
  "Statistics",
  "augment",
  "compose",
  "context",
  "cut_excerpts",
  "draw_excerpts",
  "heard_ms",
  "load",
  "load_clips",
  "log_mel",
  "open_background",
  "open_other_speech",
  "prepare",
  "prepare_whole",
  "standardise",
]

"""Spoken words as log-mel frames (section 3.4, appendix A.4).

`load` opens a data set and decodes its recordings into a cache on disk. On the device, `augment`
changes the stored frames of a training batch and `prepare` turns them into steps.
"""

from data_pipelines.speech.augmentation import Augmentation, augment
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
from data_pipelines.speech.pipeline import (
  DATASETS,
  KEYWORDS,
  UNKNOWN,
  Notes,
  Speech,
  Statistics,
  load,
  prepare,
  prepare_whole,
)
from data_pipelines.speech.split_rules import SPEAKER_PATTERN

__all__ = [
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
  "Speech",
  "Statistics",
  "augment",
  "context",
  "heard_ms",
  "load",
  "log_mel",
  "prepare",
  "prepare_whole",
  "standardise",
]

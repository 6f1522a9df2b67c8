"""Events against the words of a recording: recall, wrong words, false alarms an hour, delays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from deploy.labels import Word

AFTER_S = 0.5  # seconds after the end of a word in which it still may be said
CONFIDENCE = 0.95  # of the upper bound on false alarms


class Score(NamedTuple):
  """How events and words agree.

  Attributes:
    words: number of keywords in the recording.
    recall: share of them that were said, right; NaN where there are none.
    wrong: share of them for which only another word was said; NaN where there are none.
    repeated: share of the recalled ones that were said more than once; NaN where there are none.
    false_alarms: events that lie at no keyword.
    per_hour: the same, an hour.
    per_hour_bound: upper bound on their rate an hour, with 95 % confidence.
    delay_start_s: median seconds from the start of a word to its event; NaN where nothing is said.
    delay_end_s: the same from its end; below 0 if the event comes before the word's end.
  """

  words: int
  recall: float
  wrong: float
  repeated: float
  false_alarms: int
  per_hour: float
  per_hour_bound: float
  delay_start_s: float
  delay_end_s: float

  def to_json(self) -> dict[str, float | None]:
    """Returns the fields by name, those without a value as None: JSON has no NaN."""
    return {k: None if np.isnan(v) else v for k, v in self._asdict().items()}


def score(
  events: Sequence[tuple[float, str]],
  words: Sequence[Word],
  keywords: Sequence[str],
  hours: float,
) -> Score:
  """Compares events with the words of a recording.

  An event belongs to a keyword if it comes between the word's start and `AFTER_S` after its end.
  Where it may belong to two, it is the one of its own name, or else the later one.

  Args:
    events: seconds and word of each.
    words: of the recording; only those of `keywords` are to be said.
    keywords: that may be said.
    hours: length of the recording, > 0.

  Returns:
    Score; shares and delays are NaN where nothing is to be said.
  """
  wanted = sorted(word for word in words if word.word in set(keywords))
  first: dict[int, float] = {}
  hits, wrong, false_alarms = np.zeros(len(wanted), int), set(), 0
  starts = np.array([word.start for word in wanted])
  ends = np.array([word.end for word in wanted])
  for seconds, name in events:
    near = np.flatnonzero((starts <= seconds) & (seconds <= ends + AFTER_S))
    same = [int(k) for k in near if wanted[k].word == name]
    if same:
      hits[same[-1]] += 1
      first.setdefault(same[-1], seconds)
    elif near.size:
      wrong.add(int(near[-1]))
    else:
      false_alarms += 1
  said = np.array(sorted(first), int)
  times = np.array([first[k] for k in said])
  share = lambda count, total: count / total if total else float("nan")
  median = lambda values: float(np.median(values)) if len(values) else float("nan")
  return Score(
    words=len(wanted),
    recall=share(len(said), len(wanted)),
    wrong=share(len(wrong - set(first)), len(wanted)),
    repeated=share(int(np.sum(hits[said] > 1)), len(said)),
    false_alarms=false_alarms,
    per_hour=false_alarms / hours,
    per_hour_bound=bound_rate(false_alarms, hours),
    delay_start_s=median(times - starts[said]),
    delay_end_s=median(times - ends[said]),
  )


def bound_rate(count: int, hours: float, confidence: float = CONFIDENCE) -> float:
  """Upper confidence bound on the rate an hour of a Poisson process.

  Args:
    count: events that were seen.
    hours: for how long, > 0.
    confidence: of the bound.
  """
  from scipy.stats import chi2

  return float(chi2.ppf(confidence, 2 * (count + 1)) / (2 * hours))

"""The 2-sequence problem (section 3.2): its sequences, and bounds for every classifier.

`sample` draws sequences. `ideal_observer` gives the posterior of the label after each step, and
`optimum` the best accuracy that any stopping rule reaches at a given mean number of steps.
"""

from data_pipelines.two_sequence.ideal import accuracy_after, ideal_observer, posterior
from data_pipelines.two_sequence.sequences import (
  CLASS_NAMES,
  MEAN,
  NUM_STEPS,
  SIGMA_RANGE,
  sample,
)
from data_pipelines.two_sequence.stopping import Optimum, optimum

__all__ = [
  "CLASS_NAMES",
  "MEAN",
  "NUM_STEPS",
  "SIGMA_RANGE",
  "Optimum",
  "accuracy_after",
  "ideal_observer",
  "optimum",
  "posterior",
  "sample",
]

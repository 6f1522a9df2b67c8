"""Objectives that need more than one step of a row: the rivals of rank coding, as values.

Each is a page of code with its paper and equation, run by the same update:
`make_train(classifier, optimizer, objective=rc_jax.objectives.stop_head(alpha=0.5))`. Beside "rc"
and "eos" there are

- `every_step`, `early_prediction` (EMI-RNN), `progression`: a loss at every step;
- `max_pooling`: a loss at the keyword's most confident step;
- `cumulative` (ED-sKWS): a loss of the mean of the outputs so far;
- `patience`: the loss of "eos", read where the same class was sure several times in a row;
- `stop_head` (ELECTS): one more output that says when to stop;
- `sprt` (SPRT-TANDEM): log-likelihood ratios;
- `until_spike`: a loss of every step that ends at the row's first spike, with all computation.
"""

from rc_jax.objectives.cumulative import cumulative
from rc_jax.objectives.every_step import early_prediction, every_step, progression
from rc_jax.objectives.max_pooling import max_pooling
from rc_jax.objectives.objective import Act, Objective, with_act
from rc_jax.objectives.patience import patience
from rc_jax.objectives.sprt import sprt
from rc_jax.objectives.stop_head import stop_head
from rc_jax.objectives.until_spike import until_spike

__all__ = [
  "Act",
  "Objective",
  "cumulative",
  "early_prediction",
  "every_step",
  "max_pooling",
  "patience",
  "progression",
  "sprt",
  "stop_head",
  "until_spike",
  "with_act",
]

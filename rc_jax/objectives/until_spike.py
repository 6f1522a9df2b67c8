"""Losses of many steps that end at the first spike, so that all later steps can be left out."""

from rc_jax.objectives.objective import Objective


def until_spike(objective: Objective) -> Objective:
  """The same loss over the steps up to a row's first spike alone.

  For a row of n steps whose first spike comes at step t_sp, or at n where there is none,

      loss = loss of the objective over the steps 1..t_sp

  It lies between rank coding, whose loss is that of step t_sp alone (Jeffares et al. 2021, section
  2), and a loss of all n steps. As long as no output reaches theta it is that of all steps, so the
  network learns from early steps at once; from then on what comes after a spike is neither computed
  nor learnt, as in rank coding. It is our own: we know of no paper that has it. docs/rivals.md
  tells what it gains.

  Args:
    objective: whose decisions read the outputs as they are: `every_step`, `early_prediction`,
      `progression`, `max_pooling` or one of your own. `make_train` refuses others.

  Raises:
    ValueError: it is no `Objective`.
  """
  if not isinstance(objective, Objective):
    raise ValueError(f"until_spike is given {objective!r}; give an Objective, as every_step()")
  return objective._replace(until_spike=True)

"""The runs of section 3.1 and 3.2, spotting and the 2-sequence problem."""

from experiments.reproduce.measures import AT_END, AT_SPIKE, STEP, after_steps, ideal_after, own
from experiments.reproduce.records import EOS, FEW, POINTS, STEPS, Row, Run

SMOKE = (FEW, "--units=16", "--num_examples=1600", "--num_test=1000")

RUNS = {
  "spotting": Run(
    "spotting",
    "spotting",
    "spotting",
    rows=(
      Row("at the first spike", AT_SPIKE, "100 %", "100 %"),
      Row(
        "positive spikes at the earliest step",
        "positive_spikes_at_earliest_step",
        "almost all",
        "100 %",
      ),
      Row(
        "mean step, positives",
        "positive_mean_spike_step",
        ceiling=own("ideal_positive_mean_spike_step"),
        form=STEPS,
      ),
      Row(
        "mean step, negatives",
        "negative_mean_spike_step",
        "before the last",
        own("ideal_negative_mean_spike_step"),
        STEPS,
      ),
    ),
    smoke=SMOKE,
  ),
  "spotting-eos": Run(
    "spotting",
    "spotting",
    "spotting, eos",
    (EOS, "--choose=last"),
    rows=(
      Row("at the first spike", AT_SPIKE),
      Row("positives whose first spike is negative", "positives_with_negative_first_spike", "all"),
      Row("negative spikes ignored", "positive_only_accuracy", "better"),
      Row("then, steps later than the earliest", "positive_only_delay", "1", form=STEPS),
      Row("at the end", AT_END, ceiling="100 %"),
    ),
    smoke=SMOKE,
  ),
  "two_sequence": Run(
    "two_sequence",
    "two_sequence",
    "2-sequence",
    rows=(
      Row("at the first spike", AT_SPIKE, "95.45 %", own("ideal_accuracy")),
      Row("mean step", STEP, "14", form=STEPS),
      Row("regret to the ideal observer at that step", "regret", ceiling="0", form=POINTS),
    ),
    smoke=SMOKE,
  ),
  "two_sequence-eos": Run(
    "two_sequence",
    "two_sequence",
    "2-sequence, eos",
    (EOS,),
    rows=(
      Row("at the first spike", AT_SPIKE, "96.32 %", own("ideal_accuracy")),
      Row("mean step", STEP, "23", form=STEPS),
      Row("everyone read after 14 steps", after_steps(14), "89 %", ideal_after(14)),
      Row("everyone read after 15 steps", after_steps(15), "", ideal_after(15)),
      Row("at the end", AT_END, "96.84 %", ideal_after(40)),
    ),
    smoke=SMOKE,
  ),
}

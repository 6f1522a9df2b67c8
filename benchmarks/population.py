"""What does a member of a population cost, against one training after the other?

  python -m benchmarks.population [--members=4] [--repeats=40] [--json]

An update of N networks in one program, as `experiments.population` makes it (`jax.lax.map` of early
exit, `jax.vmap` of the full scan), against N updates of one network; time by member. The two ways
take turns in one process. Networks and batches are those of the generated tasks (LSTM-125,
B = 128), spike times what theta makes of random weights: `computed` says which share of the
row-steps that is.
"""

import argparse
import json
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.timing import alternate
from data_pipelines import spotting, two_sequence
from experiments.harness.tables import format_head, format_row
from rc_jax import lstm, make_train

TASKS = {"spotting": spotting.sample, "two_sequence": two_sequence.sample}
ENGINES = ("early_exit", "full")
THETAS = (0.95, 0.52)  # nearly all steps; few


def measure(task: str, engine: Any, theta: float, members: int, repeats: int) -> dict[str, Any]:
  """Milliseconds a member, together and alone, and the share of the row-steps computed."""
  train = make_train(lstm(125, 2), optax.adam(3e-4), theta=theta, engine=engine)
  keys = jax.random.split(jax.random.key(0), members)
  batches = jax.vmap(lambda key: TASKS[task](key, 128))(keys)
  example = batches.inputs[0, 0, 0]
  states = jax.vmap(train.init, (0, None))(keys, example)
  one = [jax.tree.map(lambda a, k=k: a[k], (states, batches)) for k in range(members)]
  one_by_one = lambda *stacked: jax.lax.map(lambda own: train.update(*own), stacked)
  alone = jax.jit(train.update)
  together = jax.jit(jax.vmap(train.update) if engine == "full" else one_by_one)
  times = alternate(
    {
      "together": lambda: together(states, batches),
      "alone": lambda: [alone(*arguments) for arguments in one],
    },
    repeats,
  )
  computed = float(jnp.mean(together(states, batches)[1].computed_fraction))
  by_member = {f"{way}_ms": ms / members for way, ms in times.items()}
  ratio = times["together"] / times["alone"]
  return {"task": task, "engine": engine, "computed": computed, **by_member, "ratio": ratio}


def main() -> None:
  """Prints the table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--members", type=int, default=4)
  parser.add_argument("--repeats", type=int, default=40)
  parser.add_argument("--json", action="store_true")
  given = parser.parse_args()
  if not given.json:
    print(
      format_head(("task", "engine", "computed", "together, ms a member", "alone, ms", "ratio"))
    )
  for task in TASKS:
    for theta in THETAS:
      for engine in ENGINES:
        row = measure(task, engine, theta, given.members, given.repeats)
        if given.json:
          print(json.dumps(row), flush=True)
        else:
          numbers = (row["together_ms"], row["alone_ms"], row["ratio"])
          cells = (task, engine, f"{row['computed']:.0%}", *(f"{n:.2f}" for n in numbers))
          print(format_row(cells), flush=True)


if __name__ == "__main__":
  main()

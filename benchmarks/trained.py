"""What early exit saves in a trained network: an update, and reading the test split.

    python -m benchmarks.trained --workdir=runs/temporal_mnist [--repeats=20] [--batch=512]

Goes on from the last checkpoint of a run of `python -m experiments.*`, on its own data: updates on
batch after batch by the masked full scan and by early exit, each of which trains a copy on, beside
updates of the paper's LSTM in Flax and PyTorch, through all steps of one batch at hand; then
evaluation by the full scan (`eos=True`) and by refilling (`eos=False`). Contenders take turns of
some updates each, as within an epoch: what one leaves in the caches is its own.
"""

import argparse
import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rivals import rivals
from benchmarks.shapes import PAPER
from benchmarks.timing import alternate
from experiments.harness.checkpoints import Checkpoints
from experiments.harness.flags import read_defaults
from experiments.harness.settings import Settings, make_settings
from experiments.harness.task import Task
from experiments.harness.updates import make_initial_state, make_update, set_dtype
from experiments.registry import load_binary
from rc_jax import TrainState, evaluate

TURN = 10  # updates of one contender before the next


def load(
  workdir: pathlib.Path, batch: int | None, widths: int | None
) -> tuple[Task, Settings, TrainState]:
  """Rebuilds the task, settings and latest state of a run from its files.

  Args:
    workdir: of the run.
    batch: examples an update; None for the run's own.
    widths: of early exit; None for what a training of this length has by default.

  Raises:
    OSError: the folder has no config.json.
    ValueError: it holds no checkpoint.
  """
  config = json.loads((workdir / "config.json").read_text())
  binary = load_binary(config["experiment"])
  defaults = read_defaults(binary.EXPERIMENT)  # of flags that are younger than the run
  changes = {"progress": False, "widths": widths} | ({} if batch is None else {"batch_size": batch})
  settings = make_settings(binary.EXPERIMENT, defaults | config["flags"] | changes, defaults)
  task = set_dtype(binary.setup(settings), settings)
  snapshot = Checkpoints(workdir / "checkpoints").restore(make_initial_state(task, settings))
  if snapshot is None:
    raise ValueError(f"{workdir} holds no checkpoint; train first")
  return task, settings, snapshot.state


def measure(
  workdir: pathlib.Path, repeats: int, batch: int | None = None, widths: int | None = None
) -> dict[str, float]:
  """Median milliseconds, and what they depend on; `batch` and `widths` as of `load`."""
  task, settings, state = load(workdir, batch, widths)
  means: dict[str, list[Any]] = {"full": [], "early_exit": []}
  calls: dict[str, Callable[[], Any]] = {}
  for engine in means:
    update = jax.jit(make_update(task, settings.replace(engine=engine)), donate_argnums=0)
    items = iter(task.items)
    copy = [jax.tree.map(jnp.copy, state)]

    def call(update=update, items=items, seen=means[engine], own=copy) -> Any:
      own[0], metrics = update(own[0], task.data, next(items))
      seen.append(metrics)
      return own[0]

    calls[f"update_{engine}_ms"] = call
  batches = list(task.test.batches())
  if settings.model == "lstm" and task.name in PAPER:
    index = np.arange(settings.batch_size) % len(batches[0].labels)
    xs, labels = (np.asarray(a)[index] for a in (batches[0].inputs, batches[0].labels))
    others = rivals(PAPER[task.name], xs, labels, update=True)
    calls |= {f"update_{name}_ms": other for name, other in others.items()}
  times = alternate(calls, repeats, TURN)
  fastest = min(ms for name, ms in times.items() if name != "update_early_exit_ms")
  early = jax.device_get(means["early_exit"])

  read = functools.partial(evaluate, task.classifier, state.params, theta=settings.theta)
  readers = {
    "full": lambda: read(batches).step,
    "refilled": lambda: read(batches, eos=False).step,
  }
  differ = int(np.sum(readers["full"]() != readers["refilled"]()))  # a confidence of just theta
  times |= {f"evaluation_{k}_ms": v for k, v in alternate(readers, max(repeats // 4, 3)).items()}
  steps = batches[0].inputs.shape[1]
  return times | {
    "steps_that_differ": differ,
    "f_training": float(np.mean([m.mean_spike_step for m in early])) / steps,
    "computed_training": float(np.mean([m.computed_fraction for m in early])),
    "f_test": float(np.mean(read(batches).step + 1)) / steps,
    "update_ratio": times["update_early_exit_ms"] / times["update_full_ms"],
    "update_to_fastest": times["update_early_exit_ms"] / fastest,
    "evaluation_ratio": times["evaluation_refilled_ms"] / times["evaluation_full_ms"],
  }


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("--workdir", type=pathlib.Path, required=True, help="of a finished run")
  parser.add_argument("--repeats", type=int, default=20)
  parser.add_argument("--batch", type=int, help="examples an update; default: the run's own")
  parser.add_argument("--widths", type=int, help="default: what a training of its length has")
  parser.add_argument("--json", action="store_true")
  flags = parser.parse_args()
  try:
    result = measure(flags.workdir, flags.repeats, flags.batch, flags.widths)
  except (OSError, ValueError) as error:
    parser.error(str(error))
  if flags.json:
    print(json.dumps({"device": jax.devices()[0].device_kind} | result))
    return
  for name, value in result.items():
    print(f"{name:<26}{value:>10.3f}")


if __name__ == "__main__":
  main()

"""What does the full scan gain where `encode` is computed within each step, and not apart?

    python -m benchmarks.encode_place --shapes=spotting,speech --batch=8,128 --repeats=6

Both are compiled in one process and take turns, a gradient step and a pass without a gradient: the
median over the rounds of the time within the steps over that apart. The rule that chooses between
them is `rc_jax.engine.place_encode`; what was measured stands in
docs/decisions/004-gradient-of-encode.md.
"""

import argparse
import functools
import importlib
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.shapes import SHAPES, Shape, make_loss
from benchmarks.timing import median_ratio, take_turns

# The package has a function of the module's name.
rule: Any = importlib.import_module("rc_jax.engine.place_encode")
PLACES = {"apart": 0.0, "within": math.inf}  # least weights of an `encode` that stands apart


def measure(shape: Shape, rows: int, repeats: int) -> dict[str, float]:
  """Ratios of a gradient step and of a pass without one.

  Args:
    shape: of the network.
    rows: B.
    repeats: rounds.
  """
  rng = np.random.default_rng(0)
  xs = 0.1 * rng.standard_normal((rows, shape.steps, *shape.features), np.float32)
  labels = rng.integers(0, shape.classes, rows).astype(np.int32)
  arguments = shape.params(), jnp.asarray(xs), jnp.asarray(labels)
  calls = {}
  for place, least in PLACES.items():
    rule.LEAST_WEIGHTS = least
    loss = make_loss(shape.classifier(), "full")
    passes = {"gradient": jax.value_and_grad(loss, has_aux=True), "forward": loss}
    for name, run in passes.items():
      compiled = jax.jit(run).lower(*arguments).compile()
      calls[f"{name} {place}"] = functools.partial(compiled, *arguments)
  times = take_turns(calls, repeats)
  return {n: median_ratio(times, f"{n} within", f"{n} apart") for n in ("gradient", "forward")}


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  shapes = "spotting,two_sequence,temporal_mnist,speech"
  parser.add_argument("--shapes", default=shapes, help="of " + ", ".join(SHAPES))
  parser.add_argument("--batch", default="8,32,128,512", help="numbers of rows")
  parser.add_argument("--repeats", type=int, default=6)
  given = parser.parse_args()
  names = given.shapes.split(",")
  if unknown := set(names) - set(SHAPES):
    parser.error(f"unknown shape {sorted(unknown)}; choose of {', '.join(SHAPES)}")
  for name in names:
    for rows in map(int, given.batch.split(",")):
      ratios = measure(SHAPES[name], rows, given.repeats)
      said = "".join(f"{key:>10} {ratio:.2f}" for key, ratio in ratios.items())
      print(f"{name:<15}{rows:>5}{said}", flush=True)


if __name__ == "__main__":
  main()

"""Where every step is needed (eos, and f = 1): a gradient step against PyTorch and Flax.

    python -m benchmarks.dense --shapes=spotting,speech --batch=128 --repeats=20

Ours is `--objective=eos` by both engines; `early_exit` skips nothing here, but keeps less. All take
the loss at the last step, on the same data, in float32 (ours in `--dtype`). Contenders alternate in
one process, each once untimed and once timed; a time is the median of the repeats.
"""

import argparse
import functools
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rivals import rivals
from benchmarks.shapes import PAPER, SHAPES, Shape, make_loss
from benchmarks.timing import alternate
from rc_jax import Engine, with_dtype


def measure(shape: Shape, rows: int, repeats: int, dtype: str) -> dict[str, float]:
  """Median milliseconds of each contender."""
  rng = np.random.default_rng(0)
  xs = 0.1 * rng.standard_normal((rows, shape.steps, *shape.features), np.float32)
  labels = rng.integers(0, shape.classes, rows).astype(np.int32)
  classifier, params = with_dtype(shape.classifier(), dtype), shape.params()
  arguments = params, jnp.asarray(xs), jnp.asarray(labels)
  calls: dict[str, Any] = {}
  engines: dict[str, Engine] = {"full": "full", "early_exit": "early_exit"}
  for name, engine in engines.items():
    gradient = jax.value_and_grad(make_loss(classifier, engine, "eos"), has_aux=True)
    calls[name] = functools.partial(jax.jit(gradient).lower(*arguments).compile(), *arguments)
  return alternate(calls | rivals(shape, xs, labels), repeats)


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("--shapes", default=",".join(PAPER), help="of " + ", ".join(SHAPES))
  parser.add_argument("--batch", default="128", help="numbers of rows")
  parser.add_argument("--repeats", type=int, default=20)
  parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32", help="of ours")
  parser.add_argument("--json", action="store_true", help="one JSON object a line, no table")
  flags = parser.parse_args()
  names = flags.shapes.split(",")
  if unknown := set(names) - set(SHAPES):
    parser.error(f"unknown shape {sorted(unknown)}; choose of {', '.join(SHAPES)}")
  for name in names:
    for rows in map(int, flags.batch.split(",")):
      times = measure(SHAPES[name], rows, flags.repeats, flags.dtype)
      if flags.json:
        device = jax.devices()[0].device_kind
        print(json.dumps({"shape": name, "batch": rows, "device": device} | times), flush=True)
        continue
      columns = "".join(f"{n:>12}{ms:>9.1f} ms" for n, ms in times.items())
      print(f"{name:<15}{rows:>5}{columns}", flush=True)


if __name__ == "__main__":
  main()

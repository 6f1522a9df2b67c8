"""Where every step is needed (eos, and f = 1): a gradient step against PyTorch and Flax.

    python -m benchmarks.dense --shapes=spotting,speech --batch=128 --repeats=20

Ours is the full scan that `--objective=eos` trains with, and early exit when no row ever spikes.
All take the loss at the last step, float32, on the same data. Contenders alternate in one process;
a time is the median of the repeats after one warm-up.
"""

import argparse
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rivals import rivals
from benchmarks.shapes import PAPER, SHAPES, Shape, start
from benchmarks.timing import alternate
from rc_jax import Batch, rc_loss, with_dtype
from rc_jax.train import unroll_rows
from rc_jax.unroll import unroll_to_spike

NEVER = 0.999999  # the threshold of rows that never spike


def measure(shape: Shape, rows: int, repeats: int, dtype: str) -> dict[str, float]:
  """Median milliseconds of each contender."""
  rng = np.random.default_rng(0)
  xs = 0.1 * rng.standard_normal((rows, shape.steps, *shape.features), np.float32)
  labels = rng.integers(0, shape.classes, rows).astype(np.int32)
  params, carry = start(shape, rows)
  classifier = shape.classifier()
  if dtype != "float32":
    classifier = with_dtype(classifier, dtype)
    carry = jax.tree.map(lambda a: a.astype(dtype), carry)

  def full(params, xs, labels):
    batch = Batch(xs, labels, jnp.full(rows, shape.steps, jnp.int32))
    return jnp.mean(rc_loss(unroll_rows(classifier, params, batch)[:, -1], labels))

  def early_exit(params, xs, labels):
    code = unroll_to_spike(
      classifier.step, params, carry, xs, NEVER, encode=classifier.encode, engine="early_exit"
    )
    return jnp.mean(rc_loss(code.logits, labels))

  arguments = params, jnp.asarray(xs), jnp.asarray(labels)
  calls = {}
  for f in (full, early_exit):
    compiled = jax.jit(jax.value_and_grad(f)).lower(*arguments).compile()
    calls[f.__name__] = functools.partial(compiled, *arguments)
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

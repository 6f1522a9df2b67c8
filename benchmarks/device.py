"""What the engines cost on a GPU: one prepared script for a card that is lent for minutes.

    python -m benchmarks.device --minutes=12 --out=device.jsonl
    python -m benchmarks.device --table=device.jsonl
    python -m benchmarks.device --smoke

Every row is printed and saved as soon as it is measured, what matters most first, so that a cut-off
loses only the tail. No cell begins after the minutes are over; a cell that fails leaves a row that
says why. Times are medians in alternation, inputs are arguments, spikes are forced through an input
channel. `--smoke` runs every section at small sizes, on any device.
"""

import argparse
import functools
import json
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax

import rc_jax
from benchmarks.early_exit import spike_steps
from benchmarks.rivals import rivals
from benchmarks.shapes import PAPER, SHAPES, Shape, forced, make_loss
from benchmarks.timing import alternate
from experiments.harness.tables import format_table
from rc_jax import Batch, Classifier, EarlyExit

Row = dict[str, Any]
SMALL = {"speech": PAPER["speech"]._replace(steps=6, units=8)}


def make_inputs(shape: Shape, rows: int, fraction: float) -> tuple[jax.Array, jax.Array, float]:
  """Random inputs with a channel that forces the spikes, labels, and f."""
  rng = np.random.default_rng(0)
  spikes = spike_steps(rng, rows, shape.steps, fraction)
  channels = (*shape.features[:-1], shape.features[-1] + 1)
  xs = 0.1 * rng.standard_normal((rows, shape.steps, *channels), np.float32)
  xs[..., -1] = 0.0
  xs.reshape(rows, shape.steps, -1)[..., -1] = 30.0 * (np.arange(shape.steps) == spikes[:, None])
  labels = jnp.asarray(rng.integers(0, shape.classes, rows), jnp.int32)
  return jnp.asarray(xs), labels, float(np.mean(spikes + 1) / shape.steps)


def join_decode(classifier: Classifier) -> Classifier:
  """The classifier whose step gives logits, as if it had no `decode`."""

  def step(params: Any, carry: Any, encoded: Any) -> Any:
    carry, output = classifier.step(params, carry, encoded)
    return carry, classifier.decode(params, output)

  return Classifier(classifier.init, classifier.initial_carry, step, classifier.encode)


def make_gradient(classifier: Classifier, engine: Any) -> Callable:
  """Jitted `(params, xs, labels) -> ((mean loss at the spikes, Metrics), gradient)`."""
  return jax.jit(jax.value_and_grad(make_loss(classifier, engine), has_aux=True))


def make_unrolled(classifier: Classifier, rows: int, unroll: int) -> Callable:
  """The same by a full scan that takes several steps an iteration."""

  def loss(params: Any, xs: Any, labels: jax.Array) -> Any:
    spread = lambda a: jnp.broadcast_to(a, (rows, *jnp.shape(a)))
    carry = jax.tree.map(spread, classifier.initial_carry(params))
    encoded = jax.vmap(jax.vmap(classifier.encode, (None, 0)), (None, 0))(params, xs)
    in_time = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), encoded)
    step = jax.vmap(classifier.step, (None, 0, 0))
    outputs = jax.lax.scan(lambda c, e: step(params, c, e), carry, in_time, unroll=unroll)[1]
    decode = jax.vmap(classifier.decode, (None, 0))
    logits = jax.vmap(decode, (None, 0))(*jax.lax.stop_gradient((params, outputs)))
    code = rc_jax.rank_code(jnp.moveaxis(logits, 0, 1), 0.95)
    at_spike = jax.tree.map(lambda a: a[code.step, jnp.arange(rows)], outputs)
    return jnp.mean(rc_jax.rc_loss(decode(params, at_spike), labels)), code

  return jax.jit(jax.value_and_grad(loss, has_aux=True))


def check_engines(shapes: dict[str, Shape], rows: int) -> Iterator[tuple[str, Callable[[], Row]]]:
  """Largest differences of both engines' losses and gradients, over the largest entry."""

  def compare(shape: Shape) -> Row:
    classifier, params = forced(shape.classifier()), shape.params()
    xs, labels, f = make_inputs(shape, rows, 0.4)
    with jax.default_matmul_precision("float32"):
      ways = [make_gradient(classifier, e) for e in ("full", "early_exit")]
      (loss, metrics), gradient = ways[0](params, xs, labels)
      (other_loss, other_metrics), other = ways[1](params, xs, labels)
    pairs = list(zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True))
    largest = max(float(jnp.abs(a).max()) for a, _ in pairs)
    return {
      "f": f,
      "same_mean_step": bool(metrics.mean_spike_step == other_metrics.mean_spike_step),
      "loss_difference": abs(float(loss - other_loss)) / float(loss),
      "gradient_difference": max(float(jnp.abs(a - b).max()) for a, b in pairs) / largest,
    }

  for name, shape in shapes.items():
    yield name, functools.partial(compare, shape)


def time_full_scan(
  shapes: dict[str, Shape], rows: int, repeats: int
) -> Iterator[tuple[str, Callable[[], Row]]]:
  """The full scan's gradient with `decode` apart or in the step, and several steps an iteration."""

  def measure(shape: Shape) -> Row:
    classifier, params = forced(shape.classifier()), shape.params()
    xs, labels, _ = make_inputs(shape, rows, 1.0)
    ways = {
      "full": make_gradient(classifier, "full"),
      "full_decode_in_step": make_gradient(join_decode(classifier), "full"),
    }
    ways |= {f"unroll_{n}": make_unrolled(classifier, rows, n) for n in (1, 2, 4, 8)}
    return alternate(
      {n: functools.partial(f, params, xs, labels) for n, f in ways.items()}, repeats
    )

  for name, shape in shapes.items():
    yield name, functools.partial(measure, shape)


def time_rivals(
  shapes: dict[str, Shape], rows: int, repeats: int
) -> Iterator[tuple[str, Callable[[], Row]]]:
  """Ours by the full scan, read at the end, against Flax and PyTorch (cuDNN on a GPU)."""

  def measure(shape: Shape) -> Row:
    rng = np.random.default_rng(0)
    xs = 0.1 * rng.standard_normal((rows, shape.steps, *shape.features), np.float32)
    labels = rng.integers(0, shape.classes, rows).astype(np.int32)
    classifier, params = shape.classifier(), shape.params()
    full = make_gradient(classifier, "full")
    ours = functools.partial(full, params, jnp.asarray(xs), jnp.asarray(labels))
    return alternate({"full": ours} | rivals(shape, xs, labels), repeats)

  for name, shape in shapes.items():
    yield name, functools.partial(measure, shape)


def time_early_exit(
  shapes: dict[str, Shape], rows: int, repeats: int, fractions: tuple[float, ...]
) -> Iterator[tuple[str, Callable[[], Row]]]:
  """Gradients by early exit of 1, 2, 4 and 8 widths and by the full scan, a row for each f."""

  @functools.cache
  def build(name: str) -> dict[str, Callable]:
    classifier = forced(shapes[name].classifier())
    engines = {"full": "full"} | {f"widths_{n}": EarlyExit(widths=n) for n in (1, 2, 4, 8)}
    return {n: make_gradient(classifier, engine) for n, engine in engines.items()}

  def measure(name: str, fraction: float) -> Row:
    params = shapes[name].params()
    xs, labels, f = make_inputs(shapes[name], rows, fraction)
    calls = {n: functools.partial(way, params, xs, labels) for n, way in build(name).items()}
    return {"f": f, "rows": rows} | alternate(calls, repeats)

  for name in shapes:
    for fraction in fractions:
      yield f"{name} f={fraction:g}", functools.partial(measure, name, fraction)


def time_updates(
  shapes: dict[str, Shape], rows: int, repeats: int
) -> Iterator[tuple[str, Callable[[], Row]]]:
  """An update, optimizer included, by both engines, where spikes come at the middle."""

  def measure(shape: Shape) -> Row:
    xs, labels, f = make_inputs(shape, rows, 0.5)
    batch = Batch(xs, labels, jnp.full(rows, shape.steps, jnp.int32))
    classifier, params = forced(shape.classifier()), shape.params()
    calls = {}
    for engine in ("full", "early_exit"):
      train = rc_jax.make_train(classifier, optax.adam(1e-5), engine=engine)
      opt_state = optax.adam(1e-5).init(params)
      state = rc_jax.TrainState(params, opt_state, jnp.int32(0), jax.random.key(0))
      calls[engine] = functools.partial(jax.jit(train.update), state, batch)
    return {"f": f} | alternate(calls, repeats, 10)

  for name, shape in shapes.items():
    yield name, functools.partial(measure, shape)


def list_cells(smoke: bool) -> Iterator[tuple[str, str, Callable[[], Row]]]:
  """Section, name and measurement of every cell, in the order in which they run."""
  shapes = SMALL if smoke else PAPER
  images = {} if smoke else {n: SHAPES[n] for n in ("conv_lstm_10",)}
  big = {"big": SHAPES["big"] if not smoke else SMALL["speech"]}
  rows, repeats = (8, 1) if smoke else (128, 8)
  fractions = (0.5,) if smoke else (0.1, 0.25, 0.5, 1.0)
  sections: dict[str, Iterator[tuple[str, Callable[[], Row]]]] = {
    "equal": check_engines(shapes, rows),
    "full scan": time_full_scan(shapes, rows, repeats),
    "rivals": time_rivals(shapes | images, rows, repeats),
    "early exit": time_early_exit(shapes, rows, repeats, fractions),
    "early exit, large": time_early_exit(big, 8 if smoke else 1024, 1 if smoke else 3, (0.25,)),
    "update": time_updates(shapes, rows, repeats),
    "early exit, images": time_early_exit(images, rows, repeats, (0.14, 0.5)),
  }
  for section, cells in sections.items():
    for name, measure in cells:
      yield section, name, measure


def run(minutes: float, out: pathlib.Path | None, smoke: bool) -> list[Row]:
  """Measures cell after cell until the time is over; prints and saves each row."""
  started, rows = time.monotonic(), []
  device = jax.devices()[0].device_kind
  versions = {"jax_version": jax.__version__, "flax_version": flax.__version__}
  for section, name, measure in list_cells(smoke):
    begun = time.monotonic()
    if begun - started > 60 * minutes:
      print(f"the {minutes:g} minutes are over; not measured: {section}, {name} and what follows")
      break
    try:
      values = measure()
    except Exception as error:  # a cell that fails must not cost those that follow
      values = {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
    row = {"section": section, "name": name, "device": device, **versions, **values}
    row["seconds"] = round(time.monotonic() - begun, 1)
    rows.append(row)
    print(json.dumps(row), flush=True)
    if out is not None:
      with open(out, "a") as file:
        file.write(json.dumps(row) + "\n")
  return rows


def print_tables(path: pathlib.Path) -> None:
  """Prints Markdown tables of the rows of a file, one a section."""
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  hidden = {"section", "device", "jax_version", "flax_version", "seconds", "rows"}
  for section in dict.fromkeys(row["section"] for row in rows):
    of_section = [row for row in rows if row["section"] == section]
    columns = [
      key for key in dict.fromkeys(k for row in of_section for k in row) if key not in hidden
    ]
    cells = [[_format(row.get(column, "")) for column in columns] for row in of_section]
    print(f"\n{section}\n\n{format_table(columns, cells)}")


def _format(value: Any) -> str:
  return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
  """Measures, or prints the tables of what was measured."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
  parser.add_argument("--minutes", type=float, default=12, help="after which no cell begins")
  parser.add_argument("--out", type=pathlib.Path, help="file to which each row is appended")
  parser.add_argument("--smoke", action="store_true", help="small sizes, on any device")
  parser.add_argument("--table", type=pathlib.Path, help="print Markdown tables of such a file")
  given = parser.parse_args()
  if given.table is not None:
    print_tables(given.table)
    return
  run(given.minutes, given.out, given.smoke)


if __name__ == "__main__":
  main()

"""What `benchmarks.device` measures: sections of cells, each a name and a call that gives a row.

What matters most comes first in a section.
"""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import rc_jax
from benchmarks.command_buffers import FLAG, run_apart
from benchmarks.forced_runs import (
  Row,
  check_spikes,
  compare,
  find_f,
  join_decode,
  make_data,
  make_forced,
  make_gradient,
  make_params,
  make_unrolled,
  time_gradients,
)
from benchmarks.rivals import cudnn_step, rivals
from benchmarks.shapes import PAPER, SHAPES, Shape, forced, make_loss
from benchmarks.timing import alternate
from rc_jax import Batch, Classifier, EarlyExit, Engine, Metrics

Cells = Iterator[tuple[str, Callable[[], Row]]]


class Sizes(NamedTuple):
  """How much is measured.

  Attributes:
    shapes: name -> LSTM, the most important first.
    images: of the ConvLSTM whose engines are compared.
    large: an LSTM beyond the paper's.
    rows: B for the shapes.
    large_rows: B for `large`.
    repeats: turns of each contender.
    fractions: f, the most important first.
    unrolls: steps an iteration of the scan.
    widths: numbers of the early exit's loops.
    engine: the early exit of cells that take one alone.
    updates: of a training that is timed.
    evaluated: rows of a data set that is read.
  """

  shapes: dict[str, Shape]
  images: Shape
  large: Shape
  rows: int
  large_rows: int
  repeats: int
  fractions: tuple[float, ...]
  unrolls: tuple[int, ...]
  widths: tuple[int, ...]
  engine: Engine
  updates: int
  evaluated: int


ORDER = ("speech", "temporal_mnist", "spotting", "two_sequence")
ALL = Sizes(
  shapes={name: PAPER[name] for name in ORDER},
  images=SHAPES["conv_lstm_10"],
  large=SHAPES["big"],
  rows=128,
  large_rows=1024,
  repeats=8,
  fractions=(0.25, 0.1, 0.5, 1.0),
  unrolls=(1, 2, 4, 8),
  widths=(1, 2, 4),
  engine="early_exit",
  updates=100,
  evaluated=2000,
)
SMOKE = Sizes(
  shapes={"speech": Shape(8, (6,), 4, 6, (20,))},
  images=Shape(2, (), 4, 3, (5, 5, 1)),
  large=Shape(16, (), 4, 6, (5,)),
  rows=8,
  large_rows=16,
  repeats=1,
  fractions=(0.5,),
  unrolls=(1, 2),
  widths=(1, 2),
  engine=EarlyExit(widths=2),
  updates=3,
  evaluated=20,
)


def check_engines(sizes: Sizes) -> Cells:
  """Both engines' losses and gradients, in full float32: differences over the largest entry."""
  shapes = list(sizes.shapes.values())
  wide, narrow = shapes[0], sizes.shapes.get("spotting", shapes[0]._replace(features=(1,)))
  nets = {
    "LSTM, wide input": (wide, wide.classifier()),
    "LSTM, narrow input": (narrow, narrow.classifier()),
    "GRU": (wide, rc_jax.gru(wide.units, wide.classes)),
    "ConvLSTM": (sizes.images, sizes.images.classifier()),
  }

  def measure(shape: Shape, own: Classifier) -> Row:
    # A small push, so that the forced logit does not hide differences, nor the loss saturate.
    xs, labels, spikes = make_data(shape, sizes.rows, 0.4, 8.0)
    params = jax.jit(own.init)(jax.random.key(0), jnp.zeros(shape.features))
    results = []
    engines: tuple[Engine, ...] = ("full", sizes.engine)
    for engine in engines:
      loss = make_loss(forced(own), engine)
      with jax.default_matmul_precision("float32"):
        gradient = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
        results.append(gradient(params, xs, labels))
    ((loss, metrics), gradient), ((other_loss, other_metrics), other) = results
    check_spikes(metrics, spikes)
    check_spikes(other_metrics, spikes)
    return {
      "f": find_f(shape, spikes),
      "loss_difference": compare(loss, other_loss),
      "gradient_difference": compare(gradient[0], other[0]),
      "input_gradient_difference": compare(gradient[1][..., :-1], other[1][..., :-1]),
    }

  for name, (shape, own) in nets.items():
    yield name, functools.partial(measure, shape, own)


def time_full_scan(sizes: Sizes) -> Cells:
  """The full scan with `decode` apart or found in the step; several steps an iteration."""

  def measure_decode(shape: Shape) -> Row:
    joined = jax.value_and_grad(make_loss(join_decode(make_forced(shape)), "full"), has_aux=True)
    ways: dict[str, Callable] = {"full": make_gradient(shape, "full")}
    ways["decode_in_step"] = jax.jit(joined)
    return time_gradients(ways, shape, sizes.rows, 1.0, sizes.repeats)

  def measure_unroll(shape: Shape) -> Row:
    classifier = make_forced(shape)
    ways: dict[str, Callable] = {"full": make_gradient(shape, "full")}
    ways |= {f"unroll_{n}": make_unrolled(classifier, sizes.rows, n) for n in sizes.unrolls}
    row = time_gradients(ways, shape, sizes.rows, 1.0, sizes.repeats)
    arguments = make_params(shape), *make_data(shape, sizes.rows, 1.0)[:2]
    gradients = [way(*arguments)[1] for way in ways.values()]
    return row | {"difference": max(compare(gradients[0], other) for other in gradients[1:])}

  for measure, what in ((measure_decode, "decode"), (measure_unroll, "unroll")):
    for name, shape in sizes.shapes.items():
      yield f"{name}, {what}", functools.partial(measure, shape)


def time_command_buffers(sizes: Sizes) -> Cells:
  """The full scan in a process of its own, its loop one graph of the GPU, and as it is."""
  first = next(iter(sizes.shapes))
  cells = [(first, True, "full"), (first, False, "full"), (first, True, "early_exit")]
  cells += [(name, True, "full") for name in sizes.shapes if name != first]
  for name, flag, engine in cells:
    cell = functools.partial(run_apart, name, engine, sizes.rows, FLAG if flag else "")
    yield f"{name}, {engine}, {'+WHILE' if flag else 'no flag'}", on_gpu(cell)


def time_rivals(sizes: Sizes) -> Cells:
  """Ours by the full scan, the loss at the last step, against cuDNN, Flax and PyTorch."""

  @functools.cache
  def prepare(shape: Shape) -> tuple[Callable, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    xs = 0.1 * rng.standard_normal((sizes.rows, shape.steps, *shape.features), np.float32)
    labels = rng.integers(0, shape.classes, sizes.rows).astype(np.int32)
    loss = make_loss(shape.classifier(), "full", "eos")
    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    arguments = make_params(shape), jnp.asarray(xs), jnp.asarray(labels)
    return functools.partial(gradient, *arguments), xs, labels

  def measure(shape: Shape) -> Row:
    ours, xs, labels = prepare(shape)
    return alternate({"full": ours} | rivals(shape, xs, labels), sizes.repeats)

  def measure_cudnn(shape: Shape) -> Row:
    ours, xs, labels = prepare(shape)
    return alternate({"full": ours, "cudnn": cudnn_step(shape, xs, labels)}, sizes.repeats)

  for name, shape in sizes.shapes.items():
    yield f"{name}, cuDNN", on_gpu(functools.partial(measure_cudnn, shape))
    yield name, functools.partial(measure, shape)


def on_gpu(measure: Callable[[], Row]) -> Callable[[], Row]:
  """The measurement where there is a GPU, else a row that says that it needs one."""
  backend = jax.default_backend()
  return measure if backend == "gpu" else lambda: {"skipped": f"needs a GPU; this is a {backend}"}


def time_early_exit(sizes: Sizes) -> Cells:
  """Gradients by early exit of several numbers of widths and by the full scan."""

  def measure(shape: Shape, rows: int, fraction: float, repeats: int) -> Row:
    engines: dict[str, Engine] = {"full": "full"}
    engines |= {f"widths_{n}": EarlyExit(widths=n) for n in sizes.widths}
    ways = {name: make_gradient(shape, engine) for name, engine in engines.items()}
    return time_gradients(ways, shape, rows, fraction, repeats)

  for fraction in sizes.fractions:
    for name, shape in sizes.shapes.items():
      cell = functools.partial(measure, shape, sizes.rows, fraction, sizes.repeats)
      yield f"{name}, f={fraction:g}", cell
  for fraction in sizes.fractions:
    few = max(1, sizes.repeats // 2)
    cell = functools.partial(measure, sizes.large, sizes.large_rows, fraction, few)
    yield f"large, f={fraction:g}", cell


def time_evaluation(sizes: Sizes) -> Cells:
  """Reading a data set up to the spikes, where rows that are done take the next, or to the end."""

  shape = sizes.shapes["speech"]

  def measure(fraction: float) -> Row:
    xs, labels, spikes = make_data(shape, sizes.evaluated, fraction)
    data = Batch(xs, labels, jnp.full(sizes.evaluated, shape.steps, jnp.int32))
    size = sizes.evaluated // 10
    cut = lambda k: jax.tree.map(lambda a: a[k * size : (k + 1) * size], data)
    batches, classifier, params = (
      [cut(k) for k in range(10)],
      make_forced(shape),
      make_params(shape),
    )
    read = functools.partial(rc_jax.evaluate, classifier, params, batches, 0.95)
    calls = {"to_end": read, "to_spike": functools.partial(read, eos=False)}
    for call in calls.values():
      check_spikes(call(), spikes)
    row = {"f": find_f(shape, spikes), "evaluated": sizes.evaluated, "rows": size}
    return row | alternate(calls, max(1, sizes.repeats // 2))

  for fraction in sizes.fractions:
    yield f"speech, f={fraction:g}", functools.partial(measure, fraction)


def time_updates(sizes: Sizes) -> Cells:
  """Milliseconds an update of a training with Adam, one after the other, by both engines."""

  def measure(shape: Shape, fraction: float) -> Row:
    xs, labels, spikes = make_data(shape, sizes.rows, fraction)
    batch = Batch(xs, labels, jnp.full(sizes.rows, shape.steps, jnp.int32))
    adam, params = optax.adam(1e-5), make_params(shape)
    start = rc_jax.TrainState(params, adam.init(params), jnp.int32(0), jax.random.key(0))

    def train(update: Callable) -> Metrics:
      state = start
      for _ in range(sizes.updates):
        state, metrics = update(state, batch)
      return metrics

    calls = {}
    engines: dict[str, Engine] = {"full": "full", "early_exit": sizes.engine}
    for name, engine in engines.items():
      training = rc_jax.make_train(make_forced(shape), adam, engine=engine)
      calls[name] = functools.partial(train, jax.jit(training.update))
      check_spikes(calls[name](), spikes)
    times = alternate(calls, min(3, sizes.repeats))
    row = {"f": find_f(shape, spikes), "updates": sizes.updates}
    return row | {name: time / sizes.updates for name, time in times.items()}

  for name in ("temporal_mnist", "speech"):
    if name in sizes.shapes:
      cell = functools.partial(measure, sizes.shapes[name], sizes.fractions[0])
      yield f"{name}, f={sizes.fractions[0]:g}", cell

"""A run as two functions of named arrays, for those who write them in another form.

`front_end` takes 160 samples and gives one step, `network` takes a step and gives probabilities.
What they know goes in and comes out as arrays, with a leading axis of one. The transform of a
window is a product with sines and cosines: other runtimes are slow at Fourier transforms.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.speech import UNKNOWN, features
from deploy.rule import Rule
from deploy.run_files import Run

# Chunks end 40 samples after a multiple of 160, as windows do: so many zeros come before the sound.
ZEROS_FIRST = features.HOP - (features.WINDOW // 2) % features.HOP
# The first frame lies before the sound; a step needs 21 frames.
CHUNKS_BEFORE_FIRST_STEP = 2 * features.CONTEXT + 1
_KEPT = features.WINDOW - features.HOP


class Function(NamedTuple):
  """A function of arrays.

  Attributes:
    call: `(*inputs) -> outputs`; the first input and output are data, the others state.
    inputs: name, shape and first value of each input, in order; the value of data is None.
    outputs: their names, in order; those of state have that of the input and "_out".
  """

  call: Callable[..., tuple[jax.Array, ...]]
  inputs: list[tuple[str, tuple[int, ...], np.ndarray | None]]
  outputs: list[str]

  @property
  def shapes(self) -> list[jax.ShapeDtypeStruct]:
    """Shape and type of each input."""
    return [jax.ShapeDtypeStruct(shape, jnp.float32) for _, shape, _ in self.inputs]


def make_network_function(run: Run) -> Function:
  """One step of the run's network: `(step [1, 420], *carry) -> (probabilities [1, C], *carry)`.

  Args:
    run: of speech; its carry is made of float32 arrays.
  """
  classifier, params = run.classifier, run.params
  first, structure = jax.tree.flatten(classifier.initial_carry(params))

  def one(x: jax.Array, *carry: jax.Array) -> tuple[jax.Array, ...]:
    inner = jax.tree.unflatten(structure, carry)
    inner, logits = classifier.run_step(params, inner, x)
    probabilities = jax.nn.softmax(logits.astype(jnp.float32))
    return probabilities, *jax.tree.leaves(inner)

  def call(x: jax.Array, *carry: jax.Array) -> tuple[jax.Array, ...]:
    return jax.vmap(one)(x, *carry)  # ONNX has products of matrices, not of vectors

  names = [f"carry_{k}" for k in range(len(first))]
  values = [np.asarray(leaf, np.float32)[None] for leaf in first]
  state = [(name, value.shape, value) for name, value in zip(names, values, strict=True)]
  return Function(
    call,
    [("step", (1, *run.input_shape), None), *state],
    ["probabilities", *(f"{name}_out" for name in names)],
  )


def make_front_end_function(run: Run) -> Function:
  """`(chunk [1, 160], samples [1, 240], frames [1, 20, 20]) -> (step [1, 420], samples, frames)`.

  Args:
    run: of speech, whose statistics standardise the frames.
  """
  angle = 2 * np.pi / features.WINDOW * np.arange(features.WINDOW)[:, None]
  angle = angle * np.arange(features.WINDOW // 2 + 1)
  window = features.hamming_window().astype(np.float64)[:, None]
  cosine, sine = (np.asarray(window * f(angle), np.float32) for f in (np.cos, np.sin))
  filters, mean, std = features.mel_filters(), run.statistics["mean"], run.statistics["std"]

  def call(chunk: jax.Array, samples: jax.Array, frames: jax.Array) -> tuple[jax.Array, ...]:
    heard = jnp.concatenate([samples, chunk], axis=1)
    power = (heard @ cosine) ** 2 + (heard @ sine) ** 2
    frame = (jnp.log(power @ filters + features.LOG_OFFSET) - mean[None]) / std[None]
    frames = jnp.concatenate([frames, frame[:, None]], axis=1)
    return frames.reshape(1, features.STEP_SIZE), heard[:, features.HOP :], frames[:, 1:]

  frames_shape = (1, 2 * features.CONTEXT, features.NUM_BANDS)
  return Function(
    call,
    [
      ("chunk", (1, features.HOP), None),
      ("samples", (1, _KEPT), np.zeros((1, _KEPT), np.float32)),
      ("frames", frames_shape, np.zeros(frames_shape, np.float32)),
    ],
    ["step", "samples_out", "frames_out"],
  )


def describe(run: Run, rule: Rule, functions: dict[str, Function]) -> dict[str, Any]:
  """Returns what `bundle.json` says: how to call the functions, and what their numbers mean.

  Args:
    run: of speech.
    rule: when a decision is an event.
    functions: by the name of their file, without its ending.
  """
  return {
    "class_names": list(run.class_names),
    **rule._asdict(),
    "not_reported": [UNKNOWN],
    "sample_rate": features.SAMPLE_RATE,
    "chunk": features.HOP,
    "zeros_first": ZEROS_FIRST,
    "chunks_before_first_step": CHUNKS_BEFORE_FIRST_STEP,
    "functions": {
      name: {
        "inputs": [
          {"name": key, "shape": list(shape), "first": None if value is None else value.tolist()}
          for key, shape, value in function.inputs
        ],
        "outputs": function.outputs,
      }
      for name, function in functions.items()
    },
  }

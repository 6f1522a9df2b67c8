"""Writes a run as graphs that other runtimes execute: ONNX, or StableHLO for XLA's.

Both come as two files, front end and network, and `bundle.json`, which says how to call them.
"""

import json
import pathlib

import jax
from jax import export
from jax.extend.core import jaxpr_as_fun

from deploy.export.functions import (
  Function,
  describe,
  make_front_end_function,
  make_network_function,
)
from deploy.rule import Rule
from deploy.run_files import Run, write_whole

PLATFORMS = ("cpu", "cuda", "tpu")
OPSET = 21


FORMATS = ("onnx", "stablehlo")


def write_graphs(folder: str | pathlib.Path, run: Run, rule: Rule, form: str) -> list[pathlib.Path]:
  """Writes front end and network as graphs, and `bundle.json`.

  Args:
    folder: where to; made if missing.
    run: of speech.
    rule: when a decision is an event; it stands in bundle.json alone.
    form: "onnx", or "stablehlo", whose files `jax.export.deserialize` reads on a CPU, GPU or TPU,
      without this package.

  Returns:
    The files: `front_end.onnx` and `network.onnx`, or the same with the ending `.jax_export`, and
    `bundle.json`.

  Raises:
    ValueError: another form, or jax2onnx is not installed.
  """
  if form not in FORMATS:
    raise ValueError(f"form is {form!r}; choose one of {', '.join(FORMATS)}")
  serialize, ending = (_to_onnx, "onnx") if form == "onnx" else (_to_stablehlo, "jax_export")
  functions = {"front_end": make_front_end_function(run), "network": make_network_function(run)}
  content = {f"{name}.{ending}": serialize(name, one) for name, one in functions.items()}
  bundle = json.dumps(describe(run, rule, functions), indent=1) + "\n"
  path = pathlib.Path(folder)
  path.mkdir(parents=True, exist_ok=True)
  for name, part in (content | {"bundle.json": bundle.encode()}).items():
    write_whole(path / name, part)
  return [path / name for name in (*content, "bundle.json")]


def _to_onnx(name: str, function: Function) -> bytes:
  try:
    from jax2onnx import to_onnx
  except ImportError as error:
    raise ValueError(
      f"--format=onnx needs jax2onnx ({error}); install it into an environment of its own: pip "
      "install 'rc-jax[onnx]' (it needs an older Orbax than `experiments` does)"
    ) from error
  # Traced before: jax2onnx has Flax's layers as operations of its own, which it cannot batch.
  traced = jaxpr_as_fun(jax.make_jaxpr(function.call)(*function.shapes))
  model = to_onnx(
    lambda *given: tuple(traced(*given)),
    function.shapes,
    model_name=name,
    opset=OPSET,
    input_names=[key for key, _, _ in function.inputs],
    output_names=function.outputs,
  )
  return model.SerializeToString()


def _to_stablehlo(name: str, function: Function) -> bytes:
  del name
  # By default a GPU or TPU rounds the factors of products, which the logarithm of a quiet band and
  # a network's state show.
  with jax.default_matmul_precision("highest"):
    exported = export.export(jax.jit(function.call), platforms=PLATFORMS)(*function.shapes)
  return bytes(exported.serialize())

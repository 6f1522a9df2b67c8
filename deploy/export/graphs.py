"""Writes a run as graphs that other runtimes execute: ONNX, or StableHLO for XLA's.

Both come as two files, front end and network, and `bundle.json`, which says how to call them.
"""

import json
import pathlib

import jax
from jax import export
from jax.extend.core import jaxpr_as_fun

from deploy.export.functions import Function, describe, make_front_end, make_network
from deploy.run_files import Run, write_whole

PLATFORMS = ("cpu", "cuda", "tpu")
OPSET = 21


def write_onnx(folder: str | pathlib.Path, run: Run, theta: float) -> list[pathlib.Path]:
  """Writes `front_end.onnx`, `network.onnx` and `bundle.json`.

  Args:
    folder: where to; made if missing.
    run: of speech.
    theta: threshold, which stands in bundle.json alone.

  Returns:
    The files.

  Raises:
    ValueError: jax2onnx is not installed.
  """
  try:
    from jax2onnx import to_onnx
  except ImportError as error:
    raise ValueError(
      f"--format=onnx needs jax2onnx ({error}); install it into an environment of its own: pip "
      "install 'rc-jax[onnx]' (it needs an older Orbax than `experiments` does)"
    ) from error

  def serialize(name: str, function: Function) -> bytes:
    names, outputs = [key for key, _, _ in function.inputs], function.outputs
    # Traced before: jax2onnx has Flax's layers as operations of its own, which it cannot batch.
    traced = jaxpr_as_fun(jax.make_jaxpr(function.call)(*function.shapes))
    model = to_onnx(
      lambda *given: tuple(traced(*given)),
      function.shapes,
      model_name=name,
      opset=OPSET,
      input_names=names,
      output_names=outputs,
    )
    return model.SerializeToString()

  return _write(folder, run, theta, "onnx", serialize)


def write_stablehlo(folder: str | pathlib.Path, run: Run, theta: float) -> list[pathlib.Path]:
  """Writes `front_end.jax_export`, `network.jax_export` and `bundle.json`.

  `jax.export.deserialize` reads them, on a CPU, GPU or TPU, without this package.

  Args:
    folder: where to; made if missing.
    run: of speech.
    theta: threshold, which stands in bundle.json alone.

  Returns:
    The files.
  """

  def serialize(name: str, function: Function) -> bytes:
    del name
    exported = export.export(jax.jit(function.call), platforms=PLATFORMS)(*function.shapes)
    return bytes(exported.serialize())

  return _write(folder, run, theta, "jax_export", serialize)


def _write(folder, run, theta, ending, serialize) -> list[pathlib.Path]:
  """Writes both functions and the bundle."""
  functions = {"front_end": make_front_end(run), "network": make_network(run)}
  path = pathlib.Path(folder)
  path.mkdir(parents=True, exist_ok=True)
  files = []
  for name, function in functions.items():
    files.append(path / f"{name}.{ending}")
    write_whole(files[-1], serialize(name, function))
  files.append(path / "bundle.json")
  bundle = json.dumps(describe(run, theta, functions), indent=1)
  write_whole(files[-1], (bundle + "\n").encode())
  return files

"""Writes a run as one web page that hears: the microphone, or a recording that is dropped on it.

The page needs no server, no network and no library: the network's weights stand in it, and
`page/spotter.js` computes with them. `page/page.js` hears, draws and lists events.
"""

import base64
import json
import pathlib
from typing import Any

import numpy as np

from data_pipelines.speech import UNKNOWN, features
from deploy.export.networks import Layer, read_network
from deploy.rule import Rule
from deploy.run_files import Run, write_whole

_PAGE = pathlib.Path(__file__).with_name("page")


def write_page(folder: str | pathlib.Path, run: Run, rule: Rule) -> list[pathlib.Path]:
  """Writes `index.html`.

  Args:
    folder: where to; made if missing.
    run: of speech, an "lstm" of one layer or a "dense_lstm".
    rule: when a decision is an event; with one theta.

  Returns:
    The file.

  Raises:
    ValueError: another network.
  """
  model = json.dumps(describe(run, rule))
  model = model.replace("<", "\\u003c")  # no name ends the script
  text = (_PAGE / "page.html").read_text()
  for mark, part in (
    ("@SPOTTER@", (_PAGE / "spotter.js").read_text()),
    ("@PAGE@", (_PAGE / "page.js").read_text()),
    ("@MODEL@", model),
  ):
    text = text.replace(mark, part)
  path = pathlib.Path(folder)
  path.mkdir(parents=True, exist_ok=True)
  write_whole(path / "index.html", text.encode())
  return [path / "index.html"]


def describe(run: Run, rule: Rule) -> dict[str, Any]:
  """Returns what `spotter.js` computes with: JSON values, arrays as base64 of float32.

  Args:
    run: as `write_page`.
    rule: as `write_page`.

  Raises:
    ValueError: another network.
  """
  size = features.STEP_SIZE
  network = read_network(run.model.constructor, run.params, len(run.class_names), step_size=size)
  if network.kind != "lstm" or len(network.recurrent) != 1:
    raise ValueError("a page holds an LSTM of one layer; this network is another")
  (recurrent,) = network.recurrent
  return {
    "classNames": list(run.class_names),
    "theta": float(rule.theta),
    "patience": int(rule.patience),
    "refractory": float(rule.refractory_s),
    "notReported": [UNKNOWN],
    "sampleRate": features.SAMPLE_RATE,
    "window": features.WINDOW,
    "hop": features.HOP,
    "bands": features.NUM_BANDS,
    "context": 2 * features.CONTEXT + 1,
    "logOffset": features.LOG_OFFSET,
    "units": network.units,
    "hamming": _encode(features.hamming_window()),
    "filters": _encode(features.mel_filters()),
    "mean": _encode(run.statistics["mean"]),
    "std": _encode(run.statistics["std"]),
    "encoder": [_describe_layer(layer) for layer in network.encoder],
    "input": _describe_layer(recurrent.input),
    "recurrent": _describe_layer(recurrent.state),
    "head": [_describe_layer(layer) for layer in network.head],
  }


def _describe_layer(layer: Layer) -> dict[str, str]:
  bias = np.zeros(layer.kernel.shape[1]) if layer.bias is None else layer.bias
  return {"kernel": _encode(layer.kernel), "bias": _encode(bias)}


def _encode(array: np.ndarray) -> str:
  return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()

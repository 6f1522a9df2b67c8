"""Exported graphs against the spotter: the same probabilities and events over chained steps."""

import json
import sys

import jax
import numpy as np
import pytest
from jax import export
from small_run import init_params, sound

from deploy.commands import load_speech_run, make_run_spotter
from deploy.export import __main__ as export_main
from deploy.models import Model
from deploy.rule import Rule
from deploy.run_files import load_run, save_model

SECONDS = 11  # more than a thousand steps


def follow(audio, bundle, calls):
  """Probabilities of each step and `(seconds, label)` of events, as bundle.json says."""
  padded = np.concatenate([np.zeros(bundle["zeros_first"], np.float32), audio])
  said = bundle["functions"]
  first = {
    name: [np.array(i["first"], np.float32) for i in said[name]["inputs"][1:]] for name in said
  }
  state = dict(first)
  found, events, sure = [], [], []
  for k in range(len(padded) // bundle["chunk"]):
    chunk = padded[None, k * bundle["chunk"] : (k + 1) * bundle["chunk"]]
    step, *state["front_end"] = calls["front_end"](chunk, *state["front_end"])
    if k < bundle["chunks_before_first_step"]:
      continue
    p, *state["network"] = calls["network"](step, *state["network"])
    found.append(np.asarray(p)[0])
    label = int(found[-1].argmax())
    sure = [*sure, label] if found[-1].max() >= bundle["theta"] else []
    if len(sure) >= bundle["patience"] and set(sure[-bundle["patience"] :]) == {label}:
      heard = (k + 1) * bundle["chunk"] - bundle["zeros_first"]
      events.append((heard / bundle["sample_rate"], label))
      state["network"], sure = first["network"], []
  return np.array(found), events


def export_run(folder, out, form, monkeypatch):
  arguments = [
    "prog",
    str(folder),
    f"--out={out}",
    f"--format={form}",
    *("--theta=0.45", "--patience=2", "--refractory=0.3"),
  ]
  monkeypatch.setattr(sys, "argv", arguments)
  assert export_main.main() == 0
  return json.loads((out / "bundle.json").read_text())


def assert_equals_spotter(folder, bundle, calls):
  audio = sound(SECONDS)
  found, events = follow(audio, bundle, calls)
  run = load_speech_run(str(folder))
  rule = Rule(bundle["theta"], bundle["patience"], refractory_s=0.0)
  assert rule[:2] == (0.45, 2) and bundle["not_reported"] == ["unknown"]
  assert bundle["refractory_s"] == 0.3
  spotter = make_run_spotter(run, rule, not_reported=())
  _, expected, p = spotter.push(spotter.init(), audio)
  assert 1000 < len(found) == len(p)
  np.testing.assert_allclose(found, p, atol=1e-5)
  assert len(events) > 10
  assert events == [(pytest.approx(one.seconds), one.label) for one in expected]
  assert bundle["class_names"] == list(run.class_names)


@pytest.fixture(params=["lstm", "dense_lstm"])
def a_run(request, run_folder):
  """The folder of a run of each kind of network."""
  if request.param == "dense_lstm":
    run = load_run(run_folder)
    model = Model("dense_lstm", {"units": 8, "num_classes": 3})
    params = init_params(model, 1)
    params["classifier"]["head"] = jax.tree.map(
      lambda a: np.float32(4) * a, params["classifier"]["head"]
    )
    said = {"class_names": run.class_names, "theta": run.theta, "input_shape": (420,)}
    statistics = {name: value.tolist() for name, value in run.statistics.items()}
    given = {"experiment": "speech", "model": model, "params": params, "statistics": statistics}
    save_model(run_folder, **given, **said)
  return run_folder


def test_stablehlo_decides_as_python_does(a_run, tmp_path, monkeypatch):
  bundle = export_run(a_run, tmp_path / "out", "stablehlo", monkeypatch)
  calls = {}
  for name in ("front_end", "network"):
    read = export.deserialize(bytearray((tmp_path / "out" / f"{name}.jax_export").read_bytes()))
    assert set(read.platforms) == {"cpu", "cuda", "tpu"}
    calls[name] = jax.jit(read.call)
  assert_equals_spotter(a_run, bundle, calls)


def test_onnx_decides_as_python_does(a_run, tmp_path, monkeypatch):
  pytest.importorskip("jax2onnx", reason="make test-onnx has it")
  import onnxruntime

  bundle = export_run(a_run, tmp_path / "out", "onnx", monkeypatch)

  def open_session(name):
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / f"{name}.onnx"))
    said = bundle["functions"][name]
    names = [one["name"] for one in said["inputs"]]
    assert [one.name for one in session.get_inputs()] == names
    assert [one.name for one in session.get_outputs()] == said["outputs"]
    return lambda *given: session.run(None, dict(zip(names, map(np.asarray, given), strict=True)))

  calls = {name: open_session(name) for name in ("front_end", "network")}
  assert_equals_spotter(a_run, bundle, calls)


def test_what_is_missing_or_does_not_fit(run_folder, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "jax2onnx", None)
  with pytest.raises(ValueError, match="--format=onnx needs jax2onnx"):
    export_run(run_folder, tmp_path / "out", "onnx", monkeypatch)
  monkeypatch.setattr(
    sys, "argv", ["prog", str(run_folder), "--out=x", "--format=stablehlo", "--weights=int8"]
  )
  with pytest.raises(ValueError, match="--weights=int8 is for --format=c"):
    export_main.main()

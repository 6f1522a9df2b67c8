"""The web page's spotter, under Node, against Python's; and the page itself in Chromium."""

import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile
from small_run import sound

from deploy.commands import load_speech_run, make_run_spotter
from deploy.export import __main__ as export_main
from deploy.export import web
from deploy.rule import Rule

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")

RULE = Rule(0.45, 2, 0.3)
SECONDS = 8  # of what the microphone hears

HEAR = """
const fs = require("fs");
const { Spotter } = require(process.argv[1]);
const spotter = new Spotter(JSON.parse(fs.readFileSync(process.argv[2])));
const bytes = fs.readFileSync(process.argv[3]);
const audio = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const all = { events: [], steps: [] };
for (let at = 0; at < audio.length; at += 1234) {
  const found = spotter.push(Array.from(audio.slice(at, at + 1234)));
  all.events.push(...found.events);
  all.steps.push(...found.steps.map((step) => step.probabilities));
}
console.log(JSON.stringify(all));
"""


@pytest.fixture
def page(run_folder, tmp_path, monkeypatch):
  """The exported page."""
  arguments = ["prog", str(run_folder), f"--out={tmp_path}", "--format=web"]
  arguments += [f"--theta={RULE.theta}", f"--patience={RULE.patience}", "--refractory=0.3"]
  monkeypatch.setattr(sys, "argv", arguments)
  assert export_main.main() == 0
  return tmp_path / "index.html"


@needs_node
def test_a_thousand_chained_steps_have_the_probabilities_of_python(page, run_folder, tmp_path):
  audio = sound(11)
  (tmp_path / "audio").write_bytes(audio.astype("<f4").tobytes())
  model = re.search(r'id="model">(.*?)</script>', page.read_text(), re.S)[1]
  (tmp_path / "model.json").write_text(model)
  code = f"{web.__file__.removesuffix('web.py')}page/spotter.js"
  command = ["node", "-e", HEAR, code, tmp_path / "model.json", tmp_path / "audio"]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  found = json.loads(done.stdout)
  spotter = make_run_spotter(load_speech_run(str(run_folder)), RULE)
  _, events, p = spotter.push(spotter.init(), audio)
  assert 1000 < len(p) == len(found["steps"])
  np.testing.assert_allclose(found["steps"], p, atol=1e-5)
  assert len(events) > 5
  assert [(e["seconds"], e["word"]) for e in found["events"]] == [
    (pytest.approx(one.seconds), one.word) for one in events
  ]


RESAMPLE = """
const { Resampler } = require(process.argv[1]);
const heard = (from, frequency, size) => {
  const resampler = new Resampler(from, 16000), found = [];
  const turn = (2 * Math.PI * frequency) / from;
  const tone = Array.from({ length: from / 5 }, (_, n) => Math.sin(turn * n));
  for (let at = 0; at < tone.length; at += size) {
    found.push(...resampler.push(tone.slice(at, at + size)));
  }
  return found;
};
console.log(JSON.stringify([
  heard(48000, 1000, 128), heard(48000, 1000, 4800), heard(44100, 1000, 128),
  heard(48000, 9000, 128), heard(8000, 1000, 128), heard(16000, 1000, 128),
]));
"""


@needs_node
def test_the_page_brings_a_microphone_to_its_rate():
  """Tones of 1 kHz stay as they are, in any pieces; one above the new band goes."""
  code = f"{web.__file__.removesuffix('web.py')}page/spotter.js"
  done = subprocess.run(["node", "-e", RESAMPLE, code], capture_output=True, text=True, check=True)
  found = [np.array(one) for one in json.loads(done.stdout)]
  np.testing.assert_array_equal(found[0], found[1])
  for k, one in enumerate(found):
    tone = 0 if k == 3 else np.sin(2 * np.pi * 1000 * np.arange(len(one)) / 16_000)
    assert 3100 < len(one) <= 3200
    np.testing.assert_allclose(one[100:], np.broadcast_to(tone, len(one))[100:], atol=2e-3)


@needs_node
def test_what_is_no_sample_is_silence_to_the_page(page, tmp_path):
  audio = sound(2)
  (tmp_path / "model.json").write_text(
    re.search(r'id="model">(.*?)</script>', page.read_text(), re.S)[1]
  )
  code = f"{web.__file__.removesuffix('web.py')}page/spotter.js"
  heard = []
  for bad in ([0, 0], [np.nan, 1e20]):
    audio[8000:8002] = bad
    (tmp_path / "audio").write_bytes(audio.astype("<f4").tobytes())
    command = ["node", "-e", HEAR, code, tmp_path / "model.json", tmp_path / "audio"]
    heard.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
  assert heard[0] == heard[1] and "null" not in heard[0]


def test_a_class_name_cannot_end_the_script(page, run_folder, tmp_path):
  run = load_speech_run(str(run_folder))._replace(class_names=("</script><b>", "no", "unknown"))
  (text,) = web.write_page(tmp_path / "odd", run, RULE)
  assert "</script><b>" not in text.read_text()
  assert page.read_text().count("</script>") == text.read_text().count("</script>") == 3


class LatePicture(http.server.BaseHTTPRequestHandler):
  """Answers late: Chromium prints a page when all of it is there."""

  def do_GET(self):
    time.sleep(SECONDS + 3)
    self.send_error(404)

  def log_message(self, *given):
    pass


@needs_chromium
@pytest.mark.slow  # in real time
def test_the_page_hears_a_microphone(page, run_folder, tmp_path):
  """Opened as a file; Chromium's fake microphone plays, and the page lists words of Python's."""
  audio = sound(SECONDS)
  soundfile.write(tmp_path / "microphone.wav", audio, 16_000, subtype="PCM_16")
  server = http.server.ThreadingHTTPServer(("localhost", 0), LatePicture)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  opened = tmp_path / "opened.html"
  opened.write_text(f"{page.read_text()}<img src='http://localhost:{server.server_port}/'>")
  command = [
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
    f"--use-file-for-fake-audio-capture={tmp_path / 'microphone.wav'}%noloop",
    f"--user-data-dir={tmp_path / 'profile'}",
    "--autoplay-policy=no-user-gesture-required",
    f"{opened.as_uri()}?listen",
  ]
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
  finally:
    server.shutdown()
    server.server_close()
  said = re.findall(r"<li>[\d.]+ s  (\w+)  [\d.]+</li>", done.stdout)
  spotter = make_run_spotter(load_speech_run(str(run_folder)), RULE)
  _, events, _ = spotter.push(spotter.init(), audio)
  status = re.search(r'<p id="status".*?</p>', done.stdout)
  assert len(events) > 4 and len(said) > 3, status
  assert set(said) <= {event.word for event in events}

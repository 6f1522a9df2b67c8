import functools
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_array_equal

from data_pipelines import speech
from data_pipelines.speech import pipeline
from data_pipelines.speech.speech_commands_official import (
  speech_commands_official_dataset_builder as official,
)

WORDS = ("yes", "no", "marvin")
ARCHIVE = "speech_commands_v0.02.tar.gz"


def clip(seed, samples=16_000):
  return np.random.default_rng(seed).integers(-9_000, 9_000, samples, dtype=np.int16)


def contents():
  """A miniature of the official archive: name -> samples or text."""
  files = {"README.md": "## Speech Commands", "LICENSE": "CC BY 4.0"}
  files["_background_noise_/running_tap.wav"] = clip(0, 50_000)
  files["_background_noise_/README.md"] = "noise"
  lists = {"validation_list.txt": [], "testing_list.txt": []}
  for word_number, word in enumerate(WORDS):
    for take in range(5):
      # Against the hash rule, to see that the lists decide.
      name = f"{word}/{take:08x}_nohash_0.wav"
      files[name] = clip(10 * word_number + take, 16_000 if take else 12_000)
      if take >= 3:
        lists[list(lists)[take - 3]].append(name)
  lists["testing_list.txt"].append("yes/gone_nohash_0.wav")
  return files | {name: "\n".join(entries) + "\n" for name, entries in lists.items()}


def pack(folder):
  with tarfile.open(folder / ARCHIVE, "w:gz") as archive:
    for name, content in contents().items():
      if isinstance(content, str):
        data = content.encode()
      else:
        buffer = io.BytesIO()
        soundfile.write(buffer, content, 16_000, format="WAV", subtype="PCM_16")
        data = buffer.getvalue()
      info = tarfile.TarInfo(f"./{name}")
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def served(tmp_path, monkeypatch):
  """Serves the miniature on loopback in the place of the real archive; paths asked for."""
  pack(tmp_path)
  asked = []
  monkeypatch.setenv("NO_PROXY", "127.0.0.1")

  class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
      asked.append(self.path)

  handler = functools.partial(Handler, directory=tmp_path)
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr(official, "URL", f"http://127.0.0.1:{server.server_port}/{ARCHIVE}")
    yield asked
    server.shutdown()


def load(tmp_path, **options):
  options = {"keywords": ("yes", "no"), "progress": False, **options}
  return speech.load(
    "speech_commands", data_dir=tmp_path / "tfds", cache_dir=tmp_path / "cache", **options
  )


def test_download_prepare_and_read(served, tmp_path):
  loaded = load(tmp_path, pad_short=False)
  assert [path for path in served if ARCHIVE in path] == [f"/{ARCHIVE}"]
  assert loaded.class_names == ("yes", "no", "unknown")
  assert [len(split) for split in loaded.splits] == [9, 3, 3]
  assert loaded.notes.clips["train"] == {"yes": 3, "no": 3, "unknown": 3}
  assert loaded.notes.missing == ("yes/gone_nohash_0.wav",)
  # In the order of the archive: yes, no, marvin; takes 0..2 of each.
  assert_array_equal(loaded.splits.train.labels, [0] * 3 + [1] * 3 + [2] * 3)
  assert_array_equal(loaded.splits.train.lengths == 81, [False, True, True] * 3)
  files = contents()
  for split, takes in (("train", (0, 1, 2)), ("validation", (3,)), ("test", (4,))):
    names = [f"{word}/{take:08x}_nohash_0.wav" for word in WORDS for take in takes]
    for index, name in enumerate(names):
      samples = files[name].astype(np.float32) / 32768
      expected = np.pad(samples, (0, 16_000 - len(samples)))
      assert_array_equal(loaded.audio(split, index), expected)


def test_prepared_once_then_offline(served, tmp_path, monkeypatch):
  first = load(tmp_path)
  asked = len(served)
  monkeypatch.setattr(official, "URL", "http://127.0.0.1:1/gone.tar.gz")
  monkeypatch.setattr(pipeline, "build_entry", None)
  second = load(tmp_path, keywords=("marvin", "yes", "no"))
  assert len(served) == asked
  assert_array_equal(first.splits.test.inputs, second.splits.test.inputs)
  assert second.class_names == ("marvin", "yes", "no")


def test_each_record_has_its_speaker(served, tmp_path):
  load(tmp_path)
  builder = official.Builder(data_dir=tmp_path / "tfds", file_format="array_record")
  record = builder.as_data_source("validation")[0]
  assert record["speaker"] == b"00000003"
  assert record["word"] == b"yes"
  assert record["name"] == b"yes/00000003_nohash_0.wav"
  assert record["audio"].dtype == np.int16


def test_keywords_are_checked_before_anything_is_decoded(served, tmp_path, monkeypatch):
  monkeypatch.setattr(pipeline, "build_entry", None)
  with pytest.raises(ValueError, match="not in the data: maybe; the words there are marvin, no"):
    load(tmp_path, keywords=("maybe",))


def test_no_network(tmp_path, monkeypatch):
  monkeypatch.setattr(official, "URL", "http://127.0.0.1:1/speech_commands_v0.02.tar.gz")
  with pytest.raises(ValueError, match="cannot be reached") as error:
    load(tmp_path)
  assert "\n" not in str(error.value)
  assert "--dataset=folder --data_dir=" in str(error.value)
  assert "--dataset=synthetic" in str(error.value)


def test_a_download_that_fails(served, tmp_path, monkeypatch):
  monkeypatch.setattr(official, "URL", official.URL + ".gone")
  with pytest.raises(ValueError, match=r"cannot be downloaded: .*--dataset=synthetic") as error:
    load(tmp_path)
  assert "\n" not in str(error.value)


def test_another_archive_at_the_known_address_is_refused(served, tmp_path, monkeypatch):
  from tensorflow_datasets.core.download import checksums

  (known,) = official.Builder.url_infos.values()
  assert known.size == 2_428_923_189
  monkeypatch.setattr(
    official.Builder, "url_infos", {official.URL: checksums.UrlInfo(7, "0" * 64, ARCHIVE)}
  )
  with pytest.raises(ValueError, match="wrong checksum") as error:
    load(tmp_path)
  assert "\n" not in str(error.value)


def test_an_archive_cut_short(served, tmp_path):
  whole = (tmp_path / ARCHIVE).read_bytes()
  (tmp_path / ARCHIVE).write_bytes(whole[: len(whole) // 2])
  with pytest.raises(ValueError, match="did not arrive whole"):
    load(tmp_path)


def test_the_address_is_the_official_one():
  assert official.URL == "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
  assert official.URL in official.Builder.url_infos


def test_no_tensorflow(served, tmp_path):
  code = (
    "import sys; from data_pipelines import speech\n"
    "from data_pipelines.speech.speech_commands_official import "
    "speech_commands_official_dataset_builder as official\n"
    f"official.URL = {official.URL!r}\n"
    f"s = speech.load('speech_commands', data_dir={str(tmp_path / 'tfds')!r}, "
    f"cache_dir={str(tmp_path / 'cache')!r}, keywords=['yes', 'no'], progress=False)\n"
    "assert len(s.splits.train) == 9\n"
    "print('tensorflow' in sys.modules)"
  )
  environment = os.environ | {"TFDS_DATA_DIR": str(tmp_path)}
  run = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, env=environment
  )
  assert run.stdout.splitlines()[-1:] == ["False"], run.stderr

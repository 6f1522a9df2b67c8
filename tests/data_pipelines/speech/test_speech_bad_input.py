import json
import os
import shutil
import zlib

import numpy as np
import pytest
import soundfile

from data_pipelines import speech
from data_pipelines.speech import pipeline, waveforms


@pytest.fixture
def load(tmp_path):
  def call(root, keywords=("yes", "no"), dataset="folder", **options):
    options.setdefault("cache_dir", tmp_path / "cache")
    return speech.load(dataset, data_dir=root, keywords=keywords, progress=False, **options)

  return call


def one_line(error):
  text = str(error.value)
  assert "\n" not in text
  return text


def test_folder_that_is_not_there(load, tmp_path):
  with pytest.raises(ValueError, match="nowhere does not exist; give a folder"):
    load(tmp_path / "nowhere")


def test_no_folder_given(load):
  with pytest.raises(ValueError, match="dataset 'folder' needs a data_dir"):
    load(None)


def test_file_for_a_folder(load, tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError, match="is not a folder; give"):
    load(tmp_path / "file")


def test_empty_folder(load, tmp_path):
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match="has no word folders"):
    load(tmp_path / "empty")


def test_folders_without_audio(load, tmp_path):
  (tmp_path / "empty" / "yes").mkdir(parents=True)
  with pytest.raises(ValueError, match=r"the 1 folders in data_dir .* hold no \.wav, "):
    load(tmp_path / "empty")


def test_one_list_without_the_other(load, tree):
  root = tree(each=1)
  (root / "validation_list.txt").write_text("")
  with pytest.raises(ValueError, match=r"has validation_list\.txt but no testing_list\.txt"):
    load(root)


def test_class_without_a_clip_in_a_split(load, tree, speakers):
  root = tree(each=1)
  (root / "no" / f"{speakers('test', 1)[0]}_nohash_0.wav").unlink()
  with pytest.raises(ValueError, match=r"'no' has no clip in the test .* --speaker_pattern=\.\+"):
    load(root)


def test_lists_that_name_other_files(load, tree):
  root = tree(each=1, ending=".flac")
  (root / "validation_list.txt").write_text("yes/a.wav\n")
  (root / "testing_list.txt").write_text("yes/b.wav\n")
  with pytest.raises(ValueError, match=r"in the validation split \(2 list entries have no file\)"):
    load(root)


@pytest.mark.parametrize(
  ("keywords", "message"),
  [
    (("yes", "maybe"), "keywords not in the data: maybe; the words there are bed, no, yes"),
    (("yes", "no", "yes"), "keywords has 'yes' more than once"),
    ((), "keywords is empty"),
    (("yes", ""), "keywords is empty"),
    (("all", "yes"), "keywords has 'all' and other words"),
  ],
)
def test_keywords(load, tree, keywords, message):
  with pytest.raises(ValueError, match=message):
    load(tree(each=1), keywords=keywords)


def test_keyword_with_the_name_of_the_rest(load, tree):
  root = tree(words=("yes", "unknown", "bed"), each=1)
  with pytest.raises(ValueError, match="'unknown' is the class of all other words"):
    load(root, keywords=("yes", "unknown"))
  assert load(root, keywords=("all",)).class_names == ("bed", "unknown", "yes")


def test_one_word_is_no_task(load, tree):
  with pytest.raises(ValueError, match="only the word 'yes'; a classifier needs two"):
    load(tree(words=("yes",), each=1), keywords=("yes",))


def not_audio(path):
  path.write_bytes(b"this is no sound at all" * 10)


def no_bytes(path):
  path.write_bytes(b"")


def no_samples(path):
  soundfile.write(path, np.zeros(0, np.float32), 16_000)


def not_finite(path):
  samples = np.zeros(16_000, np.float32)
  samples[77] = np.nan
  soundfile.write(path, samples, 16_000, subtype="FLOAT")


def wrong_unit(path):
  soundfile.write(path, np.full(16_000, 30_000, np.float32), 16_000, subtype="FLOAT")


def cut_in_half(path):
  os.truncate(path, path.stat().st_size // 2)


BAD_FILES = [
  (not_audio, "cannot be read as audio: "),
  (no_bytes, "cannot be read as audio: "),
  (no_samples, "holds no audio"),
  (cut_in_half, "cannot be read as audio: it is cut short: its header promises 32000 bytes"),
  (not_finite, "has NaN or infinite samples"),
  (wrong_unit, r"has samples up to 30000; scale it to -1\.\.1"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_FILES)
def test_bad_file(load, tree, speakers, spoil, message):
  root = tree(each=2)
  name = f"yes/{speakers('train', 2)[0]}_nohash_0.wav"
  spoil(root / name)
  with pytest.raises(ValueError, match=f"{name} {message}.*; repair or remove it, or") as error:
    load(root)
  assert str(root) not in one_line(error)

  loaded = load(root, on_bad_file="skip")
  assert [len(split) for split in loaded.splits] == [5, 6, 6]
  assert len(loaded.notes.skipped) == 1
  assert loaded.notes.skipped[0].startswith(name)
  assert loaded.notes.lines()[-1].startswith(f"bad files skipped: 1 ({name} ")
  # Records after the one that was skipped still find their own audio.
  last = f"yes/{speakers('train', 2)[1]}_nohash_0.wav"
  assert loaded.splits.train.labels[4] == 0
  expected = soundfile.read(root / last, dtype="float32")[0]
  np.testing.assert_array_equal(loaded.audio("train", 4), expected)

  with pytest.raises(ValueError, match=f"{name} {message}"):
    load(root)  # the cache that was built by skipping hides no error


def test_on_bad_file(load, tree):
  with pytest.raises(ValueError, match="on_bad_file is 'ignore'; choose 'error' or 'skip'"):
    load(tree(each=1), on_bad_file="ignore")


def test_speaker_pattern(load, tree):
  with pytest.raises(ValueError, match=r"speaker_pattern '\[' is not a regular expression"):
    load(tree(each=1), speaker_pattern="[")


def test_dataset(load, tmp_path):
  with pytest.raises(ValueError, match="dataset is 'fsdd'; choose one of folder, speech_commands"):
    load(tmp_path, dataset="fsdd")


def test_cache_dir_that_cannot_be_written(load, tree, tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError, match=r"cache_dir .*file.* cannot be written \(.*\); choose"):
    load(tree(each=1), cache_dir=tmp_path / "file" / "cache")


def test_a_file_that_is_unreadable_for_a_moment_is_not_bad_for_good(load, tree, monkeypatch):
  root = tree(each=2)
  opened = waveforms.soundfile.SoundFile

  def unreadable(path):
    if path == min(root.glob("yes/*")):
      raise PermissionError(13, "Permission denied")
    return opened(path)

  for later in ("skip", "error"):
    with monkeypatch.context() as patch:
      patch.setattr(waveforms.soundfile, "SoundFile", unreadable)
      for _ in range(2):  # the second time from the cache
        assert len(load(root, on_bad_file="skip").notes.skipped) == 1
      with pytest.raises(ValueError, match=r"yes/.*Permission denied.*; repair or remove it, or"):
        load(root)
    assert load(root, on_bad_file=later).notes.skipped == ()
    (entry,) = (root.parent / "cache").glob("frames-*")
    shutil.rmtree(entry)


def test_a_cache_from_before_unreadable_files_were_told_apart_is_opened(load, tree, monkeypatch):
  root = tree(each=2)
  load(root)
  (entry,) = (root.parent / "cache").glob("frames-*")
  clips, manifest = entry / "clips.json", entry / "manifest.json"
  body = json.loads(clips.read_text())
  del body["unreadable"]
  clips.write_text(json.dumps(body))
  sums = json.loads(manifest.read_text())
  sums["clips.json"] = [clips.stat().st_size, zlib.crc32(clips.read_bytes())]
  manifest.write_text(json.dumps(sums))
  monkeypatch.setattr(pipeline, "build_entry", None)
  assert len(load(root).splits.train) == 6

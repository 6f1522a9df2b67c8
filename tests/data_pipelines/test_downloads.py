"""Whether a download can be tried at all."""

import errno
import socket

import pytest

from data_pipelines.downloads import explain_failure, require_network


@pytest.fixture
def without_proxy(monkeypatch):
  for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
    monkeypatch.delenv(name, raising=False)


def closed_port():
  with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    return listener.getsockname()[1]


def test_a_host_that_does_not_answer(without_proxy):
  url = f"http://127.0.0.1:{closed_port()}/archive"
  with pytest.raises(ValueError, match=r"archive cannot be reached \(.*\)\. Use the other\."):
    require_network(url, "Use the other.")


def test_a_proxy_is_asked_in_its_place(without_proxy, monkeypatch):
  with socket.create_server(("127.0.0.1", 0)) as proxy:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
    require_network(f"http://127.0.0.1:{closed_port()}/archive", "")
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.getsockname()[1]}")  # as many write it
    require_network(f"http://127.0.0.1:{closed_port()}/archive", "")
  with pytest.raises(ValueError, match="cannot be reached"):
    require_network(f"http://127.0.0.1:{closed_port()}/archive", "")


def test_what_went_wrong_with_a_download_is_one_sentence():
  tfds = pytest.importorskip("tensorflow_datasets")
  for error, message in (
    (
      tfds.download.DownloadError("HTTP code: 403.\nmore"),
      "HTTP code: 403. Use it.",
    ),
    (OSError(errno.ENOSPC, "No space left"), r"http://x cannot be saved: .*No space left$"),
    (EOFError(), r"did not arrive whole \(EOFError\); delete TFDS's downloads and try again"),
  ):
    with pytest.raises(ValueError, match=message), explain_failure("http://x", "Use it."):
      raise error

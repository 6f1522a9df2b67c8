"""Downloads by TFDS: whether one can be tried at all, and what went wrong with it."""

import contextlib
import errno
import socket
import tarfile
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator

_OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def require_network(url: str, otherwise: str, timeout: float = 10.0) -> None:
  """Checks that the host of a URL accepts connections.

  Where the environment names a proxy for the URL's scheme, the proxy is checked in its place.

  Args:
    url: the address of the download.
    otherwise: a sentence that says what to do without a network; it ends the error message.
    timeout: how long to wait for the host, in seconds.

  Raises:
    ValueError: if no connection can be made.
  """
  parts = urllib.parse.urlsplit(url)
  proxy = urllib.request.getproxies().get(parts.scheme)
  if proxy and not urllib.request.proxy_bypass(parts.netloc):
    parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
  port = parts.port or {"https": 443}.get(parts.scheme, 80)
  try:
    socket.create_connection((parts.hostname or "", port), timeout=timeout).close()
  except OSError as error:
    raise ValueError(f"{url} cannot be reached ({error}). {otherwise}") from error


@contextlib.contextmanager
def explain_failure(url: str, otherwise: str) -> Iterator[None]:
  """Says in one sentence why the download inside fails.

  Args:
    url: its address.
    otherwise: a sentence that says what to do without it.

  Raises:
    ValueError: it fails, cannot be saved, or does not arrive whole.
  """
  import tensorflow_datasets as tfds
  from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

  try:
    yield
  except (OSError, tfds.download.DownloadError) as error:
    if getattr(error, "errno", None) in _OF_DISK:
      raise ValueError(f"{url} cannot be saved: {_first_line(error)}") from error
    raise ValueError(f"{url} cannot be downloaded: {_first_line(error)}. {otherwise}") from error
  except (tarfile.TarError, EOFError, zlib.error, NonMatchingChecksumError) as error:
    raise ValueError(
      f"{url} did not arrive whole ({_first_line(error)}); delete TFDS's downloads and try again"
    ) from error


def _first_line(error: Exception) -> str:
  """Returns the first line of an error's message, without a full stop or colon at its end."""
  return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".:")

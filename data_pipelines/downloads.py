"""Knowing in a second, not after minutes of retries, that there is no network."""

import socket
import urllib.parse
import urllib.request


def require_network(url: str, otherwise: str, timeout: float = 10.0) -> None:
  """Checks that the host of a download answers, or the proxy that the environment names for it.

  Args:
    url: of the download.
    otherwise: what to do without it, for the message: a sentence.
    timeout: seconds.

  Raises:
    ValueError: no connection to the host can be made.
  """
  scheme = urllib.parse.urlsplit(url).scheme
  parts = urllib.parse.urlsplit(urllib.request.getproxies().get(scheme, url))
  port = parts.port or {"https": 443}.get(parts.scheme, 80)
  try:
    socket.create_connection((parts.hostname or "", port), timeout=timeout).close()
  except OSError as error:
    raise ValueError(f"{url} cannot be reached ({error}). {otherwise}") from error

"""Knowing in a second, not after minutes of retries, that there is no network."""

import socket
import urllib.parse


def require_network(url: str, otherwise: str, timeout: float = 10.0) -> None:
  """Checks that the host of a download answers.

  Args:
    url: of the download.
    otherwise: what to do without it, for the message: a sentence.
    timeout: seconds.

  Raises:
    ValueError: no connection to the host can be made.
  """
  parts = urllib.parse.urlsplit(url)
  port = parts.port or {"http": 80, "https": 443}[parts.scheme]
  try:
    socket.create_connection((parts.hostname or "", port), timeout=timeout).close()
  except OSError as error:
    raise ValueError(f"{url} cannot be reached ({error}). {otherwise}") from error

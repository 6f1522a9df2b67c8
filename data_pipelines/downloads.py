"""A check for the network, which fails in seconds where a download would retry for minutes."""

import socket
import urllib.parse
import urllib.request


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

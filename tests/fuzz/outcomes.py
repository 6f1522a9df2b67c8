"""What may come of bad input: it is read, or refused in one sentence that names it."""

import contextlib

READ, REFUSED = "read", "refused"


class Fault(Exception):
  """Something that must not be."""


def check(holds, text):
  """Raises Fault unless it holds."""
  if not holds:
    raise Fault(text)


@contextlib.contextmanager
def refuse(*names):
  """Catches a ValueError and checks its sentence.

  Args:
    *names: of which the sentence must have one.

  Yields:
    A list, to which the sentence is added.
  """
  said = []
  try:
    yield said
  except ValueError as error:
    if isinstance(error, UnicodeError):
      raise
    text = str(error)
    check("\n" not in text, f"more than a line: {text!r}")
    check(any(name in text for name in names), f"no name of a file: {text!r}")
    check(len(text) < 1000, f"a long text: {text!r}")
    said.append(text)

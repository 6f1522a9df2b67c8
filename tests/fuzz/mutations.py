"""Mutations of bytes, as disks, downloads and enemies make them."""

HEADER = 96  # bytes in which containers say rate, channels and lengths
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
LARGE = tuple(1 << k for k in range(16, 64, 3))
ORDERS = ("little", "big")


def flip_bits(rng, data, others):
  """Flips one to eight bits anywhere."""
  for _ in range(rng.choice((1, 1, 2, 8))):
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_header_bits(rng, data, others):
  """Flips one to four bits of the header."""
  for _ in range(rng.choice((1, 2, 4))):
    data[rng.randrange(min(len(data), HEADER))] ^= 1 << rng.randrange(8)


def set_field(rng, data, others):
  """Sets a number in the header, of any width and order, to an extreme."""
  width = rng.choice((1, 2, 4, 8))
  value = rng.choice(EXTREMES + LARGE) & ((1 << 8 * width) - 1)
  at = rng.randrange(min(len(data), HEADER))
  data[at : at + width] = value.to_bytes(width, rng.choice(ORDERS))


def fill(rng, data, others):
  """Overwrites a stretch with zeros, ones or noise."""
  at, size = rng.randrange(len(data)), rng.choice((4, 64, 1024))
  stretch = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
  data[at : at + size] = stretch


def truncate(rng, data, others):
  """Cuts the file off."""
  del data[rng.choice((rng.randrange(len(data)), rng.randrange(min(len(data), HEADER)))) :]


def cut_out(rng, data, others):
  """Takes a stretch out, so that all that follows is displaced."""
  at = rng.randrange(len(data))
  del data[at : at + rng.choice((1, 2, 16, 500))]


def repeat(rng, data, others):
  """Repeats a stretch."""
  at = rng.randrange(len(data))
  data[at:at] = data[at : at + rng.choice((1, 8, 300))] * rng.choice((1, 2, 20))


def splice(rng, data, others):
  """Goes on as another file from somewhere on."""
  other = rng.choice(others)
  data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]


def append(rng, data, others):
  """Adds another file, or noise."""
  data += rng.choice((rng.choice(others), rng.randbytes(200)))


ALL = (
  *(flip_bits, flip_header_bits, flip_header_bits, set_field, set_field, set_field, fill),
  *(truncate, cut_out, repeat, splice, append),
)


def mutate(rng, content, others, mutations=ALL):
  """Applies one to three mutations.

  Args:
    rng: a `random.Random`.
    content: bytes.
    others: contents that may be mixed in.
    mutations: to choose from.

  Returns:
    The new bytes, and the names of the mutations.
  """
  data, done = bytearray(content), []
  for change in rng.choices(mutations, k=rng.choice((1, 1, 2, 3))):
    if data:
      change(rng, data, others)
      done.append(change.__name__)
  return bytes(data), done

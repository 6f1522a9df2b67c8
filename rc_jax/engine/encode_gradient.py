"""The gradient of `encode` where it stands apart: large products over the packed log.

The backward pass has left cotangents of `encode`'s results in the log, an entry a row-step. The
products run over blocks of up to 512 entries, so that their total size follows the number of logged
row-steps and not the widths of the stages. The first step's cotangents never enter the log: they
join the product of what the blocks leave over, rounded up to a multiple of 64.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rc_jax.engine.float_leaves import add, vjp_of_floats
from rc_jax.engine.log import (
  REST,
  add_input_gradients,
  inputs_at,
  is_valid,
  read_entries,
  rows_and_steps,
)
from rc_jax.engine.sharding import vary_alike
from rc_jax.types import Array, Encode, Params

# Entries of the log to a product. Larger products are faster: a first block size of 512 saved 2 %
# of temporal MNIST's gradient at f = 1.
BLOCKS = (512, 128)

Entries = tuple[Array, list[Array]]  # flat positions [n], cotangents [n, ...] of encode's results
Gradients = tuple[list[Array], list[Array] | None]  # of params and of flat inputs


def add_encode_gradient(
  encode: Encode,
  params: Params,
  xs: Any,
  lengths: Array | None,
  first: Entries,
  log: Entries,
  logged: Array,
  gradients: Gradients,
) -> Gradients:
  """Adds the gradients of `encode` of the first step and of all logged row-steps.

  What the blocks leave over goes with the first step into one product, rounded up to a multiple of
  REST. Entries beyond the end of the log were never written: their cotangents are zeros, for which
  any input will do.

  Args:
    encode: `(params, x [n, ...]) -> encoded [n, ...]`.
    params: of it.
    xs: `[B, T, ...]` inputs.
    lengths: `[B]`, or None.
    first: entries `[B]` of the first step.
    log: all entries of the log.
    logged: int32, how many of them count.
    gradients: to add to.

  Returns:
    The sums.
  """

  add_entries = functools.partial(_add_entries, encode, params, xs, lengths)

  def add_first(count: int, gradients: Gradients) -> Gradients:
    rest = read_entries(log, jnp.int32(0), count)
    return add_entries(jax.tree.map(lambda *a: jnp.concatenate(a), first, rest), gradients)

  def add_block(block: int, s: tuple[Array, Gradients]) -> tuple[Array, Gradients]:
    start, gradients = s
    return start + block, add_entries(read_entries(log, start, block), gradients)

  size = log[0].shape[0]
  counts = range(0, min(BLOCKS[-1], size) + 1, REST)
  branch = -(-(logged % BLOCKS[-1]) // REST)
  branches = [functools.partial(add_first, count) for count in counts]
  start, gradients = branch * REST, lax.switch(branch, branches, gradients)
  end = start + logged // BLOCKS[-1] * BLOCKS[-1]
  for block in (b for b in BLOCKS if b <= size):
    fits = lambda s, block=block: s[0] <= end - block
    start, gradients = lax.while_loop(fits, functools.partial(add_block, block), (start, gradients))
  return gradients


def _add_entries(
  encode: Encode,
  params: Params,
  xs: Any,
  lengths: Array | None,
  entries: Entries,
  gradients: Gradients,
) -> Gradients:
  """Adds the gradients of `encode` of some entries."""
  dparams, dxs = gradients
  flat, cotangents = entries
  x = inputs_at(xs, flat, is_valid(flat, lengths, rows_and_steps(xs)[1]))
  dp, dx = vjp_of_floats(encode, params, x)(cotangents)
  if dxs is not None:
    dxs = add_input_gradients(dxs, flat, dx)
  return vary_alike((add(dparams, dp), dxs), xs)[0]

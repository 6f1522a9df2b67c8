"""The gradient of `encode` where it stands apart: large products over the packed log.

The backward pass has left cotangents of `encode`'s results in the log, an entry a row-step. The
products run over blocks of entries, so that their total size follows the number of logged row-steps
and not the widths of the stages. The first step's cotangents never enter the log: they join the
product of the first block.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from rc_jax.engine.float_leaves import add, vjp_of_floats
from rc_jax.engine.log import (
  BLOCK,
  add_input_gradients,
  inputs_at,
  read_entries,
)
from rc_jax.engine.sharding import vary_alike
from rc_jax.types import Array, Encode, Params

# Entries of the log to a product where there are enough; larger products are faster.
LARGE_BLOCK = 256

Entries = tuple[Array, list[Array]]  # flat positions [n], cotangents [n, ...] of encode's results
Gradients = tuple[list[Array], list[Array] | None]  # of params and of flat inputs


def add_encode_gradient(
  encode: Encode,
  params: Params,
  xs: Any,
  first: Entries,
  log: Entries,
  logged: Array,
  gradients: Gradients,
) -> Gradients:
  """Adds the gradients of `encode` of the first step and of all logged row-steps.

  Entries beyond the end of the log were never written, and those in the padding of a row got no
  gradient: their cotangents are zeros, for which any finite input will do, that of position 0. So
  the last block may reach beyond.

  Args:
    encode: `(params, x [n, ...]) -> encoded [n, ...]`.
    params: of it.
    xs: `[B, T, ...]` inputs.
    first: entries `[B]` of the first step.
    log: all entries of the log.
    logged: int32, how many of them count.
    gradients: to add to.

  Returns:
    The sums.
  """

  add_entries = functools.partial(_add_entries, encode, params, xs)

  def add_block(block: int, s: tuple[Array, Gradients]) -> tuple[Array, Gradients]:
    start, gradients = s
    return start + block, add_entries(read_entries(log, start, block), gradients)

  begin = read_entries(log, jnp.int32(0), BLOCK)
  gradients = add_entries(jax.tree.map(lambda *a: jnp.concatenate(a), first, begin), gradients)
  start, end = jnp.int32(BLOCK), -(-logged // BLOCK) * BLOCK
  for block in (b for b in (LARGE_BLOCK, BLOCK) if b <= log[0].shape[0] - BLOCK):
    fits = lambda s, block=block: s[0] <= end - block
    start, gradients = lax.while_loop(fits, functools.partial(add_block, block), (start, gradients))
  return gradients


def _add_entries(
  encode: Encode,
  params: Params,
  xs: Any,
  entries: Entries,
  gradients: Gradients,
) -> Gradients:
  """Adds the gradients of `encode` of some entries."""
  dparams, dxs = gradients
  flat, cotangents = entries
  x = inputs_at(xs, flat)
  dp, dx = vjp_of_floats(encode, params, x)(cotangents)
  if dxs is not None:
    dxs = add_input_gradients(dxs, flat, dx)
  return vary_alike((add(dparams, dp), dxs), xs)[0]

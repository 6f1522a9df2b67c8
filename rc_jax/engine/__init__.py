"""The early-exit engine: what comes after a row's first spike is not computed, nor differentiated.

Nothing outside `rc_jax` imports from here. The algorithm, for B rows of T steps, with the module
that does each part:

    forward:                                                                (forward)
      carry, output = step(carry, encode(x[0])) of all B rows; nothing of it is logged
      for each stage, a loop of fixed width w, from B down:                 (widths)
        gather the rows that are still active, filled up to w with finished ones    (rows)
        while more rows are active than the next stage holds:
          carry, output, residuals = first half of step(carry, encode(x[t]))    (step_vjp)
          append the residuals of the w rows to the log                     (log)
          note the output of each row whose confidence reaches theta, or that is at its last step;
          or append all outputs, for an objective that has losses up to the spike
        put the w rows back among all
    logits = decode(the noted outputs), one product, by JAX's own autodiff  (rc_jax.unroll)
    backward, from the cotangent of each row's noted output:                (backward)
      for each stage, last first, and for its logged steps, last first:
        read residuals; a row's cotangent enters at the step that was noted, or at all up to it
        gradients, cotangent of carry = second half of step                 (step_vjp)
        write the cotangent of `encode`'s result over a residual of its shape, no longer needed
      the first step, differentiated afresh
      gradient of `encode`, in blocks over the log                          (encode_gradient)

A step that its user wrote in one piece has been split before (`split_step`, for the full scan too):
products that need no carry stand in `encode`, those that feed nothing back in `decode`.

`early_exit` makes this a differentiable function of anything that JAX can trace; where nobody
differentiates it, nothing is logged. A finished row that fills up a stage is computed in vain and
its outputs are ignored. `decode` runs at every step, too, for the confidence; that needs no
gradient. `refill` reads a data set without gradients: a row that has spiked takes the next example.
`jax_internals` holds all that relies on how JAX works inside, a sentence for each function.

What is logged of a row-step: the arguments of the step, as far as its derivative needs them, and
the sums of products that `kept_sums` chooses where the step marks none by `keep`; all else is
rematerialised. The log has room for all B (T - 1) row-steps after the first; that its beginning
holds what was computed, without holes, saves products and not memory.

Where `encode` has at least 32 weights to each number of its result, it stands apart from the step
(`place_encode`, for the full scan too). Its result is logged only if the step's derivative needs it
and no kept sum replaces it, and its gradient is formed after all stages: one product over many
row-steps is faster than one a step. Else it is fused into the step, and the backward pass reads x
again.

Where the caller knows that the carry starts at zeros (`rc_jax.batch_losses` does), the first step
leaves out its products with it and their gradients (`zero_carry`). Infinite or NaN parameters in
those products then go unnoticed at that step.
"""

from rc_jax.engine.early_exit import run_to_spike
from rc_jax.engine.place_encode import place_encode
from rc_jax.engine.refill import Reading, read_to_spike
from rc_jax.engine.rows import initial_carries, select_rows
from rc_jax.engine.sharding import vary_alike
from rc_jax.engine.split_step import split_step
from rc_jax.engine.step_vjp import keep
from rc_jax.engine.widths import loop_widths
from rc_jax.engine.zero_carry import starts_at_zero

__all__ = [
  "Reading",
  "initial_carries",
  "keep",
  "loop_widths",
  "place_encode",
  "read_to_spike",
  "run_to_spike",
  "select_rows",
  "split_step",
  "starts_at_zero",
  "vary_alike",
]

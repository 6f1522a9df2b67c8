"""The early-exit engine: what comes after a row's first spike is not computed, nor differentiated.

Nothing outside `rc_jax` imports from here. The algorithm, for B rows of T steps, with the module
that does each part:

    forward:                                                                (forward)
      carry, output = step(carry, encode(x[0])) of all B rows
      for each width w, from B down:                                        (widths)
        rows = the rows that are still silent, gathered                     (rows)
        while more rows are silent than the next width holds:
          carry, output, residuals = first half of step(carry, encode(x[t]))    (step_vjp)
          append the residuals of the w rows to the log                     (log)
          note the output of each row whose confidence reaches theta
        put the rows back among all
    logits = decode(output at the spike), one product, by JAX's own autodiff    (rc_jax.unroll)
    backward, from the cotangent of each row's output:                      (backward)
      for each width, from the narrowest up, and its logged steps, last first:
        residuals = the log's entry; the cotangent enters at a row's spike
        gradients, cotangent of carry = second half of step                 (step_vjp)
        write the cotangent of `encode`'s result over the entry
      the first step's derivative
      gradient of `encode`, in blocks over the log                          (encode_gradient)

`early_exit` makes this a differentiable function of anything that JAX can trace. `kept_sums`
chooses the residuals of a step that does not choose them itself, and `zero_carry` leaves out the
products of a first step with a carry of zeros. `refill` reads a data set without gradients: a row
that has spiked takes the next example. `jax_internals` holds all that relies on how JAX works
inside.

What is logged: the arguments of a step, as far as its derivative needs them, and the sums of
products before its nonlinearities; all else is rematerialised. Where `encode` stands apart, its
results are not stored but recomputed or contained in those sums, and its gradient is formed at the
end, since one product over all computed row-steps is faster than one a step. Where `encode` has few
weights to a result it is a part of the step, and the inputs are read again.
"""

from rc_jax.engine.early_exit import run_to_spike
from rc_jax.engine.refill import read_to_spike
from rc_jax.engine.rows import initial_carries, select_rows
from rc_jax.engine.sharding import vary_alike
from rc_jax.engine.step_vjp import keep
from rc_jax.engine.widths import loop_widths
from rc_jax.engine.zero_carry import starts_at_zero

__all__ = [
  "initial_carries",
  "keep",
  "loop_widths",
  "read_to_spike",
  "run_to_spike",
  "select_rows",
  "starts_at_zero",
  "vary_alike",
]

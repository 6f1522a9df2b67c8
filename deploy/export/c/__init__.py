"""Writes a trained network as one C99 file and a header: `rc_model.c` and `rc_model.h`.

They need nothing but the C library and allocate nothing; the header says how to use them. `sound`
writes a network that hears, with its front end, `series` one of time series; `source` what both
share; `run` takes what either needs from a run. The code is in the `.c` and `.h` files beside this
one, what depends on the network stands before it, as constants.
"""

from deploy.export.c.run import write_run
from deploy.export.c.series import write_series
from deploy.export.c.sound import write_sound
from deploy.export.c.source import WEIGHTS

__all__ = ["WEIGHTS", "write_run", "write_series", "write_sound"]

"""From a trained run to live decisions: load it, let it hear, export it.

- `run_files` writes and reads what a run leaves for this: `load_run` is the way in. `models` makes
  a network from its name and arguments; `convolutional` holds parts of some.
- `front_end` makes steps of sound as it arrives, `spotter` makes events of steps, `recordings`
  reads files of any rate and length.
- `series` decides about series in files.
- `long_recordings` reads or makes recordings whose words are known, `labels` the file that says
  where they are; `scoring` compares events with these words.
- `held_out` reads the examples that a training held out; `thresholds` chooses theta.
- `decide`, `listen`, `measure`, `calibrate` and `export` are commands: `python -m deploy.decide
  --help`.
"""

from deploy.run_files import Run, load_run, with_unknown_bias

__all__ = ["Run", "load_run", "with_unknown_bias"]

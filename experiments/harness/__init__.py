"""What the binaries share: from flags to the files of a run.

  flags ──▶ settings ──▶ setup (of a binary) ──▶ Task ──▶ run ──▶ workdir ──▶ report

- `flags` defines the shared flags and reads the command line, once, in `main`; `settings` is their
  checked value; `schedules` parses those that change with epochs; `compile_cache` keeps compiled
  programs.
- `task` is what a binary hands over; `optimizer` is a part that it may use.
- `run` trains and writes the files: `loop` is the training loop, `run_state` one run in memory,
  `updates` the jitted functions of a run, `joint` those of several runs in one program, `signals`
  the end on request.
- `devices` shares the rows of a batch; `processes` is what several processes of a run agree on.
- `files` opens what one process reads and writes: `workdir`, `checkpoints` and `events`, from which
  alone `report`, `figures` and `tables` draw.

Nothing here depends on an experiment, a data set or a model; only the texts of `flags` name them.
"""

"""What the binaries share: from flags to the files of a run.

  flags ──▶ settings ──▶ setup (of a binary) ──▶ Task ──▶ run ──▶ workdir ──▶ report

- `flags` defines the shared flags and reads the command line, once, in `main`; `settings` is their
  checked value; `schedules` parses those that change with epochs; `compile_cache` keeps compiled
  programs.
- `task` is what a binary hands over. `optimizer` and `objectives` make of flags what they name.
- `run` trains and writes the files: `loop` is the training loop, `run_state` one run in memory,
  `updates` the jitted functions of a run, `joint` those of several runs in one program, `signals`
  the end on request, `update_metrics` what is measured between two validations, `large_pages` a
  hint about memory.
- `devices` shares the rows of a batch; `processes` is what several processes of a run agree on,
  `process_loss` the end of this one when another is lost.
- `files` opens what one process reads and writes: `workdir`, under its `lock`, `checkpoints` with
  their `checksums`, and `events`. `circumstances` and `fingerprint` are what a run remembers of its
  starts and its data, `thread_errors` what went wrong in the background.
- From these files alone `report`, `figures` and `tables` draw; `examples` reads what they picture.

Nothing here imports an experiment or a data set; `flags`, `report`, `figures`, `objectives` and
`workdir` know some by name. The networks of all experiments are in `deploy.models`.
"""

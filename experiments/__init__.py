"""The paper's experiments: `python -m experiments.spotting`, and so on.

In front stand the binaries: `spotting`, `two_sequence`, `temporal_mnist`, `speech` and, for series
in files, `series`. `report` draws a run's report anew. The commands over many runs, `population`,
`sweep`, `rivals` and `reproduce`, find the binaries in `registry`. What they all share is in
`harness`, which imports none of them.
"""

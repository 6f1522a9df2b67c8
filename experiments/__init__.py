"""The paper's experiments: `python -m experiments.spotting`, and so on.

In front stand the four binaries, `spotting`, `two_sequence`, `temporal_mnist` and `speech`, and the
commands over many runs, `population`, `sweep`, `rivals`, `report` and `reproduce`; `series` is for
series in files. What they share is in
`harness`, which imports none of them.
"""

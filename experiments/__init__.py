"""The paper's experiments: `python -m experiments.spotting`, and so on.

In front stand the four binaries, `spotting`, `two_sequence`, `temporal_mnist` and `speech`, and the
commands over many runs, `population`, `sweep`, `report` and `reproduce`. What they share is in
`harness`, which imports none of them.
"""

"""The paper's experiments: `python -m experiments.spotting`, and so on."""

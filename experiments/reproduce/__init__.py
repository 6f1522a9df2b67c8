"""Section 3 again: the paper's numbers and figures from our own runs, with the ceilings."""

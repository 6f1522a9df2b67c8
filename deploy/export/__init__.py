"""Writes a trained network, with what stands around it, for use without this project."""

"""Writes a trained network, its front end and its threshold in forms that need no JAX."""

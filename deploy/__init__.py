"""Trained networks outside JAX."""

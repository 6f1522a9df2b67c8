"""Measurements: a file a question; each prints a table, or JSON."""

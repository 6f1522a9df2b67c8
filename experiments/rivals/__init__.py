"""Rank coding against its rivals: one network, optimizer, budget and search for each objective."""

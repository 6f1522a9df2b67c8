"""Data sets as splits of records and pure functions that turn records into steps."""

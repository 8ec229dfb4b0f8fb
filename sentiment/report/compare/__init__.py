"""Runs held against each other: `python -m sentiment compare`."""

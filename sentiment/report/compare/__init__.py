"""Runs compared: `python -m sentiment compare`."""

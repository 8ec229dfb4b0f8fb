"""Experiments on record: tables and figures from stored results (`python -m sentiment record`)."""

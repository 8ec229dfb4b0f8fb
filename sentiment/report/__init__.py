"""Ranks, prints and draws what the jobs of a multirun left behind."""

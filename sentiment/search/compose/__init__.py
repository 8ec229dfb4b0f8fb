"""Composing the jobs of a study, from files that were read once."""

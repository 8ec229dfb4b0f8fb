"""Typed settings, and the check that reports every fault of a configuration at once."""

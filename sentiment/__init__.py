"""Sentiment: one command composes, trains, records and compares text classifiers."""

import os

__version__ = "0.1.0"

# Before torch loads OpenMP, which reads it once: threads that wait for each other sleep. By default they spin, which
# takes the core from those they wait for wherever other processes want it too, and gains nothing where none does
# (experiments/speed/shared_machine.py).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

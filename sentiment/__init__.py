"""Sentiment: one command composes, trains, records and compares text classifiers."""

__version__ = "0.1.0"

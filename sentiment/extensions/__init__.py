"""Models, data sets and trackers of your own: a file dropped here is found by itself. docs/extending.md shows how."""

import sentiment.config.schema  # noqa: F401 - it loads all files here, so that each is known however it is imported

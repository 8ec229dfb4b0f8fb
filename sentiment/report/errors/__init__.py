"""Where a run is wrong: `python -m sentiment errors`."""

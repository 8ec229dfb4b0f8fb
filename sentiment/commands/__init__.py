"""The command lines of ``python -m sentiment``: one file a command, found by its name.

A command module gives ``SUMMARY`` (a line for the list of commands), ``add_arguments(parser)`` and ``run(options)``. It
reads arguments, calls what does the work and prints; it imports heavy packages inside `run` only, so that ``--help``
answers at once.
"""

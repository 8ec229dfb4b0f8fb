"""What a person does beside and after a sweep: ``python -m sentiment watch``, ``report``, ``compare``, ``predict``."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Sequence
from typing import Any, Protocol, cast

from sentiment.errors import SentimentError
from sentiment.exits import install_exits
from sentiment.process import prepare_process

COMMANDS = (
    "watch", "stop", "report", "compare", "errors", "best", "predict", "evaluate", "sync", "record", "reference",
)  # fmt: skip
"""Names of the modules in `sentiment.commands`, in the order in which people meet them."""

RENAMED = {"study": "record"}
"""Commands of earlier versions, and how they are called now."""


class Command(Protocol):
    """What a command module has."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's arguments."""

    def run(self, options: argparse.Namespace) -> None:
        """Do it.

        Raises:
            SentimentError: With what was wrong and the remedy; the process ends with exit code 1.
        """


class StoreOnce(argparse.Action):
    """Stores the value of a flag; one that is given twice is refused: the last one would count without a word."""

    _filled: argparse.Namespace | None = None  # it is kept: another one is never the same object

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: object = None
    ) -> None:
        """Take the value."""
        if self.option_strings and self._filled is namespace:
            raise argparse.ArgumentError(self, f"given twice: {getattr(namespace, self.dest)!s} and {values!s}")
        self._filled = namespace
        setattr(namespace, self.dest, values)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m sentiment", description=__doc__)
    choices = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        command = cast(Command, importlib.import_module(f"sentiment.commands.{name}"))
        subparser = choices.add_parser(name, help=command.SUMMARY, description=command.SUMMARY)
        for kind in (None, "store"):  # what argparse calls it where nothing else is asked for
            subparser.register("action", kind, StoreOnce)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def join_labels(arguments: Sequence[str]) -> list[str]:
    """Return arguments with ``--label -1=negative`` as one: argparse would take what follows the flag for another."""
    joined: list[str] = []
    for argument in arguments:
        if joined[-1:] == ["--label"] and "--" not in joined and re.match(r"-([^-].*)?=", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Raises:
        SentimentError: The command has another name now, or could not do what was asked for.
    """
    prepare_process()
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and (name := RENAMED.get(arguments[0])):
        again = " ".join(["python -m sentiment", name, *arguments[1:]])
        raise SentimentError(f"The command {arguments[0]} is called {name} now.", again)
    options = build_parser().parse_args(join_labels(arguments))
    options.run(options)


if __name__ == "__main__":
    install_exits(outlives_reader=sys.argv[1:2] != ["predict"])  # whose work is its output
    main()

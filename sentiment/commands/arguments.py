"""Arguments that several commands have: alike in name, form and help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from sentiment.credentials import take_tracking_uri
from sentiment.errors import SentimentError
from sentiment.paths import expand_home


class CollectPairs(argparse.Action):
    """Collects the ``KEY=VALUE`` of a flag that may be repeated; a key that is given twice is refused.

    `at_last`: keys may hold the sign, too, so that the last one separates.
    """

    def __init__(self, option_strings: list[str], dest: str, *, at_last: bool = False, **rest: Any) -> None:
        super().__init__(option_strings, dest, default={}, **rest)
        self._at_last = at_last

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: object = None
    ) -> None:
        """Take one more."""
        text = str(values)
        key, separator, value = text.rpartition("=") if self._at_last else text.partition("=")
        pairs = getattr(namespace, self.dest)
        if not separator or not key.strip():
            raise argparse.ArgumentError(self, f"{values!r} is not {self.metavar}")
        if key in pairs:
            raise argparse.ArgumentError(self, f"{key} is given twice: {pairs[key]!r} and {value!r}")
        setattr(namespace, self.dest, {**pairs, key: value})


def refuse_unread(options: argparse.Namespace, names: Iterable[str], reason: str) -> None:
    """Refuse arguments that the others leave without effect.

    Args:
        options: The arguments.
        names: Those that nothing would read; what is not given is None, False or empty.
        reason: Why, and what to give instead.

    Raises:
        SentimentError: One of them is given.
    """
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name)]
    if given:
        raise SentimentError(f"{', '.join(given)} would be ignored.", reason)


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds, as the `type` of an argument."""
    bounds = f"from {least} on" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number {bounds}")
        return int(text)

    return read


def add_sweep(parser: argparse.ArgumentParser, otherwise: str = "") -> None:
    """Add STUDY, the sweep that a command is about; `otherwise`: which one it is without that, in words."""
    meaning = "a sweep's folder, its name under multirun/, or its MLflow parent run"
    told = f"{meaning}; without it: {otherwise}" if otherwise else meaning
    parser.add_argument("study", nargs="?" if otherwise else None, metavar="STUDY", help=told)


def add_tracking_uri(
    parser: argparse.ArgumentParser, meaning: str = "MLflow store (default: MLFLOW_TRACKING_URI, mlflow.db)"
) -> None:
    """Add an MLflow store; a password in it goes into the environment, and is for this server."""
    parser.add_argument("--tracking-uri", type=take_tracking_uri, metavar="URI", help=meaning)


def add_page_arguments(parser: argparse.ArgumentParser, *, output: str, log: str) -> None:
    """Add what a page of mistakes shows and where it goes.

    Args:
        parser: Of the command.
        output: The default of ``--output``, in words.
        log: What ``--log`` does.
    """
    parser.add_argument("--output", type=expand_home, metavar="FOLDER", help=f"where to write (default: {output})")
    parser.add_argument(
        "--mistakes", type=whole_number(0), default=12, metavar="N",
        help="mistakes shown, the most confident first (12)",
    )  # fmt: skip
    parser.add_argument(
        "--explain", action=argparse.BooleanOptionalAction, default=True, help="colour the words that decided (on)"
    )
    parser.add_argument("--log", action=argparse.BooleanOptionalAction, default=True, help=f"{log} (on)")

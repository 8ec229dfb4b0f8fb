"""Arguments that several commands have: alike in name, form and help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds, as the `type` of an argument."""
    bounds = f"from {least} on" if most is None else f"from {least} to {most}"

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number {bounds}")
        return int(text)

    return read


def add_tracking_uri(parser: argparse.ArgumentParser) -> None:
    """Add the MLflow store in which runs are looked for."""
    parser.add_argument("--tracking-uri", metavar="URI", help="MLflow store (default: MLFLOW_TRACKING_URI, mlflow.db)")


def add_page_arguments(parser: argparse.ArgumentParser, *, output: str, log: str) -> None:
    """Add what a page of mistakes shows and where it goes.

    Args:
        parser: Of the command.
        output: The default of ``--output``, in words.
        log: What ``--log`` does.
    """
    parser.add_argument("--output", type=Path, metavar="FOLDER", help=f"where to write (default: {output})")
    parser.add_argument(
        "--mistakes", type=whole_number(0), default=12, metavar="N",
        help="mistakes shown, the most confident first (12)",
    )  # fmt: skip
    parser.add_argument(
        "--explain", action=argparse.BooleanOptionalAction, default=True, help="colour the words that decided (on)"
    )
    parser.add_argument("--log", action=argparse.BooleanOptionalAction, default=True, help=f"{log} (on)")

"""``python -m sentiment watch [STUDY]``: the report of a running sweep, in a browser, as its trials report."""

from __future__ import annotations

import argparse

from sentiment.commands.arguments import add_sweep, whole_number

SUMMARY = "serve the report of a running study: it follows its trials, ends one, or stops the study after them"

DESCRIPTION = (
    f"{SUMMARY}. The address that is printed holds a token: whoever has it may look and stop. "
    "Ctrl-C ends the page; the study goes on."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.description = DESCRIPTION
    add_sweep(parser, otherwise="the newest one that runs, or else the newest")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; other machines reach the page only with one of this machine's, or 0.0.0.0 for all "
        "(plain HTTP: rather forward the port, ssh -L 8500:127.0.0.1:8500)",
    )
    parser.add_argument(
        "--port", type=whole_number(0, 65535), metavar="PORT", help="port; without it: 8500, or the next that is free"
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")


def run(options: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        SentimentError: There is no such sweep, or its page cannot be served there.
    """
    from functools import partial

    from sentiment.report.sweep.names import find_newest, find_sweep
    from sentiment.report.sweep.page import count_trials, write_headline
    from sentiment.report.sweep.server import LiveServer
    from sentiment.search.study.stop import request_stop
    from sentiment.tracking.runs import MULTIRUN_DIR

    sweep_dir = find_newest(MULTIRUN_DIR) if options.study is None else find_sweep(options.study, MULTIRUN_DIR)
    with LiveServer(options.host, options.port, sweep_dir, partial(request_stop, sweep_dir)) as server:
        _, standing = server.page.look()
        print(f"{write_headline(server.page.table)} {count_trials(server.page.table)}")
        print(f"{sweep_dir.name}: {standing}\n\n  {server.url}\n\nCtrl-C ends the page; the study goes on.", flush=True)
        if options.open:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nThe page has ended; a study that runs goes on.")

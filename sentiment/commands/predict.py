"""``python -m sentiment predict``: labels and probabilities for texts, and the words that decided."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sentiment.commands.arguments import CollectPairs, add_tracking_uri, refuse_unread, whole_number
from sentiment.errors import SentimentError, first_line
from sentiment.format import format_count
from sentiment.paths import expand_home

if TYPE_CHECKING:
    from sentiment.models.attribution import Attribution
    from sentiment.models.bundle import Predictor
    from sentiment.report.predictions import Format, PredictionWriter

SUMMARY = "label texts with a trained model, and show which words decided"

CHUNK_TEXTS = 1024
"""Texts that are read, sorted by length and answered together; bounds the memory for a file of any size."""

MOST_THREADS = 1024
"""As ``trainer.threads``: far more of them and torch ends with a segmentation fault."""

BROKEN_PIPE_EXIT_CODE = 141
"""128 + SIGPIPE, as of any program whose reader has gone: ``| head``."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("texts", nargs="*", metavar="TEXT", help="texts; without any, and without --file: stdin")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="run (NAME/NUMBER, folder, MLflow run id), bundle folder, checkpoints/best.ckpt, or registered model "
        "(sentiment-imdb, sentiment-imdb/3, models:/sentiment-imdb@champion); default: the latest finished run",
    )
    parser.add_argument(
        "--file", type=expand_home, help="one file of any kind that data=files reads, or .txt with one text per line"
    )
    parser.add_argument("--text-column", metavar="NAME", help="name or number (default: text)")
    parser.add_argument(
        "--read",
        action=CollectPairs,
        metavar="KEY=VALUE",
        help="what is not to be detected in --file: format, delimiter, quoting, encoding or header, as in data=files",
    )
    parser.add_argument(
        "--format",
        choices=("table", "csv", "jsonl"),
        help="default: table, or by --output's ending; csv is for spreadsheets too: a text or label that they would "
        "take for a formula (= + - @) has ' before it; jsonl has every text as it was",
    )
    parser.add_argument("--output", type=expand_home, metavar="FILE", help="write to FILE.csv or FILE.jsonl")
    parser.add_argument("--explain", action="store_true", help="show which words spoke for the label, and against it")
    parser.add_argument(
        "--batch-size", type=whole_number(1), default=64, metavar="B", help="texts per batch (default: 64)"
    )
    parser.add_argument("--device", default="auto", help="auto: a CUDA GPU, or the CPU; cpu, cuda, cuda:1, mps")
    parser.add_argument("--threads", type=whole_number(1, MOST_THREADS), metavar="N", help="CPU threads")
    parser.add_argument(
        "--multirun-dir", type=expand_home, metavar="FOLDER", help="where runs lie (default: multirun/)"
    )
    add_tracking_uri(parser)


def run(options: argparse.Namespace) -> None:
    """Predict.

    Raises:
        SentimentError: The model or the texts cannot be read.
    """
    import torch

    from sentiment.report.predictions import open_writer
    from sentiment.training.device import name_cpu

    form = _choose_format(options)
    if options.texts and options.file:
        raise SentimentError("Texts and --file are given together.", "give one of the two")
    if options.file and options.output and options.output.resolve() == options.file.resolve():
        raise SentimentError(
            f"--output={options.output} is --file: its other columns, labels among them, would be lost.",
            "choose another file",
        )
    if not options.file:
        refuse_unread(options, ("text_column", "read"), "they say how --file is read: give it, or leave them out")
    if sys.stdin is None and not options.texts and not options.file:
        raise SentimentError("There are no texts: standard input is closed.", "give texts, or --file FILE")
    if sys.stdout is None and not options.output:
        raise SentimentError("Standard output is closed, and nothing would be written.", "give --output FILE")
    if not options.output:  # programs read UTF-8 whatever the locale; what a terminal lacks is shown by its number
        sys.stdout.reconfigure(  # type: ignore[union-attr]
            encoding="utf-8" if form != "table" else None, errors="backslashreplace" if form == "table" else None
        )
    predictor, description = _load(options)
    print(f"Model: {description}", file=sys.stderr)
    try:
        with open_writer(form, options.output, predictor.class_names) as writer:
            throughput = _predict_all(options, predictor, writer)
        print(end="", flush=True)
    except BrokenPipeError:
        # Nobody reads on. What is left in the buffer has nowhere to go, so that Python must not try at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(BROKEN_PIPE_EXIT_CODE) from None
    device = str(next(predictor.network.parameters()).device)
    name = name_cpu(torch.get_num_threads()) if device == "cpu" else device
    print(f"{throughput}, batches of {options.batch_size} on {name}", file=sys.stderr)


def _predict_all(options: argparse.Namespace, predictor: Predictor, writer: PredictionWriter) -> str:
    """Predict, and say how much was done; reading and writing do not count, the first batch's warming up does."""
    from sentiment.data.texts import take_chunks
    from sentiment.models.attribution import attribute

    count, tokens, seconds = 0, 0, 0.0
    alone = not options.texts and not options.file and sys.stdin.isatty()  # a person types: answer every line at once
    for texts in take_chunks(_read(options), 1 if alone else CHUNK_TEXTS):
        start = time.perf_counter()
        predictions = predictor.predict(texts, options.batch_size)
        seconds += time.perf_counter() - start
        count, tokens = count + len(texts), tokens + predictions.tokens
        explanations: Iterable[Attribution | None] = (
            (attribute(predictor, [text])[0] for text in texts) if options.explain else (None for _ in texts)
        )
        writer.write(texts, predictions, explanations)
    if not count:
        return "No texts"
    seconds = max(seconds, 1e-9)
    done = f"{format_count(count, 'text')}, {format_count(tokens, 'token')} in {seconds:.2f} s"
    return f"{done}: {count / seconds:,.0f} texts/s, {tokens / seconds:,.0f} tokens/s"


def _read(options: argparse.Namespace) -> Iterator[str]:
    from sentiment.data.files.records import make_row
    from sentiment.data.texts import make_options, read_lines, read_texts, take_texts

    if options.texts:
        rows = (make_row(n, text, None, has_label=False) for n, text in enumerate(options.texts, start=1))
        return take_texts(rows, "command line", "text")
    if options.file:
        return read_texts(options.file, make_options(options.text_column or "text", options.read))
    if sys.stdin.isatty():
        print("Type one text per line; Ctrl-D ends.", file=sys.stderr)
    # As of a file, a byte order mark is no part of the first text.
    sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape")  # type: ignore[union-attr]
    return read_lines(sys.stdin, "standard input")


def _load(options: argparse.Namespace) -> tuple[Predictor, str]:
    import torch

    from sentiment.tracking.model_source import find_model_source
    from sentiment.tracking.runs import MULTIRUN_DIR, choose_tracking_uri

    if options.threads:
        torch.set_num_threads(options.threads)
    device = _choose_device(options.device)
    uri = choose_tracking_uri(options.tracking_uri)
    source = find_model_source(options.model, options.multirun_dir or MULTIRUN_DIR, uri)
    return source.load(device), source.title


def _choose_device(name: str) -> str:
    import torch

    from sentiment.training.device import find_device

    if name == "auto":
        return find_device("auto").type
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = " and ".join(dict.fromkeys(["cpu", find_device("gpu").type]))
        raise SentimentError(
            f"--device={name} cannot be used: {first_line(error)}", f"here torch has {found}; auto takes one of them"
        ) from error
    return name


def _choose_format(options: argparse.Namespace) -> Format:
    by_ending: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl"}
    chosen: Format | None = options.format
    if options.output is not None:
        chosen = by_ending.get(options.output.suffix.lower())
        if chosen is None or (options.format or chosen) != chosen:
            given = f" with --format={options.format}" if options.format else ""
            raise SentimentError(f"--output={options.output}{given}: the ending decides.", "end it in .csv or .jsonl")
    if chosen == "csv" and options.explain:
        raise SentimentError("--explain has no place in a CSV.", "take --format=jsonl, which lists words and shares")
    return chosen or "table"

"""``python -m sentiment evaluate --model M --file reviews.csv``: a trained model on any labelled reviews.

python -m sentiment evaluate --model imdb --file reviews.csv --label pos=positive --label neg=negative
python -m sentiment evaluate --model SWEEP/0 --data data=imdb data.path=FOLDER         # the test reviews of that data
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment.commands.arguments import CollectPairs, add_page_arguments, add_tracking_uri, refuse_unread
from sentiment.errors import SentimentError, TrackingError
from sentiment.paths import expand_home

if TYPE_CHECKING:
    from sentiment.config.schema import DataSettings
    from sentiment.data.texts import LabelledReviews
    from sentiment.tracking.model_source import ModelSource

SUMMARY = "evaluate a model on labelled reviews: metrics with intervals, confusion, calibration, its worst mistakes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--model",
        metavar="M",
        help="a run, bundle, checkpoint or registered model, as for predict (default: latest run)",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--file", type=expand_home, help="labelled reviews: one file of any kind that data=files reads")
    what.add_argument(
        "--data",
        nargs="+",
        metavar="KEY=VALUE",
        help="data of this project: its test reviews, which the model cuts and encodes in its own way",
    )
    parser.add_argument("--text-column", metavar="NAME", help="name or number (default: text)")
    parser.add_argument("--label-column", metavar="NAME", help="name or number (default: label)")
    parser.add_argument(
        "--read", action=CollectPairs, metavar="KEY=VALUE", help="what is not to be detected, as for predict"
    )
    parser.add_argument(
        "--label",
        action=CollectPairs,
        at_last=True,
        metavar="LABEL=CLASS",
        help="class of the model that a label stands for (pos=positive); LABEL= leaves its reviews out",
    )
    parser.add_argument(
        "--with-learned",
        action="store_true",
        help="measure also reviews that the model was trained on, selected by or learned words from (default: they are "
        "left out)",
    )
    add_page_arguments(
        parser,
        output="a folder evaluation_REVIEWS_... of model and reviews",
        log="record it beside the model in MLflow",
    )
    add_tracking_uri(parser)


def run(options: argparse.Namespace) -> None:
    """Evaluate, write the page, print the figures, and record them.

    Raises:
        SentimentError: The model or the reviews cannot be read, or a label is no class of the model.
    """
    from sentiment.data.texts import read_data_set, read_labelled_file
    from sentiment.report.errors.evaluation import evaluate, print_metrics
    from sentiment.report.errors.page import write_report
    from sentiment.report.errors.summary import print_findings
    from sentiment.tracking.model_source import find_model_source
    from sentiment.tracking.runs import MULTIRUN_DIR, choose_tracking_uri

    data = None if options.data is None else _read_data(options)
    source = find_model_source(options.model, MULTIRUN_DIR, choose_tracking_uri(options.tracking_uri))
    predictor = source.load()
    if data is None:
        columns = options.text_column or "text", options.label_column or "label"
        reviews = read_labelled_file(options.file, predictor.class_names, options.label, *columns, options.read)
    else:
        reviews = read_data_set(data, predictor.class_names, options.label)
    evaluation = evaluate(
        predictor, reviews, f"{source.title} on {reviews.name}", shown=options.mistakes,
        explain=options.explain, with_learned=options.with_learned,
    )  # fmt: skip
    folder = options.output or _name_folder(source, evaluation.reviews)
    files = write_report(evaluation.errors, folder)
    print_findings(evaluation.errors)
    print()
    print_metrics(evaluation)
    print(f"\n{files[0]} shows it; tables/ and plots/ beside it hold {len(files) - 1} files.", flush=True)
    uri = options.tracking_uri or source.store
    if options.log and source.is_beside and options.tracking_uri is None and (absence := _explain_absence(source)):
        print(f"Not recorded: {absence}")
    elif options.log and uri is not None and source.run_id is not None:
        from sentiment.tracking.mlflow.registry import record_evaluation

        values = {name: interval.value for name, interval in evaluation.metrics.items()}
        run_id = record_evaluation(
            uri, source.run_id, reviews.name, evaluation.reviews.digest, values, files, folder,
            learned=evaluation.learned, left_out=evaluation.left_out, left_out_labels=evaluation.reviews.left_out,
        )  # fmt: skip
        print(f"Recorded as the MLflow run {run_id}, an evaluation of the model of {source.run_id}.")
    elif options.log:
        print("Not recorded: no run in MLflow is known whose model it is.")


def _explain_absence(source: ModelSource) -> str:
    """Return why the store of the record beside a model does not have its run; empty where it does.

    Nobody named that run or store, and the files may be a copy from another machine.
    """
    from sentiment.tracking.mlflow.store import get_run, open_client

    if source.store is None or source.run_id is None:
        return ""
    try:
        get_run(
            open_client(source.store), source.store, source.run_id, "--tracking-uri URI names the store that has it"
        )
    except TrackingError as error:
        return str(error)
    return ""


def _name_folder(source: ModelSource, reviews: LabelledReviews) -> Path:
    """Name the folder of the page, another one for each model and for each choice of reviews."""
    model = source.checkpoint or source.run_id or source.bundle.absolute()
    key = hashlib.sha256(f"{model} {reviews.digest}".encode()).hexdigest()[:6]
    return Path(f"evaluation_{reviews.short_name}_{key}")


def _read_data(options: argparse.Namespace) -> DataSettings:
    """Read the settings of ``--data``, and refuse what would change nothing."""
    from sentiment.config.command_line import compose_settings
    from sentiment.config.option import find_option, takes

    refuse_unread(
        options,
        ("text_column", "label_column", "read"),
        "they say how --file is read; data.text_column=NAME, say, is for --data",
    )
    others = [override for override in options.data if not override.lstrip("+~").startswith(("data=", "data."))]
    if others:
        raise SentimentError(
            f"--data takes settings of data alone, and {', '.join(others)} would be ignored: the model is trained.",
            "leave them out",
        )
    data = compose_settings(options.data).data
    source = find_option(data).load()
    keys = [override.lstrip("+~").partition("=")[0] for override in options.data]
    unread = [key for key in keys if key != "data" and not takes(source, key.split(".")[1])]
    if unread:
        raise SentimentError(
            f"--data takes what reads the reviews of data={data.name}, and {', '.join(unread)} would be ignored: they "
            "say how a model that is trained takes them, and this one is trained.",
            "leave them out; all of the test reviews are measured",
        )
    return data

"""``python -m sentiment best STUDY``: the best trial as an experiment of its own, and its model in the registry.

python -m sentiment best transformer                    # conf/experiment/transformer_best.yaml, champion
python -m sentiment best transformer --rank 2 --name second --no-register
"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from sentiment.commands.arguments import add_sweep, add_tracking_uri, whole_number

if TYPE_CHECKING:
    from sentiment.report.sweep.best import BestTrial

SUMMARY = "write a sweep's best trial as conf/experiment/NAME.yaml, and register its model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_sweep(parser)
    parser.add_argument("--name", help="name of the experiment (default: the study's name and _best)")
    parser.add_argument(
        "--rank", type=whole_number(1), default=1, metavar="N", help="the N-th best instead (default: 1)"
    )
    registry = parser.add_mutually_exclusive_group()
    registry.add_argument(
        "--register-as", metavar="NAME", help="registered model in MLflow (default: sentiment- and the data's name)"
    )
    registry.add_argument("--no-register", action="store_true", help="leave MLflow's registry alone")
    parser.add_argument(
        "--force", action="store_true", help="replace an experiment of other content, and the present champion"
    )
    add_tracking_uri(parser, "MLflow store (default: the one the run was recorded in)")


def run(options: argparse.Namespace) -> None:
    """Write the experiment, print its command, and register the model.

    Raises:
        SentimentError: There is no such sweep or trial, the experiment cannot be written, or a model cannot be
            registered under the name that was asked for.
    """
    from sentiment.config import home
    from sentiment.config.experiment_file import write_experiment
    from sentiment.report.sweep.best import choose_best, name_experiment
    from sentiment.report.sweep.names import open_sweep
    from sentiment.tracking.anew import pin_models
    from sentiment.tracking.params import read_settings

    table, sweep_dir = open_sweep(options.study, options.tracking_uri)
    best = choose_best(table, sweep_dir, options.rank)
    experiment = write_experiment(
        read_settings({**best.record.params, **pin_models(best.record)}),
        options.name or name_experiment(best),
        home.PROJECT_DIR / "conf",
        origin=best.describe(in_full=True),
        shares=best.record.shares,
        force=options.force,
    )
    print("\n".join([*best.describe(), *table.notes]))
    print(f"\n{experiment.file} {'was written' if experiment.is_new else 'says so already'}. Train it again:\n")
    print(f"  {shlex.join(experiment.command)}\n")
    if not options.no_register:
        _register(best, options.register_as, options.tracking_uri, force=options.force)


def _register(best: BestTrial, name: str | None, tracking_uri: str | None, *, force: bool) -> None:
    """Register the model; what stands in the way is an error only where a name was asked for."""
    from sentiment.config.home import read_portable
    from sentiment.errors import TrackingError
    from sentiment.report.sweep.best import name_model
    from sentiment.tracking.mlflow.delivery import settle_adopted
    from sentiment.tracking.mlflow.registry import RegistryError, register_champion

    try:
        uri = tracking_uri or read_portable(best.record.params["tracking.uri"])
        run_id = settle_adopted(best.record, uri)
        if run_id is None:
            raise RegistryError(
                "The run is not in MLflow, so its model cannot be registered.",
                "python -m sentiment sync, where MLflow was away; where it was deleted there, remove mlflow.json in "
                "its folder first; else train it again with tracking=mlflow: the command above does",
            )
        registration = register_champion(
            uri,
            name or name_model(best),
            run_id,
            objective=best.objective,
            value=best.run_value,
            direction=best.table.directions[0],
            study=best.table.name,
            force=force,
        )
    except TrackingError as error:
        if name is not None:
            raise
        print(f"Not registered. {error}")
        return
    state = "Registered" if registration.is_new else "Registered already:"
    print(f"{state} {registration.name} version {registration.version} as {registration.alias}: {registration.reason}.")

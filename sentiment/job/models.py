"""Find the trained models that a run needs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sentiment.config.option import find_option
from sentiment.config.schema import Settings
from sentiment.errors import Fault, ModelFileError, SentimentError

if TYPE_CHECKING:
    from sentiment.tracking.model_source import ModelSource


def list_models(settings: Settings) -> list[tuple[str, str]]:
    """List the trained models that a run needs: the key of each, and its name."""
    trainer = settings.trainer
    starts = [] if trainer.init_from is None else [trainer.init_from]
    return [("trainer.init_from", name) for name in starts] + [
        ("trainer.teachers", name) for name in trainer.teachers or ()
    ]


def find_missing_models(settings: Settings) -> list[Fault]:
    """Return a fault for each trained model that does not exist, and one for teachers that have nothing to answer."""
    uri, is_try = settings.tracking.uri, settings.trainer.debug is not None
    faults = [_explain_missing(key, name, uri, is_try) for key, name in list_models(settings)]
    if settings.trainer.teachers is not None and not hasattr(find_option(settings.data).load(), "load_unlabelled"):
        problem = f"they answer reviews without labels, and data={settings.data.name} has none"
        remedy = "leave them out, or take data that has: data=imdb, or data=files data.unlabelled_path=FILE"
        faults.append(Fault("trainer.teachers", problem, remedy))
    return [fault for fault in faults if fault is not None]


@cache
def _explain_missing(key: str, name: str, uri: str, is_try: bool) -> Fault | None:
    """Return why a key's model is not there; None: it is. A registered one is looked for later."""
    if name.startswith("models:/"):
        return None
    try:
        _find_source(name, uri, is_try)
    except SentimentError as error:
        return Fault.of(key, error)
    return None


def _find_source(name: str, uri: str, is_try: bool) -> ModelSource:
    """Find a trained model; one of a try (debug) is no result, but another try may learn from it."""
    from sentiment.tracking.model_source import find_model_source
    from sentiment.tracking.runs import MULTIRUN_DIR

    source = find_model_source(name, MULTIRUN_DIR, uri)
    if source.is_try and not is_try:
        raise ModelFileError(f"The model {name} is a try (debug), and no result.", "train it without debug")
    return source


def find_model(name: str, settings: Settings) -> ModelSource:
    """Find a trained model by the name of its run, bundle, checkpoint or registered version.

    Raises:
        ModelFileError: There is no such model, or it is a try and this run none.
        TrackingError: There is no such run or registered model.
    """
    return _find_source(name, settings.tracking.uri, settings.trainer.debug is not None)

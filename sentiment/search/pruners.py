"""Pruners by name: Optuna's, and the schedulers of this engine."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from hydra.errors import InstantiationException
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner

from sentiment.errors import ConfigError, Fault
from sentiment.private import construct
from sentiment.search.study.population import PopulationPruner
from sentiment.search.study.promotion import PromotionPruner

SCHEDULERS = [f"{kind.__module__}.{kind.__qualname__}" for kind in (PromotionPruner, PopulationPruner)]


def build_pruner(config: Mapping[str, Any] | None) -> BasePruner:
    """Build the pruner of ``hydra.sweeper.pruner``; None prunes nothing.

    Raises:
        ConfigError: It cannot be built with these values.
    """
    if config is None:
        return NopPruner()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # people chose it
            pruner = construct(config, ("optuna.pruners.*", *SCHEDULERS))
    except (InstantiationException, ValueError, TypeError) as error:
        problem = " ".join(str(error.__cause__ or error).split())
        remedy = "see its keys and their values: docs/configuration/search.md"
        raise ConfigError([Fault("hydra.sweeper.pruner", f"cannot be built: {problem}", remedy)]) from error
    assert isinstance(pruner, BasePruner), f"hydra.sweeper.pruner gives {pruner!r}"
    return pruner

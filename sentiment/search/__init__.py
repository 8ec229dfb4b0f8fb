"""The sweep engine: an Optuna study behind a Hydra sweeper that prunes, never waits, survives and resumes.

For any Hydra application: call `register` before ``hydra.main`` and select the sweeper with ``hydra/sweeper=study``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from sentiment.errors import Fault


def register(
    *,
    find_faults: Callable[[DictConfig], Sequence[Fault]] | None = None,
    identify_data: Callable[[DictConfig], str] | None = None,
    is_checked: bool = False,
) -> None:
    """Make the sweeper ``study`` and its pruners known to Hydra; safe to call again.

    Light: neither Optuna nor torch is imported before a study starts.

    Args:
        find_faults: Lists what is wrong with one composed configuration; asked about every corner of a search before
            its first trial.
        identify_data: Names the data that a configuration reads; trials on other data are never taken for equal.
        is_checked: The application has checked the corners of the search itself, before Hydra started.
    """
    from sentiment.search.plugin.registration import Application, register_with_hydra

    register_with_hydra(Application(find_faults, identify_data, is_checked))

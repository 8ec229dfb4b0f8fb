"""The sweep engine: an Optuna study behind a Hydra sweeper that keeps all workers busy, prunes and resumes.

For any Hydra application: select the sweeper with ``hydra/sweeper=study``. Where this package is installed, that is
all; where it is only importable, call `register` before ``hydra.main``. The decorator
`sentiment.search.application.searchable` tells the engine what it has to know of an application's configurations.
"""

from __future__ import annotations


def register() -> None:
    """Make the sweeper ``study`` and its pruners known to Hydra; safe to call again.

    Light: neither Optuna nor torch is imported before a study starts.
    """
    from sentiment.search.plugin.registration import register_with_hydra

    register_with_hydra()

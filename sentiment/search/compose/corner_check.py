"""Checks a whole search before its first trial: every choice, both ends of every interval, every branch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sentiment.errors import ConfigError, Fault

Validator = Callable[[DictConfig], Sequence[Fault]]
"""An application's check of one composed configuration."""


def check_corners(
    corners: Sequence[Mapping[str, Any]],
    to_overrides: Callable[[Mapping[str, Any]], tuple[str, ...]],
    compose: Callable[[Sequence[str]], DictConfig],
    validate: Validator | None,
) -> None:
    """Compose every corner of a space, and validate it where the application can.

    Args:
        corners: Complete points.
        to_overrides: Turns a point into overrides.
        compose: Composes overrides.
        validate: The application's own check.

    Raises:
        ConfigError: With every fault of every corner, each once.
    """
    faults: dict[Fault, None] = {}
    for corner in corners:
        overrides = to_overrides(corner)
        try:
            config = compose(overrides)
        except (HydraException, OmegaConfBaseException) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            faults[_blame(overrides, reason)] = None
            continue
        if validate is not None:
            faults |= dict.fromkeys(validate(config))
    if faults:
        raise ConfigError(list(faults))


def _blame(overrides: Sequence[str], reason: str) -> Fault:
    """Name the override that the reason speaks of, else the whole point."""
    for override in overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+~") in reason or (value and value in reason):
            return Fault(key, f"cannot be composed with {override} ({reason})", "correct the search space")
    return Fault(" ".join(overrides), f"cannot be composed ({reason})", "correct the search space")

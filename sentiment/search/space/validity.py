"""Which points of a space satisfy the constraints, given the rest of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sentiment.search.space.constraints import Constraints
from sentiment.search.space.parameters import Space

Validity = Callable[[Mapping[str, Any]], bool]


def make_validity(lines: Sequence[str], space: Space, config: DictConfig) -> Validity | None:
    """Make the test of a point.

    A constraint may name keys that are not searched: they have the value of the composed configuration. Keys inside a
    config group that is searched itself (``model.heads`` where ``model`` is drawn) are known only where the point sets
    them, since another option may not have them; a constraint on an unknown key holds.

    Args:
        lines: The constraints.
        space: The space.
        config: The composed configuration of the study.

    Returns:
        Tells whether a point (parameter names to values) is valid; None: there are no constraints.

    Raises:
        ConfigError: With every constraint that cannot be read.
    """
    if not lines:
        return None
    constraints = Constraints.parse(lines)
    searched = tuple(f"{parameter.key.lstrip('+')}." for parameter in space.parameters)
    fixed = {
        name: OmegaConf.select(config, name, throw_on_missing=False)
        for name in constraints.names()
        if not name.startswith(searched)
    }
    known = {name: value for name, value in fixed.items() if value is not None}
    return lambda point: constraints.holds({**known, **space.settings(point)})

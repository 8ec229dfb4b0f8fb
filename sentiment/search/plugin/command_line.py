"""The points of a search that a command line is checked at, before Hydra starts anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from sentiment.search.application import Application

STUDY_SWEEPER = "sentiment.search.plugin.sweeper.StudySweeper"


def list_search_points(
    config: DictConfig,
    lines: Sequence[str],
    choices: Mapping[str, str],
    loader: ConfigLoader,
    *,
    application: Application | None = None,
) -> list[tuple[str, ...]]:
    """List the overrides of every corner of a command's search space.

    Args:
        config: The configuration that the command's fixed overrides compose, with Hydra's node.
        lines: The command line's task overrides.
        choices: Option of every config group.
        loader: Hydra's loader.
        application: Whose check it is: the engine does not check the same points again.

    Raises:
        ConfigError: With every fault of the space and its constraints.
    """
    from sentiment.search.space.constraints import make_validity
    from sentiment.search.space.corners import list_corners
    from sentiment.search.space.reading import read_space  # Optuna takes its time, which other commands save

    sweeper = config.hydra.sweeper
    params, branches, constraints = (
        OmegaConf.to_container(sweeper[key] or OmegaConf.create(empty), resolve=True)
        for key, empty in (("params", {}), ("branches", {}), ("constraints", []))
    )
    space = read_space(lines, params, branches, loader, chosen=choices)  # type: ignore[arg-type]
    is_valid = make_validity(constraints, space, config)  # type: ignore[arg-type]
    corners = list_corners(space, is_valid=is_valid or (lambda point: True))
    points = [space.to_overrides(corner) for corner in corners]
    if application is not None:
        application.checked.update(points)
    return points

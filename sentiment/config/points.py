"""The points of a sweep: which configurations a multirun command stands for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override


def list_points(overrides: Sequence[Override], *, is_grid: bool) -> Iterator[list[Override]]:
    """Give the overrides of every point that a command stands for.

    Hydra's own sweeper runs the whole grid, so the whole grid is listed. Other sweepers draw points of their own
    choosing: for those the first point is listed, and each further value (both ends of an interval) alone beside it.

    Args:
        overrides: Fixed and swept overrides; of two with the same key the later one counts, as in Hydra.
        is_grid: Whether every combination runs.
    """
    by_key = {override.get_key_element(): override for override in overrides}
    axes = [_list_values(override) for override in by_key.values()]
    if is_grid:
        yield from (list(point) for point in itertools.product(*axes))
        return
    first = [axis[0] for axis in axes]
    yield first
    for index, axis in enumerate(axes):
        for value in axis[1:]:
            yield [*first[:index], value, *first[index + 1 :]]


def _list_values(override: Override) -> list[Override]:
    if not override.is_sweep_override():
        return [override]
    key = override.get_key_element()
    value = override.value()
    if isinstance(value, IntervalSweep):
        texts = [str(value.start), str(value.end)]
    else:
        texts = list(override.sweep_string_iterator())
    parser = OverridesParser.create(config_loader=override.config_loader)
    return parser.parse_overrides([f"{key}={text}" for text in texts])

"""Protocols for what a stored study has to know of its search; `sentiment.search.search.Search` fulfils them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from sentiment.search.options import StudyOptions
from sentiment.search.space.constraints import Validity
from sentiment.search.space.parameters import LabelledPoint, Point
from sentiment.search.space.points import Key, PointReader
from sentiment.search.study.definition import Definition
from sentiment.search.study.outcome import RepeatPlan


class Searched(Protocol):
    """What a stored study has to know of its search; see `sentiment.search.search.Search`."""

    @property
    def options(self) -> StudyOptions: ...  # noqa: D102

    @property
    def sampler(self) -> BaseSampler: ...  # noqa: D102

    @property
    def pruner(self) -> BasePruner: ...  # noqa: D102

    @property
    def total(self) -> int: ...  # noqa: D102

    @property
    def repeats(self) -> RepeatPlan: ...  # noqa: D102

    @property
    def study_dir(self) -> Path: ...  # noqa: D102

    @property
    def reader(self) -> PointReader: ...  # noqa: D102

    @property
    def grid(self) -> Mapping[Key, Point] | None: ...  # noqa: D102

    @property
    def is_valid(self) -> Validity: ...  # noqa: D102

    def suggest(self, trial: optuna.Trial) -> Mapping[str, Any]: ...  # noqa: D102


class GrowingSearch(Searched, Protocol):
    """A search that may have changed since its study was stored."""

    def describe(self) -> Definition: ...  # noqa: D102

    def list_starts(self) -> Sequence[LabelledPoint]: ...  # noqa: D102

    def read_definition(self, content: Mapping[str, Any]) -> Definition: ...  # noqa: D102

    def find_names(self, known: Mapping[str, str]) -> dict[str, str]: ...  # noqa: D102

    def continue_from(self, definition: Definition) -> GrowingSearch: ...  # noqa: D102

"""What a study is about, so that nobody goes on with another study by mistake; and what it has to know of its search.

Its space and its fixed settings define it. The space and its constraints may change: the trials that are points of the
new space count, and its points that no trial has are run. Another sampler or pruner is logged. Any other change is
refused, or needs ``allow_changes``.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from sentiment.errors import SentimentError
from sentiment.flat import is_within
from sentiment.format import join_names, list_first
from sentiment.search.options import StudyOptions
from sentiment.search.space.parameters import LabelledPoint, Point, name_key
from sentiment.search.space.points import Key, PointReader
from sentiment.search.study.outcome import RepeatPlan

LIMIT_KEY = "hydra.sweeper.limits."

SHOWN = 12
"""Differences that an error lists; one screen."""


class StudyChangedError(SentimentError):
    """The command differs from the study that is stored under its name."""


@dataclass(frozen=True)
class Definition:
    """What a study is about."""

    space: Mapping[str, str]  # parameters, as `Space.describe` tells them
    # Resolved settings that are the same in all trials, flattened; and what the options of a searched config group set,
    # as ``key (group=option)``.
    settings: Mapping[str, str]
    directions: Sequence[str]  # direction of every objective
    repeats: str  # seeds of every point, and how they are combined
    objectives: Sequence[str] = ()  # names of the objectives; empty where they have none
    # Setting to the value that trials have which were drawn before it was searched.
    defaults: Mapping[str, str] = field(default_factory=dict)
    # Setting to how it is written, where it follows others by interpolation; None: an earlier version.
    interpolations: Mapping[str, str] | None = None
    # Keys that follow what is searched, or was: `settings` has the configuration's value, each trial its own.
    followers: Sequence[str] = ()
    # Every name that a parameter has ever had in Optuna, to its distribution as JSON.
    names: Mapping[str, str] = field(default_factory=dict)
    has_grown: bool = False  # the study has had another space
    # What every point has to satisfy; what an earlier version did not keep counts as new.
    constraints: Sequence[str] = ()
    # How it is searched: sampler, pruner, their keys, and margin; empty: an earlier version did not keep it.
    way: Mapping[str, str] = field(default_factory=dict)
    # The option of every config group that is not searched; None: an earlier version, which told of an option only what
    # it sets within its group.
    options: Mapping[str, str] | None = None
    # Dotted path of the application's own search space; empty: there is none; None: an earlier version did not keep it.
    custom_space: str | None = None
    # The same of trials that do not say which function drew of them, as those of an earlier version.
    custom_before: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what a storage keeps."""
        return {**asdict(self), "directions": list(self.directions), "objectives": list(self.objectives)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Definition:
        """Read what a storage kept; what another version kept beside it is left out."""
        return cls(**{one.name: content[one.name] for one in fields(cls) if one.name in content})

    def follow(self, stored: Definition) -> Definition:
        """Return this definition with what the study has from before: names, and defaults of what is searched now."""
        keys = {name_key(name) for name in self.space}
        followers = set(stored.followers)
        if stored.interpolations is None:  # nobody knows what followed keys that are fixed now
            followers = {name.partition(" ")[0] for name in self.interpolations or ()}
        found = {
            key: value
            for key, value in stored.settings.items()
            if is_within(bare := key.partition(" ")[0], keys) and bare not in followers
        }
        # Earlier versions took the configuration's own number for what such a key had in each trial.
        defaults = {key: value for key, value in stored.defaults.items() if key.partition(" ")[0] not in followers}
        new = keys.difference(map(name_key, stored.space))
        options = {key: option for key in new if (option := self._find_option(key, stored.settings)) is not None}
        return replace(
            self,
            settings={**self._keep_told(stored), **self.settings},
            defaults={**self.defaults, **found, **options, **defaults},
            followers=sorted({*followers, *self.followers}),
            names=stored.names,
            custom_before=stored.custom_before or stored.custom_space or self.custom_space,
            has_grown=stored.has_grown or bool(list_space_changes(stored, self)),
        )

    def _keep_told(self, stored: Definition) -> dict[str, str]:
        """Return what options set elsewhere that were searched: one may be fixed now, and another later."""
        kept = {}
        for name, (key, group, option) in stored.list_told().items():
            is_fixed = (self.options or {}).get(group) == option
            if not is_within(key, [group]):
                kept[name] = self.settings.get(key, stored.settings[name]) if is_fixed else stored.settings[name]
        return kept

    def list_told(self) -> dict[str, tuple[str, str, str]]:
        """Return what is told of options: its name in the settings, with the key, the group and the option."""
        groups = {name_key(name) for name in (*self.space, *self.names)}
        split = {name: name.removesuffix(")").partition(" (") for name in self.settings if name.endswith(")")}
        parts = {name: (key, *line.partition("=")) for name, (key, _, line) in split.items()}
        return {name: (key, group, option) for name, (key, group, _, option) in parts.items() if group in groups}

    def _find_option(self, group: str, settings: Mapping[str, str]) -> str | None:
        """Find the option of a searched config group that other settings have chosen: what it sets, they hold."""
        tables: dict[str, dict[str, str]] = {}
        for name, (key, place, option) in self.list_told().items():
            if place == group:
                tables.setdefault(option, {})[key] = self.settings[name]
        keys = {key for table in tables.values() for key in table if key != group}  # one may set nothing at all
        same = [option for option, table in tables.items() if all(table.get(key) == settings.get(key) for key in keys)]
        return same[0] if keys and same else None


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

    def suggest(self, trial: optuna.Trial) -> Mapping[str, Any]: ...  # noqa: D102


class GrowingSearch(Searched, Protocol):
    """A search that may have changed since its study was stored."""

    def describe(self) -> Definition: ...  # noqa: D102

    def list_starts(self) -> Sequence[LabelledPoint]: ...  # noqa: D102

    def read_definition(self, content: Mapping[str, Any]) -> Definition: ...  # noqa: D102

    def find_names(self, known: Mapping[str, str]) -> dict[str, str]: ...  # noqa: D102

    def continue_from(self, definition: Definition) -> GrowingSearch: ...  # noqa: D102


def compare(
    name: str, stored: Definition, now: Definition, ignored: Collection[str] = (), *, allow_changes: bool = False
) -> list[str]:
    """Hold two definitions against each other.

    Args:
        name: The study's.
        stored: What is stored.
        now: What the command says.
        ignored: Keys and groups that do not change a result; the study may have been stored before they were ignored.
        allow_changes: Whether settings may differ.

    Returns:
        What has changed in the space; with it a study goes on.

    Raises:
        StudyChangedError: Anything else differs.
    """
    # Keys that went from the settings to the space or back; of the seed and of what was ever searched each trial tells
    # its own value.
    before, after = ({*map(name_key, one.space)} for one in (stored, now))
    moved = {*before, *after, *map(name_key, stored.names)} - (before & after) | now.defaults.keys()
    then, today = (
        {key: value for key, value in one.items() if not is_within(key.partition(" ")[0], {*ignored, *moved})}
        for one in _align(_write_followers(stored, now), _write_followers(now, stored))
    )
    if not stored.names:  # an earlier version did not tell '1' from 1
        today = {key: value if then.get(key) != _unquote(value) else then[key] for key, value in today.items()}
    require_same_results(name, stored, now)
    differences = _compare("setting", then, today)
    if differences and not allow_changes:
        raise StudyChangedError(
            _write_heading(name) + list_first(differences, SHOWN),
            f"repeat the settings of the stored study, start another one:\n     {_write_other(name)},\n"
            "     add what changes no result, such as a name with the time in it, to hydra.sweeper.ignore,\n"
            "     or go on with the new ones all the same: hydra.sweeper.allow_changes=true",
        )
    return list_space_changes(stored, now)


def list_space_changes(stored: Definition, now: Definition) -> list[str]:
    """List what has changed in the space, in its constraints, and in the seed and what else was searched before."""
    kept = (dict.fromkeys(one.constraints, "kept") for one in (stored, now))
    movable = {*now.defaults, *map(name_key, stored.names)} - set(map(name_key, stored.space))
    then = {**stored.defaults, **stored.settings}  # an earlier version kept the seed among the defaults alone
    common = [key for key in then.keys() & now.settings.keys() if is_within(key.partition(" ")[0], movable)]
    fixed = ({key: one[key] for key in common} for one in (then, now.settings))
    own = ({"custom_search_space": one.custom_space} if one.custom_space else {} for one in (stored, now))
    others = _compare("space", *own) if stored.custom_space is not None else []
    return (
        _compare("space", stored.space, now.space) + others + _compare("fixed", *fixed) + _compare("constraint", *kept)
    )


def describe_other_way(name: str, stored: Definition, now: Definition) -> str | None:
    """Return in one line how a command searches in another way than its study was searched; None: in no other known."""
    parts = [part for part in ("sampler", "pruner") if stored.way.get(part) != now.way.get(part)]
    then, today = (  # the keys of two samplers do not compare
        {key: text for key, text in one.way.items() if not is_within(key, parts) or key in parts}
        for one in (stored, now)
    )
    differences = _compare("", then, today) if stored.way and now.way else []
    if not differences:
        return None
    listed = "; ".join(line.strip() for line in differences)
    return (
        f"The study {name} was searched in another way than this command searches: {listed}. What has ended stays; "
        f"{_write_other(name)} starts another."
    )


def _write_followers(one: Definition, other: Definition) -> Definition:
    """Return a definition with what follows searched keys as it is written: it is the same in all trials only so."""
    if one.interpolations is None or other.interpolations is None:
        return one
    followers = {*one.followers, *other.followers}
    written = {name: text for name, text in one.interpolations.items() if name.partition(" ")[0] in followers}
    return replace(one, settings={**one.settings, **{name: written[name] for name in written.keys() & one.settings}})


def _align(stored: Definition, now: Definition) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings of two definitions, as far as they are to be compared.

    What an option of a searched group sets is compared where both know the option: it is searched, or fixed now. An
    option of which a key is not told has the value of the configuration. The key itself is no trial's, where options of
    a group set it.
    """
    then, today = dict(stored.settings), dict(now.settings)
    told, told_now = stored.list_told(), now.list_told()
    known = {one[1:] for one in told.values()} & {*(one[1:] for one in told_now.values()), *(now.options or {}).items()}
    for name, (key, group, option) in {**told, **told_now}.items():
        # Of trials of an earlier version nobody knows what their options set elsewhere.
        is_told = stored.options is not None or name in told or is_within(key, [group])
        is_known = is_told and key != group and (group, option) in known
        for one, definition in ((then, stored), (today, now)):
            one.pop(key, None)
            value = definition.settings.get(name, definition.settings.get(key))
            if is_known and value is not None:
                one[name] = value
            else:
                one.pop(name, None)
    return then, today


def require_same_results(name: str, stored: Definition, now: Definition) -> None:
    """Insist that the values of the stored trials mean what those of new ones will mean.

    Raises:
        StudyChangedError: They do not, whatever changes are allowed.
    """
    differences = []
    if list(stored.directions) != list(now.directions):
        differences.append(f"directions: stored {list(stored.directions)}, now {list(now.directions)}")
    if stored.objectives and now.objectives and list(stored.objectives) != list(now.objectives):
        differences.append(f"objectives: stored {list(stored.objectives)}, now {list(now.objectives)}")
    if now.repeats != stored.repeats:  # their values do not compare, and their jobs have other numbers
        differences.append(f"repeats: stored {stored.repeats}, now {now.repeats}")
    if differences:
        raise _refuse(name, differences)


def require_same_limits(name: str, stored: Definition, now: Definition) -> None:
    """Insist that the limits by which stored trials were judged hold for new ones: a storage keeps what has ended.

    Raises:
        StudyChangedError: They do not, whatever changes are allowed.
    """
    then, today = (
        {key: value for key, value in one.settings.items() if key.startswith(LIMIT_KEY)} for one in (stored, now)
    )
    differences = _compare("setting", then, today)
    if differences:
        raise _refuse(name, differences)


def refuse_other_data(name: str, trials: Sequence[str]) -> StudyChangedError:
    """Return the error of a study some of whose trials read other data than their settings name now."""
    return _refuse(name, [f"data: trials like {join_names(trials)} read other data than their settings name now"])


def refuse_foreign_trials(name: str) -> StudyChangedError:
    """Return the error of a study with trials that another program began: it has no definition."""
    return StudyChangedError(
        f"The study {name!r} has trials of another program, and nobody knows with which settings, data and code they "
        "ran: new ones cannot stand beside them.",
        f"start another study: {_write_other(name)}.\n     Its sampler learns from those trials with "
        "hydra.sweeper.prior=FOLDER; where a database has them, FOLDER needs a file study.json:\n"
        f'     {{"study_name": "{name}", "storage": "sqlite:////FOLDER/FILE.db"}}',
    )


def _refuse(name: str, differences: Sequence[str]) -> StudyChangedError:
    """Return the error of differences with which no study goes on."""
    lines = "\n".join(f"  {line}" for line in differences)
    return StudyChangedError(
        f"{_write_heading(name)}{lines}",
        "its results cannot stand beside new ones; start another study, which takes over what is equal in all (see "
        f"hydra.sweeper.reuse): {_write_other(name)}",
    )


def _write_heading(name: str) -> str:
    return f"The study {name!r} exists, and this command differs from it:\n"


def _write_other(name: str) -> str:
    return f"hydra.sweeper.study_name={name}_2 (and hydra.sweep.dir, where it does not follow from the name)"


def _unquote(text: str) -> str:
    return str(ast.literal_eval(text)) if text[:1] in ("'", '"') else text


def _compare(kind: str, stored: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for key in sorted({*stored, *now}):
        if stored.get(key) != now.get(key):
            lines.append(f"{kind} {key}: stored {stored.get(key, 'without')}, now {now.get(key, 'without')}")
    return lines

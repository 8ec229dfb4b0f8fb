"""Read a search space from sweeper parameters, branches and the command line; gather every fault."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import Override, Quote, QuotedString
from omegaconf import DictConfig
from optuna.distributions import BaseDistribution, CategoricalDistribution

from sentiment.composing import COMPOSE_ERRORS, find_nested, find_replaced
from sentiment.errors import ConfigError, Fault, gathering
from sentiment.flat import flatten, is_within, write_dotted
from sentiment.search.space.corners import extreme_values
from sentiment.search.space.distributions import bare_key, build_distribution, parse_line
from sentiment.search.space.parameters import Parameter, Space, read_value, write_value
from sentiment.search.space.points import find_value, make_part, write_meaning


def read_space(
    lines: Sequence[str],
    params: Mapping[str, Any],
    branches: Mapping[str, Mapping[str, Any]],
    config_loader: ConfigLoader | None,
    *,
    chosen: Mapping[str, str] | None = None,
    compose: Callable[[Sequence[str]], DictConfig] | None = None,
) -> Space:
    """Read a search space.

    The command line wins over `params`: a sweep there replaces one here, a fixed value removes the parameter from
    the space. What it says about a parameter of a branch counts at every choice of the branch's condition that has the
    key, and there alone: ``model.heads=4`` never reaches a model without heads.

    Args:
        lines: The task overrides of the command line.
        params: ``hydra.sweeper.params``: key to sweep text or fixed value.
        branches: Conditional parameters, e.g. ``{"model=rnn": {"model.cell": "choice(lstm,gru)"}}``. One level:
            a parameter of a branch cannot be the condition of another.
        config_loader: Where ``glob`` finds the options of a config group.
        chosen: What the composed defaults choose, e.g. ``{"model": "rnn"}``; decides branches on keys that are
            neither swept nor set.
        compose: Composes a point, to see which choices have a key; None: those that have a branch with it.

    Raises:
        ConfigError: Every fault of the space, at once.
    """
    reader = _Reader(config_loader, dict(chosen or {}), compose)
    reader.read_base(lines, params)
    reader.read_branches(branches)
    return reader.finish()


@dataclass
class _Branch:
    condition: tuple[str, str] | None
    overrides: dict[str, Override]


@dataclass
class _Reader:
    """Everything read so far. Faults are kept, so that reading goes on and finds the next one."""

    config_loader: ConfigLoader | None
    chosen: dict[str, str]
    compose: Callable[[Sequence[str]], DictConfig] | None
    faults: list[Fault] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    written: dict[str, Override] = field(default_factory=dict)
    command_line: set[str] = field(default_factory=set)
    in_params: set[str] = field(default_factory=set)
    distributions: dict[int, tuple[Override, BaseDistribution | None]] = field(default_factory=dict)
    branches: list[_Branch] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    failed_keys: set[str] = field(default_factory=set)
    parsed: list[Override] = field(default_factory=list)

    def read_base(self, lines: Sequence[str], params: Mapping[str, Any]) -> None:
        self.faults += find_nested(params, "hydra.sweeper.params")
        written_params = self._parse(f"{key}={write_param(value)}" for key, value in params.items())
        written_lines = self._parse(lines)
        if replaced := find_replaced(self.parsed, bare_key):
            raise ConfigError([*self.faults, *replaced])  # branches on what is lost would have faults of their own
        self.in_params, self.command_line = set(written_params), set(written_lines)
        self.written = {**written_params, **written_lines}

    def _parse(self, lines: Iterable[str]) -> dict[str, Override]:
        overrides: dict[str, Override] = {}
        for line in lines:
            override = None
            with gathering(self.faults):
                override = parse_line(line, self.config_loader)
            if override is None:
                self.failed_keys.add(line.partition("=")[0].lstrip("+~"))
                continue
            self.parsed.append(override)
            element = override.get_key_element()
            if override.is_delete() or override.is_list_extend():
                self.plain.append(element := line)
            else:
                overrides[bare_key(override)] = override
            self.places = [place for place in self.places if place != element] + [element]
        return overrides

    def read_branches(self, branches: Mapping[str, Mapping[str, Any]]) -> None:
        names = {condition: self._parse_branch(condition, settings) for condition, settings in branches.items()}
        inner_keys = {key for overrides in names.values() for key in overrides}
        for condition, overrides in names.items():
            with gathering(self.faults):
                if (branch := self._resolve(condition, overrides, inner_keys)) is not None:
                    self.branches.append(branch)
        self._pin_from_command_line()
        self._check_overlaps()

    def _parse_branch(self, condition: str, settings: Mapping[str, Any]) -> dict[str, Override]:
        self.faults += find_nested(settings, f"hydra.sweeper.branches.{condition}")
        lines = [f"{key}={write_param(value)}" for key, value in settings.items()]
        plain_count = len(self.plain)
        overrides = self._parse(lines)
        for line in self.plain[plain_count:]:
            remedy = "a branch holds values and sweeps; put deletions on the command line"
            self.faults.append(Fault(condition, f"{line!r} cannot stand in a branch", remedy))
        del self.plain[plain_count:]
        return {key: self._as_choice(override) for key, override in overrides.items()}

    def _as_choice(self, override: Override) -> Override:
        # A fixed value that holds in one branch only: a choice of one, drawn where the branch is active.
        if override.is_sweep_override():
            return override
        text = override.get_value_element_as_str()
        if text == "null":  # Hydra's grammar knows no choice(null)
            self.distributions[id(override)] = (override, CategoricalDistribution(["null"]))
            return override
        return parse_line(f"{override.get_key_element()}=choice({text})", self.config_loader)

    def _resolve(self, condition: str, overrides: dict[str, Override], inner_keys: set[str]) -> _Branch | None:
        """Decide a branch: conditional, always there (its condition is fixed), or left out (None)."""
        parsed = parse_line(condition, self.config_loader)
        key = bare_key(parsed)
        if parsed.is_sweep_override() or parsed.is_delete():
            raise _fault(condition, "a condition is one KEY=VALUE", "write one branch for each value")
        if key in inner_keys and key not in self.written:
            remedy = f"sweep {key} in hydra.sweeper.params; branches have one level"
            raise _fault(condition, f"{key} is itself a parameter of a branch", remedy)
        text = parsed.get_value_element_as_str()
        override = self.written.get(key)
        if override is None and key in self.chosen:
            return _Branch(None, overrides) if self.chosen[key] == str(read_value(text)) else None
        if override is None:
            if key in self.failed_keys:
                return None  # the fault in that line is already known; this one would only follow from it
            remedy = f"sweep it, e.g. {key}=choice({text},...), or set it, or remove the branch"
            raise _fault(condition, f"{key} is neither swept nor set", remedy)
        if not override.is_sweep_override():
            is_set = write_meaning(override.get_value_element_as_str()) == write_meaning(text)
            return _Branch(None, overrides) if is_set else None
        return self._resolve_swept(condition, text, override, overrides)

    def _resolve_swept(
        self, condition: str, text: str, override: Override, overrides: dict[str, Override]
    ) -> _Branch | None:
        distribution = self._distribute(override)
        if distribution is None:
            return None
        if not isinstance(distribution, CategoricalDistribution):
            remedy = f"sweep it as choice(...), not as {override.get_value_string()}"
            raise _fault(condition, f"{bare_key(override)} is not a choice", remedy)
        found = find_value(distribution, write_meaning(text))
        if found is None and bare_key(override) not in self.command_line:
            remedy = f"one of {', '.join(map(str, distribution.choices))}"
            raise _fault(condition, f"{text} is no choice of {bare_key(override)}", remedy)
        # A command line that narrows the choices leaves the other branches out.
        return None if found is None else _Branch((override.get_key_element(), str(found[0])), overrides)

    def _pin_from_command_line(self) -> None:
        """Let what the command line says of a parameter of a branch count at every choice that has its key."""
        written, typed = dict(self.written), self.command_line - self.in_params
        homes = {
            (key, branch.condition): branch
            for branch in self.branches
            if branch.condition
            for key in branch.overrides
            if key in typed
        }
        pinned = {key: self._as_choice(written[key]) for key, _ in homes}
        self.written = {key: override for key, override in written.items() if key not in pinned}
        for key, name in dict.fromkeys((key, condition[0]) for key, condition in homes):
            choices = self._distribute(written[name.lstrip("+")])
            assert choices is not None, "a branch has a condition on nothing else"
            for choice in extreme_values(choices):
                branch = homes.get((key, (name, str(choice))))
                if branch is not None:
                    branch.overrides[key] = pinned[key]
                elif self._composes({name: write_value(choice), key: self._write_first(pinned[key])}):
                    self.branches.append(_Branch((name, str(choice)), {key: pinned[key]}))

    def _composes(self, settings: dict[str, str]) -> bool:
        """Return whether a point with these settings composes, so that the configuration has each of their keys."""
        point = {one.get_key_element(): self._write_first(one) for one in self.written.values()} | settings
        if self.compose is None:
            return False
        try:
            self.compose([f"{key}={text}" for key, text in point.items()])
        except COMPOSE_ERRORS:
            return False
        return True

    def _write_first(self, override: Override) -> str:
        """Return the right side of an override, of a sweep that of its first value."""
        distribution = self._distribute(override) if override.is_sweep_override() else None
        if distribution is None:
            return override.get_value_element_as_str()
        return write_value(extreme_values(distribution)[0])

    def _check_overlaps(self) -> None:
        seen: dict[str, list[tuple[str, str] | None]] = defaultdict(list)
        for branch in self.branches:
            if branch.condition is None:
                # The command line has the last word here too.
                branch.overrides = {k: o for k, o in branch.overrides.items() if k not in self.command_line}
            for key in branch.overrides:
                others = seen[key]
                if key in self.in_params or any(_may_meet(branch.condition, other) for other in others):
                    problem = "is set more than once for the same trial: by two branches, or by params and a branch"
                    self.faults.append(Fault(key, problem, "keep one of them"))
                others.append(branch.condition)

    def _distribute(self, override: Override) -> BaseDistribution | None:
        # Kept with its override, because an id is unique only among objects that live.
        if id(override) not in self.distributions:
            self.distributions[id(override)] = override, None
            with gathering(self.faults):
                self.distributions[id(override)] = override, build_distribution(override)
        return self.distributions[id(override)][1]

    def finish(self) -> Space:
        fixed: dict[str, str] = {}
        drafts: list[Parameter] = []
        for override in self.written.values():
            if not override.is_sweep_override():
                fixed[override.get_key_element()] = override.get_value_element_as_str()
            else:
                drafts.extend(self._draft(override, None))
        for branch in self.branches:
            for override in branch.overrides.values():
                drafts.extend(self._draft(override, branch.condition))
        self._refuse_unheard(drafts, fixed)
        self._refuse_equal(drafts)
        if self.faults:
            raise ConfigError(list(dict.fromkeys(self.faults)))
        return Space(_name_apart(drafts), fixed, tuple(self.plain), tuple(self.places))

    def _refuse_equal(self, drafts: Sequence[Parameter]) -> None:
        """Refuse choices that are written otherwise and are one wherever points are compared."""
        for draft in drafts:
            written: dict[str, Any] = {}
            for choice in getattr(draft.distribution, "choices", ()):
                first = written.setdefault(make_part(draft.name, choice)[1], choice)
                if repr(first) != repr(choice):
                    problem = f"{first} and {choice} are one value, of which the second would never be tried"
                    self.faults.append(Fault(draft.key, problem, "write each value once"))

    def _refuse_unheard(self, drafts: Sequence[Parameter], fixed: Mapping[str, str]) -> None:
        """Refuse to search what is set or deleted later: no trial would have the value that it draws."""
        lines = [*fixed.items(), *((line, "") for line in self.plain if line[0] == "~")]
        settings: list[tuple[str, list[str], tuple[str, str] | None]] = [(key, [text], None) for key, text in lines]
        settings += [(one.key, [*map(str, extreme_values(one.distribution))], one.condition) for one in drafts]
        for key, texts, condition in settings:
            held = self._list_held(key.partition("=")[0], texts)
            for draft in drafts:
                is_held = key != draft.key and is_within(write_dotted(draft.key.lstrip("+")), held)
                is_later = is_held and self.places.index(key) > self.places.index(draft.key)
                if is_later and _may_meet(draft.condition, condition):
                    effect = "deletes it" if key[0] == "~" else "sets it to something else"
                    problem = f"is searched, and {key}, which is written after it, {effect}"
                    self.faults.append(Fault(draft.key, problem, f"write {key} before it, or leave one of them out"))

    def _list_held(self, key: str, texts: Sequence[str]) -> set[str]:
        """Return the keys of which nothing is left that was set before where one of these values is set."""
        key = write_dotted(key.lstrip("+~"))
        held = {one for text in texts if text[:1] == "{" for one in flatten({key: read_value(text)})}
        # An option of a group is chosen before any key is set.
        is_group = self.config_loader is not None and bool(self.config_loader.get_group_options(key))
        return held if is_group or all(text[:1] == "{" for text in texts) else {*held, key}

    def _draft(self, override: Override, condition: tuple[str, str] | None) -> list[Parameter]:
        key, distribution = override.get_key_element(), self._distribute(override)
        if key.endswith("]"):  # as the names of parameters do that share a key, see `Parameter.name`
            remedy = f"write {write_dotted(key)}=... with dots, which means the same"
            self.faults.append(Fault(key, "is searched, and its name ends in a bracket", remedy))
            return []
        return [] if distribution is None else [Parameter(key, key, distribution, condition)]


def _fault(key: str, problem: str, remedy: str) -> ConfigError:
    return ConfigError([Fault(key, problem, remedy)])


def write_param(value: Any) -> str:
    """Write a value of a YAML file as the right side of an override; a text there is an override already."""
    return value if isinstance(value, str) else _write_within(value)


def _write_within(value: Any) -> str:
    """Write a value that stands in a list or a mapping: a text there means itself."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_write_within(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(_write_within, value)) + "]"
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    return "null" if value is None else str(value)


def _may_meet(one: tuple[str, str] | None, other: tuple[str, str] | None) -> bool:
    """Return whether two branches can be active in the same trial."""
    return one is None or other is None or one[0] != other[0] or one == other


def _name_apart(drafts: Sequence[Parameter]) -> tuple[Parameter, ...]:
    """Qualify the names of parameters that share a key but not a distribution: Optuna has one for each name."""
    shared: dict[str, list[BaseDistribution]] = defaultdict(list)
    for draft in drafts:
        shared[draft.key].append(draft.distribution)
    named = []
    for draft in drafts:
        differs = any(distribution != draft.distribution for distribution in shared[draft.key])
        name = f"{draft.key}[{'='.join(draft.condition)}]" if differs and draft.condition else draft.key
        named.append(Parameter(name, draft.key, draft.distribution, draft.condition))
    return tuple(named)

"""Check a whole command line before Hydra starts anything.

Hydra stops at the first fault of a configuration, and does not know the ranges behind it. Here every point of the
command is composed and checked first, and all faults are reported together. `check_command_line` runs before
`hydra.main` and uses Hydra's own parser and composer, so that both understand a command alike.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError

from sentiment.composing import COMPOSE_ERRORS, MergingComposer
from sentiment.config.broken import explaining_breaks, require_config, require_folders, shorten
from sentiment.config.extension import register_extension_options
from sentiment.config.faults import WHOLE_NUMBER, explain_unknown_key, explain_unknown_option
from sentiment.config.forbidden import find_forbidden
from sentiment.config.home import PROJECT_DIR, register_resolvers
from sentiment.config.objective import RETIRED, find_directions, list_measured, list_objectives
from sentiment.config.reading import check_settings, list_keys, read_choices, read_settings
from sentiment.config.schema import Settings
from sentiment.errors import ConfigError, Fault
from sentiment.nearest import nearest
from sentiment.private import parse_arguments

MOST_POINTS = 100_000
"""Jobs of a plain multirun."""

SearchPoints = Callable[[DictConfig, Sequence[str], Mapping[str, str], ConfigLoader], Sequence[Sequence[str]]]
"""Lists the overrides of the points at which a search is checked, from the configuration that the fixed overrides
compose, the command line, the options of all groups, and Hydra's loader."""


def check_command_line(
    arguments: Sequence[str],
    config_dir: Path,
    config_name: str,
    searches: Mapping[str, SearchPoints] | None = None,
) -> None:
    """Compose and check every configuration that a command line would run.

    Commands that need no valid configuration (plain help, tab completion, ``--info``) are let through.

    Args:
        arguments: The command line without the program's name.
        config_dir: Folder of the primary config.
        config_name: Name of the primary config.
        searches: For sweepers that draw points of their own: class of the sweeper to what lists its points.

    Raises:
        ConfigError: With every fault of every point, each once.
    """
    options = parse_arguments(arguments)
    if options.shell_completion:
        complete_study_keys(os.environ)
    if options.hydra_help or options.shell_completion or options.info or options.experimental_rerun:
        return
    if options.help and not options.overrides:
        return
    config_name = options.config_name or config_name
    if options.config_path:
        config_dir = Path(options.config_path).resolve()
    faults = require_folders(options.config_dir, options.config_path)
    folders = [config_dir, *([Path(options.config_dir)] if options.config_dir else [])]
    if not faults:
        with initialize_config_dir(str(config_dir)):
            loader = GlobalHydra.instance().config_loader()
            faults = require_config(loader, config_name)
            if not faults:
                with explaining_breaks(folders, options.overrides):
                    faults = CommandLineCheck(options, config_name, searches or {}).find_faults()
    if faults:
        raise ConfigError(faults)


def complete_study_keys(environment: MutableMapping[str, str]) -> None:
    """Let ``hydra.sweeper.n_<TAB>`` know the keys of studies before a search is typed; Hydra reads ``COMP_LINE``."""
    start, space, word = environment.get("COMP_LINE", "").rpartition(" ")
    if word.startswith("hydra.sweeper.") and not re.search(r"\s(search|experiment|hydra/sweeper)=", start):
        environment["COMP_LINE"] = f"{start} hydra/sweeper=study{space}{word}"


def compose_settings(overrides: Sequence[str], config_dir: Path = PROJECT_DIR / "conf") -> Settings:
    """Return the settings of the single run that overrides stand for.

    Raises:
        ConfigError: With every fault.
    """
    register_resolvers()
    register_extension_options()
    check_command_line(overrides, config_dir, "config")
    with initialize_config_dir(str(config_dir)):
        return read_settings(compose("config", list(overrides)), Path.cwd())


class CommandLineCheck:
    """One parsed command: which points it stands for, and what is wrong with them."""

    def __init__(self, options: Namespace, config_name: str, searches: Mapping[str, SearchPoints]) -> None:
        self.config_name = config_name
        self.searches = searches
        self.multirun: bool = options.multirun
        self.lines: list[str] = list(options.overrides)
        self.search_path: list[str] = []
        self.config_dirs = [Path(options.config_dir).resolve()] if options.config_dir else []
        if self.config_dirs:
            self.search_path = [f"hydra.searchpath=[file://{self.config_dirs[0]}]"]
        self.loader = GlobalHydra.instance().config_loader()
        self.groups = [group for group in self.loader.list_groups("") if group != "hydra"]
        self.composers = {
            with_hydra: MergingComposer(partial(self._compose_slowly, with_hydra=with_hydra), self.groups.__contains__)
            for with_hydra in (False, True)
        }

    def find_faults(self) -> list[Fault]:
        """List the faults of all points, each once, in the order they were met."""
        faults: list[Fault] = []
        overrides = self._parse(self.lines, faults)
        swept = [override for override in overrides if override.is_sweep_override()]
        fixed, found = self._keep_composable([override for override in overrides if override not in swept])
        faults += found
        composed = self._compose(fixed, with_hydra=True)
        hydra_config = composed.hydra
        if hydra_config.sweeper is None or hydra_config.launcher is None:
            return [*faults, Fault("hydra.sweeper, hydra.launcher", "one of them is null", "leave it as it is")]
        params = OmegaConf.select(hydra_config, "sweeper.params") or {}
        unreadable: list[Fault] = []  # a study reads its space itself, and says what is wrong with it
        space = self._parse([f"{key}={value}" for key, value in params.items()], unreadable)
        is_multirun = self.multirun or str(hydra_config.mode).endswith("MULTIRUN")
        faults += find_lost_interpolations(hydra_config.sweeper) + find_forbidden(hydra_config)
        if is_multirun and not faults:
            faults += find_wrong_direction(composed) + find_shared_database(composed)
        if not is_multirun:
            faults += [explain_sweep(override) for override in swept] + self._check_point(fixed)
            if params:
                print(f"Note: this configuration is a sweep over {', '.join(params)}; add -m to run all of it.")
        elif hydra_config.sweeper._target_ in self.searches and OmegaConf.select(composed, "trainer.debug"):
            remedy = "leave search=... out; hydra.sweeper.dry_run=true tries one of its points"
            faults.append(Fault("debug", "tries single runs and plain multiruns, and this is a study", remedy))
        elif found := self._find_swept_sweepers(fixed, swept, hydra_config.sweeper):
            faults += found
        elif hydra_config.sweeper._target_ in self.searches:
            faults += self._check_search(composed, [*fixed, *swept])
        elif found := find_endless([*fixed, *swept]):
            faults += found
        else:
            faults += unreadable
            is_grid = str(hydra_config.sweeper._target_).endswith(".BasicSweeper")
            for point in list_points([*space, *fixed, *swept], is_grid=is_grid):
                faults += self._check_point(point)
        return explain_intervals(list(dict.fromkeys(faults)), [*space, *swept])

    def _find_swept_sweepers(self, fixed: list[Override], swept: list[Override], sweeper: DictConfig) -> list[Fault]:
        """Return the faults of swept options that set up the sweep itself: there is one set-up per command."""
        faults: list[Fault] = []
        for override in swept:
            group = override.key_or_group
            if not self._is_choice(override) or group in Settings.model_fields:
                continue
            options = [value for value in list_values(override) if self._can_compose([*fixed, value])]
            if any(self._compose([*fixed, value], with_hydra=True).hydra.sweeper != sweeper for value in options):
                lines = [f"-m {value.input_line}" for value in options]
                joint = "take search=both, one study of several models, or " if group == "search" else ""
                problem = f"{override.get_value_string()} set up the sweep itself, so one sweep cannot run over them"
                faults.append(Fault(group, problem, f"{joint}run them one after the other: {', then '.join(lines)}"))
        return faults

    def _check_search(self, composed: DictConfig, overrides: list[Override]) -> list[Fault]:
        sweeper = composed.hydra.sweeper
        lines = [str(override.input_line) for override in overrides if not override.is_hydra_override()]
        hydra_overrides = [override for override in overrides if override.is_hydra_override()]
        faults: list[Fault] = []
        try:
            points = self.searches[sweeper._target_](composed, lines, composed.hydra.runtime.choices, self.loader)
        except ConfigError as error:
            return list(error.faults)
        known: dict[str, None] = {}
        composable: list[Override] = []
        explained: set[str] = set()  # an override that composes nowhere is explained once, not at every corner
        for point in points:
            overrides = self._parse([line for line in point if line not in explained], faults)
            composable, found = self._keep_composable([*hydra_overrides, *overrides])
            explained |= {str(override.input_line) for override in overrides if override not in composable}
            config = self._compose(composable)
            known |= dict.fromkeys(list_keys(config))
            faults += found + check_settings(config, Path.cwd())[1]
        return faults + self._check_probe(sweeper, composable) + find_unknown_names(sweeper, list(known))

    def _check_probe(self, sweeper: DictConfig, point: list[Override]) -> list[Fault]:
        """Return the faults of ``probe_overrides``, which a dry run lays over a point."""
        faults: list[Fault] = []
        probe = self._parse(list(sweeper.probe_overrides or []), faults)
        keys = {override.key_or_group for override in probe}
        faults += self._keep_composable([*(one for one in point if one.key_or_group not in keys), *probe])[1]
        return [Fault("hydra.sweeper.probe_overrides", f"{one.key}: {one.problem}", one.remedy) for one in faults]

    def _parse(self, lines: list[str], faults: list[Fault]) -> list[Override]:
        parser = OverridesParser.create(config_loader=self.loader)
        overrides: list[Override] = []
        for line in lines:
            try:
                overrides += parser.parse_overrides([line])
            except (
                HydraException,
                ValueError,
                RecursionError,
            ):  # ValueError: a number of more digits than Python reads
                remedy = "the form is key=value; quote special signs"
                if line.startswith("data.label_map={"):
                    remedy = "labels with quotes or special signs need quotes around all of it: "
                    remedy += "'data.label_map=\"{Très bon: good}\"'"
                faults.append(Fault(shorten(line), "cannot be read as an override", remedy))
        return overrides

    def _check_point(self, overrides: list[Override]) -> list[Fault]:
        composable, faults = self._keep_composable(overrides)
        _, found = check_settings(self._compose(composable), Path.cwd())
        return faults + found

    def _keep_composable(self, overrides: list[Override]) -> tuple[list[Override], list[Fault]]:
        """Split overrides into those that Hydra can compose and the explained rest.

        The faultless case composes once; only after a failure is each override tried alone.
        """
        if self._can_compose(overrides):
            return overrides, []
        faults: list[Fault] = []
        choices: list[Override] = []
        for override in (override for override in overrides if self._is_choice(override)):
            if self._can_compose([*choices, override]):
                choices.append(override)
            else:
                faults.append(self._explain_choice(override, choices))
        kept: list[Override] = []
        for override in overrides:
            if self._is_choice(override):
                kept += [override] if override in choices else []
            elif self._can_compose([*choices, override]):
                kept.append(override)
            else:
                faults.append(self._explain_value(override, choices))
        return kept, faults

    def _explain_choice(self, override: Override, choices: list[Override]) -> Fault:
        group, option = override.key_or_group, override.get_value_element_as_str()
        options = self.loader.get_group_options(group)
        file = next((file for file in self._list_files(group, option) if file.is_file()), None)
        if (option not in options and file is None) or not isinstance(override.value(), str):  # nan: a number to Hydra
            return explain_unknown_option(group, shorten(option), options)
        remedy = f"correct {file or 'its YAML file'}"
        return Fault(group, f"{option} cannot be composed ({self._reason([*choices, override])})", remedy)

    def _list_files(self, group: str, option: str) -> list[Path]:
        """List where the file of an option may be."""
        folders = [Path(source.path) for source in self.loader.get_sources() if source.scheme() == "file"]
        return [folder / group / f"{option}.yaml" for folder in [*folders, *self.config_dirs]]

    def _explain_value(self, override: Override, choices: list[Override]) -> Fault:
        key = override.key_or_group
        known = list_keys(self._compose(choices, with_hydra=override.is_hydra_override()))
        if key in known:
            reason = self._reason([*choices, override])
            return Fault(key, f"cannot be set by {override.input_line} ({reason})", "python run.py --cfg job shows it")
        others = [choice for choice in choices if choice.key_or_group != "hydra/sweeper"]
        study = self._compose([*others, *self._parse(["hydra/sweeper=study"], [])], with_hydra=True)
        study_keys = [f"hydra.sweeper.{name}" for name in study.hydra.sweeper]
        if key in study_keys:
            remedy = "it belongs to studies: add search=study, or another search, and -m"
            return Fault(key, "no such key in this sweeper", remedy)
        options = {group: self.loader.get_group_options(group) for group in self.groups}
        return explain_unknown_key(key, [*known, *self.groups, *study_keys], read_choices(study), options)

    def _is_choice(self, override: Override) -> bool:
        return not override.is_value_path and (
            override.key_or_group in self.groups or override.key_or_group.startswith("hydra/")
        )

    def _can_compose(self, overrides: list[Override]) -> bool:
        return self._reason(overrides) is None

    def _reason(self, overrides: list[Override]) -> str | None:
        """Return why overrides do not compose; None: they do."""
        try:
            self._compose(overrides)
        except (*COMPOSE_ERRORS, ValueError) as error:  # ValueError: a group that is set to null or to a number
            return str(error.__cause__ or error).splitlines()[0]
        return None

    def _compose(self, overrides: list[Override], *, with_hydra: bool = False) -> DictConfig:
        return self.composers[with_hydra].compose(overrides)

    def _compose_slowly(self, overrides: Sequence[str], *, with_hydra: bool) -> DictConfig:
        return compose(self.config_name, [*self.search_path, *overrides], return_hydra_config=with_hydra)


def find_lost_interpolations(sweeper: DictConfig) -> list[Fault]:
    """Return the faults of sweeper keys that ask for keys of earlier versions: ``direction: ${direction}``."""
    faults = []
    for name, function in (("direction", "directions"), ("metric_names", "objectives")):
        try:
            OmegaConf.select(sweeper, name)
        except InterpolationKeyError as error:
            remedy = f"write the value itself; in a YAML file ${{{function}:${{objective}}}} follows from objective"
            faults.append(Fault(f"hydra.sweeper.{name}", str(error).splitlines()[0], remedy))
    return faults


def find_shared_database(composed: DictConfig) -> list[Fault]:
    """Return the fault of a study and MLflow in one SQLite file: each would take the other's tables for its own."""
    storage, uri = (str(OmegaConf.select(composed, key)) for key in ("hydra.sweeper.storage", "tracking.uri"))
    kind = "sqlite:///"
    if not (storage.startswith(kind) and uri.startswith(kind)):
        return []
    if os.path.realpath(storage.removeprefix(kind)) != os.path.realpath(uri.removeprefix(kind)):
        return []
    remedy = "name another file, or leave it out: the study then has a file in its folder"
    return [Fault("hydra.sweeper.storage", f"{storage} is MLflow's database (tracking.uri)", remedy)]


def find_wrong_direction(composed: DictConfig) -> list[Fault]:
    """Return the fault of a sweeper that would steer an objective the wrong way: it minimises unless told otherwise."""
    written = OmegaConf.select(composed, "hydra.sweeper.direction")
    objective = OmegaConf.select(composed, "objective")
    right = [str(direction) for direction in find_directions(objective)]
    is_list = isinstance(written, list | ListConfig)  # a plain list where a resolver made it
    directions = [getattr(item, "name", item) for item in (written if is_list else [written])]
    if written is None or not right or directions == right:  # None: Hydra's own sweeper, which optimises nothing
        return []
    value = right[0] if len(right) == 1 else f"[{','.join(right)}]"
    problem = f"is {', '.join(map(str, directions))}, the wrong way for {', '.join(list_objectives(objective))}"
    return [Fault("hydra.sweeper.direction", problem, f"set hydra.sweeper.direction={value}")]


def find_unknown_names(sweeper: DictConfig, known: Sequence[str]) -> list[Fault]:
    """Return the faults of keys that a sweeper names and no point has, and of limits on what no job measures."""
    faults = []
    named = [("seed_key", sweeper.repeats > 1), ("epochs_key", sweeper.epochs is not None)]
    for option in [option for option, is_used in named if is_used]:
        if sweeper[option] not in known:
            fault = explain_unknown_key(str(sweeper[option]), known, {})
            faults.append(Fault(f"hydra.sweeper.{option}", f"{fault.key}: {fault.problem}", fault.remedy))
    for name in sweeper.ignore or []:
        if name not in known and name not in RETIRED:  # stored studies may hold keys of earlier versions
            fault = explain_unknown_key(name, known, {})
            faults.append(Fault("hydra.sweeper.ignore", f"{name}: {fault.problem}", fault.remedy))
    measured = list_measured()
    for name in sweeper.limits or {}:
        if name not in measured:
            guess = nearest(name, measured)
            remedy = f"did you mean {guess}? " if guess else ""
            faults.append(
                Fault(f"hydra.sweeper.limits.{name}", "no job measures it", f"{remedy}one of {', '.join(measured)}")
            )
    return faults


def find_endless(overrides: Sequence[Override]) -> list[Fault]:
    """Return the fault of a grid with more points than anybody trains: its list alone would fill the memory."""
    points = 1
    for override in overrides:
        sweep = override.value() if override.is_range_sweep() else None
        if isinstance(sweep, RangeSweep) and sweep.start is not None and sweep.stop is not None:
            if not sweep.step:
                return [Fault(override.key_or_group, f"{override.get_value_string()} never ends", "give it a step")]
            count = int(abs(float(sweep.stop) - float(sweep.start)) / abs(float(sweep.step)))
        else:
            count = len(list_values(override)) if override.is_sweep_override() else 1
        points *= max(count, 1)
        if points > MOST_POINTS:
            problem = f"{override.get_value_string()} makes it {points:,} jobs, more than {MOST_POINTS:,}"
            return [Fault(override.key_or_group, problem, "name fewer values, or draw from them: search=study")]
    return []


def explain_sweep(override: Override) -> Fault:
    """Return the fault of several values without a multirun."""
    key = override.key_or_group
    values = override.get_value_string()
    return Fault(key, f"has several values ({values})", f"add -m to run each, or write {key}=[{values}] for a list")


def explain_intervals(faults: Sequence[Fault], overrides: Sequence[Override]) -> list[Fault]:
    """Return the faults, those of both ends of an interval over whole numbers as one that says range."""
    intervals = {one.key_or_group: one for one in overrides if isinstance(one.value(), IntervalSweep)}
    explained = []
    for fault in faults:
        if fault.key in intervals and fault.remedy == WHOLE_NUMBER:
            override = intervals[fault.key]
            sweep = cast(IntervalSweep, override.value())
            ends = f"range({math.ceil(sweep.start or 0)},{math.floor(sweep.end or 0) + 1})"
            remedy = (
                f"write {fault.key}={f'tag(log,{ends})' if 'log' in sweep.tags else ends}, which leaves its end out"
            )
            problem = f"{override.get_value_string()} draws numbers with a fraction, the key takes whole ones"
            fault = Fault(fault.key, problem, remedy)
        explained.append(fault)
    return list(dict.fromkeys(explained))


def list_points(overrides: Sequence[Override], *, is_grid: bool) -> Iterator[list[Override]]:
    """Yield the overrides of every point that a command stands for.

    Hydra's own sweeper runs the whole grid, so the whole grid is listed. Other sweepers draw points of their own
    choosing: for those the first point is listed, and each further value (both ends of an interval) alone beside it.

    Args:
        overrides: Fixed and swept overrides; of two with the same key the later one counts, as in Hydra.
        is_grid: Whether every combination runs.
    """
    by_key = {override.get_key_element(): override for override in overrides}
    axes = [list_values(override) for override in by_key.values()]
    if is_grid:
        yield from (list(point) for point in itertools.product(*axes))
        return
    first = [axis[0] for axis in axes]
    yield first
    for index, axis in enumerate(axes):
        for value in axis[1:]:
            yield [*first[:index], value, *first[index + 1 :]]


def list_values(override: Override) -> list[Override]:
    """Return an override of each value that a sweep names, of an interval its ends; a fixed one as it is."""
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

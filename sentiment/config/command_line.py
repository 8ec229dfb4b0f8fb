"""Check a whole command line before Hydra starts anything.

Hydra stops at the first fault of a configuration, and does not know the ranges behind it. Here every point of the
command is composed and checked first, and all faults are reported together. `check_command_line` runs before
`hydra.main` and uses Hydra's own parser and composer, so that both understand a command alike.
"""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sentiment.composing import (
    COMPOSE_ERRORS,
    MergingComposer,
    find_fixed_followers,
    find_nested,
    find_reason,
    list_values,
    spread,
)
from sentiment.config.conflicts import (
    find_idle_pruners,
    find_lost_interpolations,
    find_point_conflicts,
    find_shared_folder,
    find_shared_seeds,
    find_sweep_conflicts,
    find_tested_trials,
    find_unknown_names,
    has_begun,
    read_setup,
)
from sentiment.config.extension import register_extension_options
from sentiment.config.faults import (
    explain_unknown_key,
    explain_unknown_option,
    explaining_breaks,
    find_hidden,
    require_config,
    require_folders,
    shorten,
)
from sentiment.config.forbidden import find_forbidden
from sentiment.config.home import PROJECT_DIR, register_resolvers
from sentiment.config.points import (
    explain_intervals,
    explain_sweep,
    find_unlisted,
    list_branch_lines,
    list_points,
)
from sentiment.config.reading import check_settings, list_keys, read_choices, read_settings
from sentiment.config.schema import Settings
from sentiment.config.unread import UnreadKeys
from sentiment.errors import ConfigError, Fault
from sentiment.private import copy_config, expand_aliases, parse_arguments, read_folder

UNCOMPOSABLE = (*COMPOSE_ERRORS, ValueError)
"""What composing raises; ValueError: a group that is set to null or to a number."""

SearchPoints = Callable[[DictConfig, Sequence[str], Mapping[str, str], ConfigLoader], Sequence[Sequence[str]]]
"""Lists the overrides of the points at which a search is checked, from the configuration that the fixed overrides
compose, the command line, the options of all groups, and Hydra's loader."""


FindFaults = Callable[[Settings, Any], list[Fault]]
"""Lists what is wrong with the settings of one run, given the GPUs that it may have, as ``hydra.sweeper.devices`` says;
None: it runs on another machine, or not at all."""

LOCAL_LAUNCHERS = (".BasicLauncher", ".JoblibLauncher")
"""How the names of launchers end that run jobs on this machine."""


def check_command_line(
    arguments: Sequence[str],
    config_dir: Path,
    config_name: str,
    searches: Mapping[str, SearchPoints] | None = None,
    find_more: FindFaults = lambda settings, devices: [],
) -> None:
    """Compose and check every configuration that a command line would run.

    Commands that need no valid configuration (plain help, tab completion, ``--info``) are let through.

    Args:
        arguments: The command line without the program's name.
        config_dir: Folder of the primary config.
        config_name: Name of the primary config.
        searches: For sweepers that draw points of their own: class of the sweeper to what lists its points.
        find_more: Finds faults of a run that has none by its configuration alone.

    Raises:
        ConfigError: With every fault of every point, each once.
    """
    options = parse_arguments(arguments)
    if found := _find_other_flags(options):
        raise ConfigError(found)
    if options.shell_completion:
        complete_study_keys(os.environ)
    if options.hydra_help or options.shell_completion or options.info or options.experimental_rerun:
        return
    if options.help and not options.overrides:
        return
    config_name = options.config_name or config_name
    if options.config_path:
        config_dir = (config_dir.parent / options.config_path).resolve()  # as Hydra does: from the folder of run.py
    named = {"--config-dir": options.config_dir, "--config-path": config_dir if options.config_path else None}
    faults = require_folders(named)
    folders = [config_dir, *([Path(options.config_dir).resolve()] if options.config_dir else [])]
    if not faults:
        with initialize_config_dir(str(config_dir)):
            loader = GlobalHydra.instance().config_loader()
            for folder in folders[1:]:
                read_folder(loader, folder)
            faults = require_config(loader, config_name)
            if not faults:
                with explaining_breaks(folders, options.overrides):
                    faults = CommandLineCheck(options, config_name, searches or {}, find_more).find_faults()
    if faults:
        raise ConfigError(faults)


def _find_other_flags(options: Namespace) -> list[Fault]:
    """Return the fault of flags of which Hydra takes one, and would end with a traceback."""
    given = {
        "--run": options.run,
        "-m": options.multirun,
        "--info": options.info,
        "--cfg": options.cfg,
        "--shell-completion": options.shell_completion,
    }
    *others, last = [flag for flag, value in given.items() if value] or ["--run"]
    if not others or options.help or options.hydra_help:  # which go before all of them
        return []
    does = "runs a sweep" if last == "-m" else "shows one configuration" if last == "--cfg" else "runs nothing"
    remedy = f"leave out {' and '.join(others)}: {last} {does}"
    return [Fault(", ".join([*others, last]), "a command takes only one of them", remedy)]


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


PARAMS = "hydra.sweeper.params"


def _is_lost_param(override: Override) -> bool:
    """Return whether an override is a parameter that Hydra would take for another one, for its dots or its values."""
    start, _, key = override.key_or_group.rpartition(f"{PARAMS}.")
    return not start and key != override.key_or_group and ("." in key or override.is_sweep_override())


def _explain_param(param: Override) -> Fault:
    """Return the fault of a parameter that is written on the command line as in a file."""
    key = param.key_or_group.removeprefix(f"{PARAMS}.")
    problem = "is no key: a parameter stands by its own key on the command line"
    if param.is_delete():
        return Fault(param.key_or_group, problem, f"write {key}=VALUE: with one value it is not searched")
    values = param.value() if isinstance(param.value(), str) else param.get_value_string()
    return Fault(param.key_or_group, problem, f"write {key}={values}")


class CommandLineCheck:
    """One parsed command: which points it stands for, and what is wrong with them."""

    def __init__(
        self, options: Namespace, config_name: str, searches: Mapping[str, SearchPoints], find_more: FindFaults
    ) -> None:
        self.config_name, self.find_more = config_name, find_more
        self.is_named = options.config_name is not None
        self.hidden: dict[Fault, None] = {}
        self.searches = searches
        self.multirun: bool = options.multirun or "hydra.mode=MULTIRUN" in options.overrides
        self.runs: bool = options.cfg is None and not options.help
        self.devices: Any = None
        self.loader = GlobalHydra.instance().config_loader()
        self.lines = expand_aliases(self.loader, config_name, options.overrides)
        self.groups = [group for group in self.loader.list_groups("") if group != "hydra"]
        self.composers = {
            with_hydra: MergingComposer(partial(self._compose_slowly, with_hydra=with_hydra), self.groups.__contains__)
            for with_hydra in (False, True)
        }
        self._compose_whole = cache(self._compose_anew)  # once, with Hydra's node and without
        parse = OverridesParser.create(config_loader=self.loader).parse_overrides
        self._parse_line = cache(lambda line: parse([line])[0])  # once for all points
        self.unread = UnreadKeys(())
        self.swept: list[Override] = []

    def find_faults(self) -> list[Fault]:
        """List the faults of all points, each once, in the order they were met."""
        faults: list[Fault] = []
        overrides = self._parse(self.lines, faults)
        unread = [one for one in overrides if _is_lost_param(one)]
        faults += [_explain_param(override) for override in unread]
        overrides = [override for override in overrides if override not in unread]
        self.swept = swept = [override for override in overrides if override.is_sweep_override()]
        fixed, _, found = self._keep_composable([override for override in overrides if override not in swept])
        faults += found
        typed = [override for override in overrides if override in fixed or override in swept]  # the later one counts
        composed = self._compose(fixed, with_hydra=True)
        hydra_config = composed.hydra
        if hydra_config.sweeper is None or hydra_config.launcher is None:
            return [*faults, Fault("hydra.sweeper, hydra.launcher", "one of them is null", "leave it as it is")]
        params = OmegaConf.select(hydra_config, "sweeper.params") or {}
        is_multirun = self.multirun or str(hydra_config.mode).endswith("MULTIRUN")
        if is_multirun:  # a single run reads none of them
            if found := find_fixed_followers(params, OmegaConf.select(hydra_config, "sweeper.branches"), typed):
                return [*faults, *found]
            faults += find_nested(params, "hydra.sweeper.params")
        is_here = not is_multirun or str(hydra_config.launcher._target_).endswith(LOCAL_LAUNCHERS)
        if is_here and self.runs:
            self.devices = "auto"
            if is_multirun and "devices" in hydra_config.sweeper:
                self.devices = cast(dict[str, Any], OmegaConf.to_container(hydra_config.sweeper))["devices"]
        unreadable: list[Fault] = []  # a study reads its space itself, and says what is wrong with it
        space = self._parse([f"{key}={value}" for key, value in params.items()], unreadable)
        written = [*space, *self._parse(list_branch_lines(hydra_config.sweeper), unreadable)]
        told = {one.key_or_group for one in typed}
        varied = [*(one for one in written if one.key_or_group not in told), *swept]
        if not OmegaConf.select(hydra_config, "sweeper.custom_search_space"):  # it may set what decides on the others
            named = [override.key_or_group for override in [*space, *overrides] if not override.is_delete()]
            self.unread = UnreadKeys(named, [override.key_or_group for override in [*space, *swept]])
        is_grid = str(hydra_config.sweeper._target_).endswith(".BasicSweeper")
        faults += find_lost_interpolations(hydra_config.sweeper) + find_forbidden(hydra_config)
        if is_multirun and not faults:
            faults += find_sweep_conflicts(composed)
        if not is_multirun:
            faults += [explain_sweep(override) for override in swept] + self._check_point(fixed)
            if params:
                note = f"Note: this configuration is a sweep over {', '.join(params)}; add -m to run all of it."
                print(note, file=sys.stderr)  # what --cfg job prints is taken into a file
        elif found := self._find_swept_setups(fixed, varied, composed):
            faults += found
        elif hydra_config.sweeper._target_ in self.searches:
            faults += self._check_search(composed, typed)
        elif found := find_unlisted([*space, *typed], is_grid=is_grid):
            faults += found
        else:
            faults += unreadable
            points = list(list_points([*space, *typed], is_grid=is_grid))
            for point in points:
                faults += self._check_point(point)
            if not faults:
                jobs = map(self._compose_job, points)
                faults += find_shared_folder(composed, jobs if is_grid else None)
        faults += self.hidden
        # Where a run is faulty, nobody knows what it would read.
        return explain_intervals(list(dict.fromkeys(faults or self.unread.find_faults())), [*space, *swept])

    def _find_swept_setups(self, fixed: list[Override], varied: list[Override], composed: DictConfig) -> list[Fault]:
        """Return the faults of options of single jobs that set up the sweep itself: there is one set-up per command."""
        faults: list[Fault] = []
        setup = read_setup(composed)
        for override in varied:
            group = override.key_or_group
            if not self._is_choice(override) and not override.is_hydra_override():
                continue
            options = [value for value in list_values(override) if self._can_compose([*fixed, value])]
            others = [read_setup(self._compose([*fixed, value], with_hydra=True)) for value in options]
            if keys := [key for key in setup if any(other[key] != setup[key] for other in others)]:
                lines = [f"-m {value.input_line}" for value in options]
                joint = "take search=both, one study of several models, or " if group == "search" else ""
                problem = f"{override.get_value_string()} set up the sweep itself ({', '.join(keys)})"
                remedy = f"{joint}run them one after the other: {', then '.join(lines)}"
                faults.append(Fault(group, f"{problem}, so one sweep cannot run over them", remedy))
        return faults

    def _check_search(self, composed: DictConfig, typed: list[Override]) -> list[Fault]:
        sweeper = composed.hydra.sweeper
        lines = [str(override.input_line) for override in typed if not override.is_hydra_override()]
        hydra_overrides = [override for override in typed if override.is_hydra_override()]
        faults: list[Fault] = []
        try:
            points = self.searches[sweeper._target_](composed, lines, composed.hydra.runtime.choices, self.loader)
        except ConfigError as error:
            return list(error.faults)
        except OmegaConfBaseException:  # of what the sweeper follows from: ${third:${trainer.max_epochs},...}
            if found := self._check_point([one for one in typed if not one.is_sweep_override()]):
                return found
            raise
        options = cast(dict[str, Any], OmegaConf.to_container(sweeper, resolve=True))
        known: dict[str, None] = {}
        composable: list[Override] = []
        configs: list[DictConfig] = []
        tested: list[Fault] = []
        explained: set[str] = set()  # an override that composes nowhere is explained once, not at every corner
        for point in points:
            overrides = self._parse([line for line in point if line not in explained], faults)
            composable, config, found = self._keep_composable([*hydra_overrides, *overrides])
            explained |= {str(override.input_line) for override in overrides if override not in composable}
            known |= dict.fromkeys(list_keys(config))
            configs.append(config)
            hydra_overrides = [override for override in hydra_overrides if override in composable]
            faults += found + find_point_conflicts(config, composed)
            tested += find_tested_trials(config, {k: text for one in composable for k, text in spread(one).items()})
            faults += self._check_settings(config, options)
        fixed = {key for one in typed if not one.is_sweep_override() for key in spread(one)}
        if not has_begun(composed, lines):
            faults += find_shared_seeds(sweeper, points) + tested + find_shared_folder(composed)
            faults += [] if sweeper.custom_search_space else find_idle_pruners(composed, fixed, configs)
        return faults + self._check_probe(sweeper, composable) + find_unknown_names(sweeper, list(known))

    def _check_probe(self, sweeper: DictConfig, point: list[Override]) -> list[Fault]:
        """Return the faults of ``probe_overrides``, which a dry run lays over a point."""
        faults: list[Fault] = []
        probe = self._parse(list(sweeper.probe_overrides or []), faults)
        keys = {override.key_or_group for override in probe}
        faults += self._keep_composable([*(one for one in point if one.key_or_group not in keys), *probe])[-1]
        return [Fault("hydra.sweeper.probe_overrides", f"{one.key}: {one.problem}", one.remedy) for one in faults]

    def _parse(self, lines: list[str], faults: list[Fault]) -> list[Override]:
        overrides: list[Override] = []
        for line in lines:
            try:
                overrides.append(self._parse_line(line))
            except (HydraException, ValueError, RecursionError):  # ValueError: a number too long for Python
                remedy = "the form is key=value; quote special signs"
                if line.startswith("data.label_map={"):
                    remedy = "labels with quotes or special signs need quotes around all of it: "
                    remedy += "'data.label_map=\"{Très bon: good}\"'"
                faults.append(Fault(shorten(line), "cannot be read as an override", remedy))
        return overrides

    def _check_point(self, overrides: list[Override]) -> list[Fault]:
        _, config, faults = self._keep_composable(overrides)
        return faults + self._check_settings(config)

    def _check_settings(self, config: DictConfig, sweeper: Mapping[str, Any] | None = None) -> list[Fault]:
        settings, faults = check_settings(config, Path.cwd())
        if settings is not None:
            self.unread.look(settings, sweeper or {})
            faults = [*faults, *self.find_more(settings, self.devices)]
        return faults

    def _keep_composable(self, overrides: list[Override]) -> tuple[list[Override], DictConfig, list[Fault]]:
        """Return the overrides that Hydra can compose, what they compose to, and the explained rest.

        The faultless case composes once; only after a failure is each override tried alone.
        """
        with suppress(*UNCOMPOSABLE):
            return overrides, self._compose(overrides), []
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
        return kept, self._compose(kept), faults

    def _explain_choice(self, override: Override, choices: list[Override]) -> Fault:
        group, option = override.key_or_group, override.get_value_element_as_str()
        options = self.loader.get_group_options(group)
        file = next((file for file in self._list_files(group, option) if file.is_file()), None)
        if (option not in options and file is None) or not isinstance(override.value(), str):  # nan: a number to Hydra
            return explain_unknown_option(group, shorten(option), options)
        clash = next((choice for choice in choices if not self._can_compose([choice, override])), None)
        if clash is not None and self._can_compose([override]):
            problem = f"{option} does not go with {clash.input_line}, which sets what it lacks, or sets it up otherwise"
            return Fault(group, problem, f"leave out {override.input_line}, or {clash.input_line}")
        remedy = f"correct {file or 'its YAML file'}"
        return Fault(group, f"{option} cannot be composed ({self._reason([*choices, override])})", remedy)

    def _list_files(self, group: str, option: str) -> list[Path]:
        """List where the file of an option may be."""
        folders = [Path(source.path) for source in self.loader.get_sources() if source.scheme() == "file"]
        return [folder / group / f"{option}.yaml" for folder in folders]

    def _explain_value(self, override: Override, choices: list[Override]) -> Fault:
        key = override.key_or_group
        if key.startswith(f"{PARAMS}."):
            return _explain_param(override)
        composed = self._compose(choices, with_hydra=override.is_hydra_override())
        known = list_keys(composed)
        if key in known:
            if OmegaConf.is_list(OmegaConf.select(composed, key)) and not isinstance(override.value(), list):
                values = "" if override.value() is None else override.get_value_string()
                return Fault(key, f"{override.input_line} sets no list", f"must be a list, as in {key}=[{values}]")
            reason = self._reason([*choices, override])
            remedy = f"python run.py --cfg {'hydra' if override.is_hydra_override() else 'job'} shows it"
            return Fault(key, f"cannot be set by {override.input_line} ({reason})", remedy)
        others = [choice for choice in choices if choice.key_or_group != "hydra/sweeper"]
        study = self._compose([*others, *self._parse(["hydra/sweeper=study"], [])], with_hydra=True)
        study_keys = [f"hydra.sweeper.{name}" for name in study.hydra.sweeper]
        if key in study_keys:
            remedy = "it belongs to studies: add search=study, or another search, and -m"
            return Fault(key, "no such key in this sweeper", remedy)
        if (sweep := self._find_sweep_with(override, choices, study.hydra.sweeper)) is not None:
            problem = (
                f"no such key in the default of {sweep.key_or_group}, and only jobs choose from {sweep.input_line}"
            )
            text = override.get_value_element_as_str()
            line = f"++{key}=null" if text == "null" else f"{key}=choice({text})"  # the grammar knows no choice(null)
            return Fault(key, problem, f"write it for the jobs alone: {line}")
        options = {group: self.loader.get_group_options(group) for group in self.groups}
        return explain_unknown_key(key, [*known, *self.groups, *study_keys], read_choices(study), options)

    def _find_sweep_with(self, override: Override, choices: list[Override], sweeper: DictConfig) -> Override | None:
        """Return the sweep over a config group whose jobs can have the key of an override; None: there is none.

        All of its options have the key, or a branch of the study does: it counts where it is in place.
        """
        if not self.multirun or override.is_hydra_override():  # of the sweep itself
            return None
        told = {choice.key_or_group for choice in choices}
        params = sweeper.params or {}
        in_branch = any(line.partition("=")[0] == override.key_or_group for line in list_branch_lines(sweeper))
        for sweep in [*self.swept, *self._parse([f"{key}={value}" for key, value in params.items()], [])]:
            options = list_values(sweep) if self._is_choice(sweep) and sweep.key_or_group not in told else []
            if options and (any if in_branch else all)(self._can_compose([*choices, one, override]) for one in options):
                return sweep
        return None

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
        except UNCOMPOSABLE as error:
            return find_reason(error)
        return None

    def _compose(self, overrides: list[Override], *, with_hydra: bool = False) -> DictConfig:
        return self.composers[with_hydra].compose(overrides)

    def _compose_job(self, point: list[Override]) -> DictConfig:
        """Compose a point as Hydra's sweeper does, which tells the job its words."""
        config = self._compose(point, with_hydra=True)
        with open_dict(config.hydra):
            config.hydra.overrides.task = [str(one.input_line) for one in point if not one.is_hydra_override()]
        return config

    def _compose_slowly(self, overrides: Sequence[str], *, with_hydra: bool) -> DictConfig:
        config: DictConfig = copy_config(self._compose_whole(tuple(overrides)))
        if not with_hydra:
            with open_dict(config):
                del config.hydra
        return config

    def _compose_anew(self, overrides: tuple[str, ...]) -> DictConfig:
        config = compose(self.config_name, list(overrides), return_hydra_config=True)
        sources = [Path(source.path) for source in config.hydra.runtime.config_sources if source.schema == "file"]
        if len(sources) > 1:
            files = self.loader.compute_defaults_list(self.config_name, list(overrides), RunMode.RUN).defaults
            meant = [str(file.config_path) for file in files if self.is_named or not file.primary]
            self.hidden |= dict.fromkeys(find_hidden(sources, meant))
        return config

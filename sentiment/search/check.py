"""Check a search before it runs: every corner of its space composes, and all that its options name exists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, cast

from omegaconf import OmegaConf

from sentiment.composing import COMPOSE_ERRORS, without_hydra
from sentiment.errors import ConfigError, Fault, first_line
from sentiment.flat import flatten, is_within
from sentiment.nearest import nearest
from sentiment.search.application import Application
from sentiment.search.search import Search
from sentiment.search.space.constraints import any_point, parse_constraints
from sentiment.search.space.corners import list_checked, list_corners
from sentiment.search.space.parameters import name_key
from sentiment.search.space.points import read_setting
from sentiment.search.study.history import has_study
from sentiment.search.study.population import PopulationPruner, can_change

SEED_KEY = "hydra.sweeper.seed_key"

WORDS = {"true": "True", "false": "False", "null": "None"}
"""What YAML and a constraint call differently."""


def check_search(search: Search, application: Application) -> None:
    """Compose every corner of the space, of a grid every point, and validate it where the application can.

    That is every choice, both ends of every interval and every branch, less the points that the application has
    checked already.

    Raises:
        ConfigError: With every fault of every corner, each once.
    """
    checked = list_checked(search.space, is_valid=search.is_valid, is_grid=search.grid is not None)
    points = [search.space.to_overrides(point) for point in checked]
    # A constraint that no corner keeps may name keys all the same.
    known = points or [search.space.to_overrides(corner) for corner in list_corners(search.space, is_valid=any_point)]
    faults = dict.fromkeys(_find_unknown_names(search, known))
    for overrides in points:
        if overrides in application.checked:
            continue
        try:
            config = search.composer.compose(overrides)
        except COMPOSE_ERRORS as error:
            faults[_blame(overrides, error)] = None
            continue
        if application.find_faults is not None:
            faults |= dict.fromkeys(application.find_faults(config))
    if not faults:
        faults = dict.fromkeys([*_check_seed(search), *_check_epochs(search), *_check_population(search)])
    if faults:
        raise ConfigError(list(faults))
    search.read_prior(search.space, search.is_valid)  # it may be faulty, as the points to begin with
    if search.options.extend is not None or not has_study(search.study_dir):
        search.list_starts()  # an entry may be faulty


def _check_seed(search: Search) -> list[Fault]:
    """Return what is wrong with the seed that repeats count up from."""
    key, repeats = search.repeats.seed_key, search.repeats.count
    if repeats == 1 or key in search.space.keys or key in search.settings.followers:
        return []
    seed = read_setting(search.settings.read({key}).get(key, "None"))
    if isinstance(seed, int) and not isinstance(seed, bool):
        return []
    return [Fault(key, f"{repeats} repeats count up from a whole number, and it is {seed!r}", f"set {key}=0")]


def _check_epochs(search: Search) -> list[Fault]:
    """Return what is wrong with a budget of epochs that no trial could keep to."""
    limit, key, repeats = search.options.epochs, search.options.epochs_key, search.repeats.count
    if limit is None or key in search.space.keys or key in search.settings.followers:
        return []
    epochs = read_setting(search.settings.read({key}).get(key, "None"))
    if not isinstance(epochs, int | float):
        problem = f"needs a number of epochs, and {key} is {epochs!r}"
        return [Fault("hydra.sweeper.epochs", problem, "name the key that has it: hydra.sweeper.epochs_key=KEY")]
    if epochs * repeats > limit:
        problem = f"is {limit:g}, and one trial takes {epochs * repeats:g} ({key}, with each of {repeats} seeds)"
        return [Fault("hydra.sweeper.epochs", problem, "raise it: one trial has to fit into it")]
    return []


def _check_population(search: Search) -> list[Fault]:
    """Return why a population would replace nobody, or change nothing in its copies."""
    if not isinstance(search.pruner, PopulationPruner):
        return []
    faults, quantile = [], search.pruner.quantile
    if search.total * quantile < 1:
        problem = f"{search.total} trials are a population of which a quantile of {quantile:g} is nobody to replace"
        remedy = f"set hydra.sweeper.n_trials={math.ceil(1 / quantile)} or more, or a larger quantile, at most 0.5"
        faults.append(Fault("hydra.sweeper.pruner.quantile", problem, remedy))
    numbers = {name_key(one.name) for one in search.space.parameters if can_change(one.distribution)}
    for key in search.pruner.keys:
        if not any(is_within(number, [key]) for number in numbers):
            problem = f"no number that is searched as an interval or a range lies under {key}: copies would not change"
            remedy = f"name some of {', '.join(sorted(numbers)) or 'them, of which there are none yet'}"
            faults.append(Fault("hydra.sweeper.pruner.keys", problem, remedy))
    return faults


def _blame(overrides: tuple[str, ...], error: Exception) -> Fault:
    """Name the override that the reason speaks of, else the whole point."""
    reason = first_line(error.__cause__ or error)
    for override in overrides:
        key, _, value = override.partition("=")
        if key.lstrip("+~") in reason or (value and value in reason):
            return Fault(key, f"cannot be composed with {override} ({reason})", "correct the search space")
    return Fault(" ".join(overrides), f"cannot be composed ({reason})", "correct the search space")


def _find_unknown_names(search: Search, points: Sequence[Sequence[str]]) -> list[Fault]:
    """Return the faults of keys in constraints, ``seed_key`` and branches that no configuration of the search has.

    A typo there would switch off what it stands in, without a word. The points, which are overrides, are composed only
    until every name is found.
    """
    options, composer = search.options, search.composer
    loader = composer.loader
    names = {(item.text, key) for item in parse_constraints(options.constraints) for key in item.keys}
    if options.repeats > 1 or options.seed_key != "seed":  # the default: who repeats nothing needs no such key
        names.add((SEED_KEY, options.seed_key))
    branches = options.branches or {}
    # A command line may narrow the space to options that lack a key: those that the files let choose count, too.
    written = [f"{key}={option}" for key in options.params or {} for option in loader.get_group_options(key)]
    others = [_choose(choice, point) for choice in (*branches, *written) for point in points[:1]]
    known: set[str] = set()
    for overrides in (*points, *others):
        if all(name in known for _, name in names):
            break
        try:
            config = composer.compose(overrides)
        except COMPOSE_ERRORS:
            continue  # explained where every corner is composed
        leaves = flatten(cast(dict[str, Any], OmegaConf.to_container(without_hydra(config), resolve=False)))
        known |= {key for leaf in leaves for key in accumulate(leaf.split("."), "{}.{}".format)}
    faults = []
    for place, name in sorted(names):
        if name not in known:
            guess = nearest(name, sorted(known))
            remedy = f"did you mean {guess}?" if guess else "name a key that some point of the search has"
            if "." not in name and place != SEED_KEY:
                remedy = (
                    f"write {WORDS[name]}" if name in WORDS else f"a text stands in quotes: '{name}'; else {remedy}"
                )
            faults.append(Fault(place, f"there is no key {name}", remedy))
    for condition in branches:
        group, _, option = condition.partition("=")
        known_options = loader.get_group_options(group)
        if known_options and option not in known_options:
            guess = nearest(option, known_options)
            remedy = (f"did you mean {group}={guess}? " if guess else "") + f"options: {', '.join(known_options)}"
            faults.append(Fault(condition, f"{group} has no option {option!r}", remedy))
    return faults


def _choose(choice: str, point: Sequence[str]) -> list[str]:
    """Return a point with another choice ``model=rnn``, less what it sets within the one that it had."""
    group = choice.partition("=")[0]
    return [*(line for line in point if not line.lstrip("+").startswith((f"{group}=", f"{group}."))), choice]

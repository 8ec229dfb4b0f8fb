"""Configuration keys that the options of a search name: a typo would switch off what it stands in, without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sentiment.errors import Fault
from sentiment.flat import flatten
from sentiment.nearest import nearest
from sentiment.search.options import StudyOptions
from sentiment.search.space.constraints import Constraints

SEED_KEY = "hydra.sweeper.seed_key"

WORDS = {"true": "True", "false": "False", "null": "None"}
"""What YAML and a constraint call differently."""


def find_unknown_names(
    options: StudyOptions,
    points: Sequence[Sequence[str]],
    compose: Callable[[Sequence[str]], DictConfig],
    loader: ConfigLoader,
) -> list[Fault]:
    """Return the faults of keys in constraints, ``seed_key`` and branches that no configuration of the search has.

    Args:
        options: The study's options.
        points: Points of the search, as overrides. They are composed only until every name is found.
        compose: Composes a point.
        loader: Knows the config groups.
    """
    names = {(item.text, key) for item in Constraints.parse(options.constraints).items for key in item.keys}
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
            config = compose(overrides)
        except (HydraException, OmegaConfBaseException):
            continue  # explained where every corner is composed
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        leaves = flatten(cast(dict[str, Any], OmegaConf.to_container(task, resolve=False)))
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

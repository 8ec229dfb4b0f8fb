"""Readable names for runs: the model and what was changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from sentiment.config.key_table import type_value
from sentiment.config.run_context import RunContext, read_fixed
from sentiment.format import format_setting, shorten_keys

NAME_LENGTH = 120
"""Most characters of a name; all overrides stand in a tag and in the resolved settings."""

JOB_NAME_LENGTH = 72
"""Most characters of a job's settings: its number tells it apart, whatever is cut."""


def parse_overrides(overrides: Sequence[str]) -> dict[str, str]:
    """Split ``model.heads=8`` into key and value; Hydra's signs before the key (+, ++, ~) are dropped.

    What ``model={heads: 8}`` sets of a group stands under its own key: it is no option of the group.
    """
    changed: dict[str, str] = {}
    for override in overrides:
        key, _, value = override.partition("=")
        name = key.lstrip("+~")
        changed |= _spread(name, value) if value.startswith("{") and "." not in name else {name: value}
    return changed


@lru_cache
def _spread(group: str, text: str) -> dict[str, str]:
    """Return each setting of a mapping; of several mappings, which a sweep runs over, the text itself."""
    from sentiment.composing import COMPOSE_ERRORS, spread_line  # Hydra, which most names do without

    try:
        settings = spread_line(f"{group}={text}")
    except (*COMPOSE_ERRORS, ValueError, RecursionError):  # no run had it, but a record that was damaged may
        return {group: text}
    return {group: text} if group in settings else {key: type_value(value) for key, value in settings.items()}


def name_run(model: str, overrides: Sequence[str]) -> str:
    """Name a run: ``transformer heads=8 lr=3e-4``."""
    return shorten(name_option(model, overrides), parse_overrides(overrides))


def name_option(model: str, overrides: Sequence[str]) -> str:
    """Return the option of ``model`` as it was typed, else its name: variants in YAML files share a name."""
    return parse_overrides(overrides).get("model") or model


def name_recorded(context: RunContext) -> str:
    """Name a run where it is recorded; jobs of a sweep by what differs between them first: ``12: heads=8 lr=3e-4 rnn``.

    Lists of runs show the first thirty characters or so. A search's drawn settings stand first already, and what its
    command fixed is told by its parent.
    """
    if context.job_number is None or context.sweep_dir is None:
        return name_run(context.settings.model.name, context.overrides)
    fixed = read_fixed(context.sweep_dir)
    own = [item for item in context.overrides if item not in fixed]
    changed = _leave_out_tracking(parse_overrides([*own, *(item for item in context.overrides if item in fixed)]))
    told = {key: value for key, value in changed.items() if key.split(".")[0] not in ("search", "experiment")}
    model = name_option(context.settings.model.name, context.overrides)
    settings = [model if key == "model" else setting for key, setting in _write_settings(told).items()]
    kept = _cut(settings if "model" in told else [*settings, model], JOB_NAME_LENGTH)
    return f"{context.job_number}: {' '.join(kept)}"


def name_sweep(overrides: Sequence[str], study: str | None = None) -> str:
    """Name a sweep: ``sweep model=transformer,rnn seed=0,1``, or ``seeds: ...`` where its study has a name of its own.

    Lists of runs show the first twenty characters or so: commands on a study want its name.
    """
    changed = _leave_out_tracking(parse_overrides(overrides))
    head = "sweep" if study is None else f"{study[:NAME_LENGTH]}:"  # databases of MLflow hold 250 characters
    room = NAME_LENGTH if study is None else max(NAME_LENGTH - len(head), 0)
    return " ".join([head, *_cut([f"{key}={value}" for key, value in changed.items()], room)])


def shorten(model: str, changed: Mapping[str, str], length: int = NAME_LENGTH) -> str:
    """Join the model's name and the changed settings under their short names, of which `length` characters are kept."""
    settings = {key: value for key, value in _leave_out_tracking(changed).items() if key != "model"}
    return " ".join([model, *_cut(list(_write_settings(settings).values()), length)])


def _write_settings(settings: Mapping[str, str]) -> dict[str, str]:
    names = shorten_keys(settings)
    # Hydra keeps `test=true` as `test=True`.
    typed = {key: value.lower() if value in ("True", "False") else value for key, value in settings.items()}
    return {key: f"{names[key]}={format_setting(value)}" for key, value in typed.items()}


def _leave_out_tracking(changed: Mapping[str, str]) -> dict[str, str]:
    """Leave out where a run is recorded, which says nothing about the run."""
    return {key: value for key, value in changed.items() if key.split(".")[0] != "tracking"}


def _cut(settings: Sequence[str], length: int = NAME_LENGTH) -> list[str]:
    """Keep whole settings while they fit, then say how many more there are."""
    kept: list[str] = []
    for setting in settings:
        if sum(map(len, kept)) + len(kept) + len(setting) > length:
            return [*kept, f"(+{len(settings) - len(kept)} more)"]
        kept.append(setting)
    return kept

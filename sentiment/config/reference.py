"""The pages of docs/configuration/: one a config group, made from the schemas and the YAML files.

Nothing here knows an option or a key: what a page says stands in a docstring or a description of
`sentiment.config.schema`, in a YAML file, or in the comments that the file opens with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from sentiment.config.key_table import (
    KeyRow,
    describe_values,
    list_keys_of,
    list_rules,
    make_commands,
    make_key_table,
    make_table,
    show_text,
    show_value,
    type_value,
)
from sentiment.config.option import choice_of, group_members
from sentiment.config.option_file import Overlay, read_header, read_overlay
from sentiment.config.schema import Settings
from sentiment.errors import SentimentError

MARKER = "<!-- Written by `python -m sentiment reference` from conf/ and the schemas: change those, not this page. -->"
"""First line of every page; only files that open with it are ever removed."""

INDEX_PAGE = "README.md"

OVERLAY_PURPOSES = {
    "search": "What a study varies and how it searches; used with `-m`.",
    "experiment": "Named questions: settings, and often a search, that belong together; used as the files say.",
}
"""Groups that no settings class stands behind: their options lay keys of other groups over a run."""


class UndescribedError(SentimentError):
    """Nothing says what a config group is for, or which keys an option has."""


@dataclass(frozen=True)
class ConfigGroup:
    """A folder of conf/.

    Attributes:
        name: Name of the group.
        default: Option that conf/config.yaml chooses; None where it chooses none.
        files: YAML file of each option, the default first.
        purpose: What it is for.
    """

    name: str
    default: str | None
    files: Mapping[str, Path]
    purpose: str

    @property
    def schemas(self) -> list[type[BaseModel]]:
        """The settings classes behind the group; none behind an overlay."""
        field = Settings.model_fields.get(self.name)
        return group_members(field.annotation) if field is not None else []

    def schema_of(self, values: Mapping[str, Any]) -> type[BaseModel]:
        """Return the settings class of an option's values: the one that all share, or the one that they name.

        Raises:
            UndescribedError: There is no class of that name.
        """
        schemas = {choice_of(schema): schema for schema in self.schemas}
        name = None if None in schemas else values.get("name")
        if name not in schemas:
            raise UndescribedError(
                f"conf/{self.name}/ holds an option with name: {name}, which no settings class stands behind\n"
                f"  -> name one of {', '.join(map(str, schemas))}, or write its class in sentiment/config/schema.py"
            )
        return schemas[name]


def render_pages(config_dir: Path) -> dict[str, str]:
    """Render every page: the index, and one page a config group.

    Args:
        config_dir: The folder of config.yaml.

    Returns:
        File name to Markdown.

    Raises:
        UndescribedError: A group has no sentence that says what it is for, or an option no settings class.
    """
    groups = read_groups(config_dir)
    defaults = compose_defaults(config_dir, [group for group in groups if group.schemas])
    pages = {INDEX_PAGE: _render_index(groups, defaults)}
    for group in groups:
        lines = _render_group(group, defaults) if group.schemas else _render_overlays(group)
        pages[f"{group.name}.md"] = _join(lines)
    return pages


def read_groups(config_dir: Path) -> list[ConfigGroup]:
    """Read the config groups, in the order of config.yaml.

    Raises:
        UndescribedError: A group has no sentence that says what it is for.
    """
    content = cast(DictConfig, OmegaConf.load(config_dir / "config.yaml"))
    entries = [next(iter(entry.items())) for entry in content.defaults if not isinstance(entry, str)]
    return [
        _read_group(config_dir, str(name), option) for name, option in entries if not str(name).startswith("override ")
    ]


def _read_group(config_dir: Path, name: str, default: str | None) -> ConfigGroup:
    field = Settings.model_fields.get(name)
    purpose = (field.description if field is not None else None) or OVERLAY_PURPOSES.get(name)
    if purpose is None:
        raise UndescribedError(
            f"nothing says what the config group {name} is for\n"
            "  -> describe its field of Settings in sentiment/config/schema.py, or add it to OVERLAY_PURPOSES in "
            "sentiment/config/reference.py"
        )
    files = sorted((config_dir / name).glob("*.yaml"), key=lambda file: (file.stem != default, file.stem))
    return ConfigGroup(name, default, {file.stem: file for file in files}, purpose)


def compose_defaults(config_dir: Path, groups: list[ConfigGroup]) -> dict[str, Any]:
    """Compose the values of every option, unresolved, with what an option inherits from another one.

    One composition takes an option of each group: a composition costs a tenth of a second.

    Returns:
        ``GROUP=OPTION`` to its values, and each top-level key to its value.
    """
    values: dict[str, Any] = {}
    with initialize_config_dir(str(config_dir.resolve())):
        for round_ in zip_longest(*([f"{group.name}={option}" for option in group.files] for group in groups)):
            choices = [choice for choice in round_ if choice is not None]
            composed = cast(dict[str, Any], OmegaConf.to_container(compose("config", choices), resolve=False))
            values |= {choice: composed[choice.partition("=")[0]] for choice in choices}
            values |= {key: value for key, value in composed.items() if not isinstance(value, dict)}
    return values


def _render_index(groups: list[ConfigGroup], defaults: Mapping[str, Any]) -> str:
    rows = [
        (f"[`{group.name}`]({group.name}.md)", show_value(group.default), _list_options(group), group.purpose)
        for group in groups
    ]
    properties = Settings.model_json_schema()["properties"]
    keys = [
        KeyRow(name, defaults[name], describe_values(properties[name]), show_text(field.description or ""))
        for name, field in Settings.model_fields.items()
        if not group_members(field.annotation)
    ]
    rules = [rule for rule in list_rules(Settings) if "." not in rule[0]]
    return _join(
        [
            "# Configuration",
            "",
            "A run is composed from groups (`group=option`) and keys (`key=value`, `group.key=value`). These pages",
            "are made from the schemas and the files of [`conf/`](../../conf); `python run.py --help` prints the keys.",
            "",
            *make_commands(["python run.py model=rnn model.cell=gru optimizer.lr=1e-3 seed=1"]),
            "## Groups",
            "",
            *make_table(("group", "default", "options", "what it is for"), rows),
            "",
            "## Top-level keys",
            "",
            *make_key_table(keys, rules),
        ]
    )


def _list_options(group: ConfigGroup) -> str:
    return ", ".join(f"[`{option}`]({group.name}.md#{option})" for option in group.files)


def _render_group(group: ConfigGroup, defaults: Mapping[str, Any]) -> list[str]:
    rows = [(_link_option(group, option), _summarise_option(group, option, defaults)) for option in group.files]
    lines = [
        f"# {group.name}",
        "",
        f"{group.purpose} Choose with `{group.name}=OPTION`, set a key with `{group.name}.KEY=VALUE`.",
        "",
        *make_table(("option", "what it is"), rows),
        "",
    ]
    for option in group.files:
        lines += _render_option(group, option, defaults[f"{group.name}={option}"])
    return lines


def _link_option(group: ConfigGroup, option: str) -> str:
    return f"[`{option}`](#{option})" + (" (default)" if option == group.default else "")


def _summarise_option(group: ConfigGroup, option: str, defaults: Mapping[str, Any]) -> str:
    """Describe an option in a line: by its own class, or by what sets it apart where all share one."""
    first, own = (defaults[f"{group.name}={name}"] for name in (group.default, option))
    schema = group.schema_of(own)
    if choice_of(schema):
        return _split_docstring(schema)[0]
    if option == group.default:
        return "what the others start from"
    apart = [f"`{key}={type_value(value)}`" for key, value in own.items() if first[key] != value]
    return f"as `{group.default}`, but {', '.join(apart)}"


def _split_docstring(schema: type[BaseModel]) -> tuple[str, str]:
    """Split a class's docstring into its first sentence, without the option that it opens with, and the rest."""
    first, _, rest = (schema.__doc__ or "").partition("\n\n")
    return show_text(first.partition(": ")[2] or first), show_text(rest)


def _render_option(group: ConfigGroup, option: str, values: Mapping[str, Any]) -> list[str]:
    schema = group.schema_of(values)
    summary, rest = _split_docstring(schema)
    own = [summary[0].upper() + summary[1:], "", *([rest, ""] if rest else [])] if choice_of(schema) else []
    return [
        *_open_section(group, option, own),
        *make_key_table(list(list_keys_of(schema, values)), list(list_rules(schema))),
    ]


def _open_section(group: ConfigGroup, option: str, text: list[str]) -> list[str]:
    """Make what every option's section starts with: its heading, what it is, its commands and its file."""
    header = read_header(group.files[option])
    place = f"conf/{group.name}/{option}.yaml"
    return [
        f"## {option}",
        "",
        *text,
        *make_commands(header.commands),
        *([show_text(header.remark), ""] if header.remark else []),
        f"File: [`{place}`](../../{place})",
        "",
    ]


def _render_overlays(group: ConfigGroup) -> list[str]:
    overlays = {option: read_overlay(file) for option, file in group.files.items()}
    rows = [
        (
            _link_option(group, option),
            show_text(read_header(group.files[option]).remark.partition(". ")[0].removesuffix(".")),
            ", ".join(dict.fromkeys(f"`{key}`" for _, key, _ in overlay.varied)),
        )
        for option, overlay in overlays.items()
    ]
    lines = [
        f"# {group.name}",
        "",
        f"{group.purpose} Choose with `{group.name}=OPTION`.",
        "",
        *make_table(("option", "about", "what it varies"), rows),
        "",
    ]
    for option, overlay in overlays.items():
        lines += [*_open_section(group, option, []), *_render_overlay(overlay)]
    return lines


def _render_overlay(overlay: Overlay) -> list[str]:
    lines: list[str] = []
    if overlay.bases:
        lines += [f"Starts from {', '.join(f'[`{base}`](#{base})' for base in overlay.bases)}.", ""]
    if overlay.choices:
        lines += [f"Chooses {', '.join(f'`{choice}`' for choice in overlay.choices)}.", ""]
    if overlay.varied:
        rows = [(f"`{key}`", f"`{values}`", f"`{when}`" if when else "always") for when, key, values in overlay.varied]
        lines += [*make_table(("key it varies", "values", "when"), rows), ""]
    if overlay.constraints:
        lines += ["Every point satisfies:", "", *(f"- `{text}`" for text in overlay.constraints), ""]
    if overlay.settings:
        settings = [(f"`{key}`", show_value(value)) for key, value in overlay.settings.items()]
        lines += [*make_table(("key it sets", "value"), settings), ""]
    return lines


def _join(lines: list[str]) -> str:
    return "\n".join([MARKER, "", *lines]).rstrip("\n") + "\n"

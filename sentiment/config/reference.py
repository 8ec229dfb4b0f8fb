"""The pages of docs/configuration/: one per config group, made from the schemas and the YAML files.

Nothing here knows an option or a key: what a page says stands in a docstring or a description of
`sentiment.config.schema`, in a YAML file, or in the comments that the file opens with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

import jinja2
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import BaseModel

from sentiment.config.key_table import KeyRow, describe_key, list_keys_of, list_rules, show_text, show_value, type_value
from sentiment.config.option import choice_of, group_members
from sentiment.config.reading import read_default_options
from sentiment.config.schema import Settings
from sentiment.errors import SentimentError
from sentiment.flat import flatten

MARKER = "<!-- Written by `python -m sentiment reference` from conf/ and the schemas: change those, not this page. -->"
"""First line of every page; only files that open with it are ever removed."""

INDEX_PAGE = "README.md"

OVERLAY_PURPOSES = {
    "search": "What a study varies and how it searches; used with `-m`.",
    "debug": "Try a run before it is trained; it lies under `debug/`, and nothing ranks, registers or compares it.",
    "experiment": "Named questions: settings, and often a search, that belong together; used as the files say.",
}
"""Groups that no settings class stands behind: their options lay keys of other groups over a run."""


@dataclass(frozen=True)
class OptionFile:
    """What the YAML file of an option says, without what it starts from; interpolations stay as they are."""

    name: str  # name of the option
    commands: tuple[str, ...]  # the commands that use it, each with its remark as a shell comment
    remark: str  # the other sentences that it opens with; empty where there are none
    bases: tuple[str, ...]  # options of the same group that it starts from
    # Options of other groups that it chooses, e.g. ``model=rnn``.
    choices: tuple[str, ...]
    varied: tuple[tuple[str, str, str], ...]  # the search space: condition (empty: always), key and values
    constraints: tuple[str, ...]  # expressions that every point satisfies
    settings: Mapping[str, Any]  # every other key that it sets, dotted

    @property
    def about(self) -> str:
        """The first sentence of the remark."""
        return self.remark.partition(". ")[0].removesuffix(".")


@dataclass(frozen=True)
class ConfigGroup:
    """A folder of conf/."""

    name: str  # name of the group
    default: str | None  # option that conf/config.yaml chooses; None where it chooses none
    purpose: str  # what it is for
    files: Mapping[str, OptionFile]  # the file of each option by its name, the default first

    @property
    def schemas(self) -> list[type[BaseModel]]:
        """The settings classes behind the group; none behind an overlay."""
        field = Settings.model_fields.get(self.name)
        return group_members(field.annotation) if field is not None else []

    def schema_of(self, values: Mapping[str, Any]) -> type[BaseModel]:
        """Return the settings class of an option's values: the one that all share, or the one that they name.

        Raises:
            SentimentError: There is no class of that name.
        """
        schemas = {choice_of(schema): schema for schema in self.schemas}
        name = None if None in schemas else values.get("name")
        if name not in schemas:
            raise SentimentError(
                f"conf/{self.name}/ holds an option with name: {name}, which no settings class stands behind",
                f"name one of {', '.join(map(str, schemas))}, or write its class in sentiment/config/schema.py",
            )
        return schemas[name]


@dataclass(frozen=True)
class DescribedOption:
    """An option that a settings class stands behind."""

    file: OptionFile  # its file
    summary: str  # what it is, in a line
    paragraphs: list[str]  # what its class says of it; empty where all options share one class
    keys: list[KeyRow]  # its keys
    rules: list[tuple[str, str]]  # the key that is blamed, and the rule in a sentence


def render_pages(config_dir: Path) -> dict[str, str]:
    """Render every page: the index, and one page per config group.

    Args:
        config_dir: The folder of config.yaml.

    Returns:
        File name to Markdown.

    Raises:
        SentimentError: A group has no sentence that says what it is for, or an option no settings class.
    """
    groups = read_groups(config_dir)
    defaults = _compose_defaults(config_dir, [group for group in groups if group.schemas])
    properties = Settings.model_json_schema()["properties"]
    keys = [
        describe_key(name, defaults[name], properties[name])
        for name, field in Settings.model_fields.items()
        if not group_members(field.annotation)
    ]
    rules = [rule for rule in list_rules(Settings) if "." not in rule[0]]
    pages = {INDEX_PAGE: render("index_page", groups=groups, keys=keys, rules=rules)}
    for group in groups:
        if group.schemas:
            options = [_describe_option(group, file, defaults) for file in group.files.values()]
            pages[f"{group.name}.md"] = render("settings_page", group=group, options=options)
        else:
            pages[f"{group.name}.md"] = render("overlay_page", group=group)
    return {name: f"{MARKER}\n\n{page}" for name, page in pages.items()}


def link_option(base: str) -> str:
    """Return the link to an option that another starts from: in its own group, or ``/GROUP/NAME`` in another's page."""
    group, _, name = base.lstrip("/").rpartition("/")
    return f"{group}.md#{name}" if group else f"#{name}"


def render(macro: str, **content: Any) -> str:
    """Render a macro of reference.md.j2 to Markdown, with one empty line wherever the template leaves some."""
    environment = jinja2.Environment(  # Markdown: there is nothing to escape but the bars in a table's cells
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cell": lambda text: text.replace("|", r"\|"),
        "code": lambda text: f"`{text}`",
        "link_option": link_option,
        "text": show_text,
        "value": show_value,
    }
    page = getattr(environment.get_template("reference.md.j2").module, macro)(**content)
    return re.sub(r"\n{3,}", "\n\n", page).strip() + "\n"


def read_groups(config_dir: Path) -> list[ConfigGroup]:
    """Read the config groups, in the order of config.yaml.

    Raises:
        SentimentError: A group has no sentence that says what it is for.
    """
    groups: list[ConfigGroup] = []
    for name, default in read_default_options(config_dir).items():
        field = Settings.model_fields.get(name)
        purpose = (field.description if field is not None else None) or OVERLAY_PURPOSES.get(name)
        if purpose is None:
            raise SentimentError(
                f"nothing says what the config group {name} is for",
                "describe its field of Settings in sentiment/config/schema.py, or add it to OVERLAY_PURPOSES in "
                "sentiment/config/reference.py",
            )
        files = sorted((config_dir / name).glob("*.yaml"), key=lambda file: (file.stem != default, file.stem))
        groups.append(ConfigGroup(name, default, purpose, {file.stem: read_option_file(file) for file in files}))
    return groups


def read_option_file(file: Path) -> OptionFile:
    """Read an option's YAML file and the comments that it opens with."""
    commands: list[str] = []
    sentences: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("#").strip()
        if text.startswith("python "):
            commands.append(re.sub(r"\s{2,}(?!#)", "  # ", text, count=1))
        elif text and not text.startswith("@package"):
            sentences.append(text)
    content = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(file), resolve=False) or {})
    defaults = content.pop("defaults", [])
    chosen = [next(iter(entry.items())) for entry in defaults if isinstance(entry, dict)]
    sweeper = content.get("hydra", {}).get("sweeper", {})
    branches = {"": sweeper.pop("params", {}), **sweeper.pop("branches", {})}
    return OptionFile(
        name=file.stem,
        commands=tuple(commands),
        remark=" ".join(sentences),
        bases=tuple(entry for entry in defaults if isinstance(entry, str) and entry != "_self_"),
        choices=tuple(f"{group.removeprefix('override ').lstrip('/')}={option}" for group, option in chosen),
        varied=tuple((when, key, str(values)) for when, keys in branches.items() for key, values in keys.items()),
        constraints=tuple(sweeper.pop("constraints", ())),
        settings=flatten(content),
    )


def _compose_defaults(config_dir: Path, groups: list[ConfigGroup]) -> dict[str, Any]:
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


def compose_sweeper_options(config_dir: Path, group: str) -> list[tuple[OptionFile, dict[str, Any]]]:
    """Return the options of a group of the sweeper that have a file in conf/, with the values that they compose to."""
    options: list[tuple[OptionFile, dict[str, Any]]] = []
    with initialize_config_dir(str(config_dir.resolve())):
        for file in sorted((config_dir / "hydra" / "sweeper" / group).glob("*.yaml")):
            choices = ["hydra/sweeper=study", f"hydra/sweeper/{group}={file.stem}"]
            composed = compose("config", choices, return_hydra_config=True).hydra.sweeper[group]
            values = cast(dict[str, Any], OmegaConf.to_container(composed, resolve=False))
            options.append((read_option_file(file), values))
    return options


def _describe_option(group: ConfigGroup, file: OptionFile, defaults: Mapping[str, Any]) -> DescribedOption:
    """Describe an option: by its own class, or by what sets it apart from the default where all share one."""
    first, own = (defaults.get(f"{group.name}={name}", {}) for name in (group.default, file.name))
    if own is None:
        return DescribedOption(file, "leaves it out", [], [], [])
    schema = group.schema_of(own)
    paragraphs: list[str] = []
    if choice_of(schema):
        opening, _, rest = (schema.__doc__ or "").partition("\n\n")
        summary = show_text(opening.partition(": ")[2] or opening)
        paragraphs = [text for text in (summary[0].upper() + summary[1:], show_text(rest)) if text]
    elif file.name == group.default:
        summary = "what the others start from"
    else:
        apart = [f"`{key}={type_value(value)}`" for key, value in own.items() if first[key] != value]
        summary = f"as `{group.default}`, but {', '.join(apart)}"
    return DescribedOption(file, summary, paragraphs, list(list_keys_of(schema, own)), list(list_rules(schema)))

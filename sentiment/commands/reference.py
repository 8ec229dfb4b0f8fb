"""``python -m sentiment reference``: the pages of docs/configuration/, from the schemas and conf/."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sentiment import atomic
from sentiment.errors import SentimentError

SUMMARY = "write the pages on the configuration, docs/configuration/, from the schemas"


class StalePagesError(SentimentError):
    """Pages differ from what the schemas say now."""

    def __init__(self, names: list[str], folder: Path) -> None:
        super().__init__(
            f"{len(names)} page{'s' if len(names) != 1 else ''} of {folder} {'do' if len(names) != 1 else 'does'} not "
            f"say what the schemas and conf/ say: {', '.join(names)}\n"
            "  -> write them again: python -m sentiment reference"
        )


class PagesUnwritableError(SentimentError):
    """The folder of the pages cannot be written."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--check", action="store_true", help="write nothing; fail and name the pages that are stale")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder of the pages (default: docs/configuration/ of the project)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the pages, or check them.

    Raises:
        StalePagesError: With ``--check``, where a page is missing, differs, or is of a group that is gone.
        PagesUnwritableError: The folder cannot be written.
    """
    from sentiment.config.home import PROJECT_DIR

    folder = options.output or PROJECT_DIR / "docs" / "configuration"
    pages = make_pages(PROJECT_DIR / "conf")
    if not options.check:
        for file in write_pages(pages, folder):
            print(file)
        return
    stale = find_stale_pages(pages, folder)
    if stale:
        raise StalePagesError(stale, folder)
    print(f"The {len(pages)} pages of {folder} are current.")


def make_pages(config_dir: Path) -> dict[str, str]:
    """Make every page: the groups' from their schemas, and what the sweep engine adds to the page on searches."""
    from sentiment.config.reference import render_pages

    pages = render_pages(config_dir)
    pages["search.md"] += f"\n{render_sweeper()}"
    return pages


def render_sweeper() -> str:
    """Render the sections on ``hydra/sweeper=study``, its pruners and its samplers, as Markdown."""
    from sentiment.config.key_table import list_keys_of, make_key_table, make_table, show_text, show_value
    from sentiment.search.options import StudyOptions
    from sentiment.search.plugin.reference import list_pruners, list_samplers, read_sweeper_defaults
    from sentiment.search.plugin.registration import StudySweeperConf

    def show_keys(values: Mapping[str, Any]) -> str:
        return ", ".join(f"`{name}` {show_value(value)}" for name, value in values.items()) or "-"

    defaults, pruners, samplers = read_sweeper_defaults(), list_pruners(), list_samplers()
    pruner, sampler = defaults["pruner"], defaults["sampler"]
    pruner_rows = [(f"`{one.name}`", show_text(one.doc), show_keys(one.defaults)) for one in pruners]
    sampler_rows = [(f"`{one.name}`", f"`{one.made_by}`", show_keys(one.defaults)) for one in samplers]
    lines = [
        "## All keys of the sweeper",
        "",
        show_text(StudySweeperConf.__doc__ or "").partition(" Here are the defaults")[0],
        "The defaults are the sweeper's own; a search may set others, see above. Set with `hydra.sweeper.KEY=VALUE`.",
        "",
        *make_key_table(list(list_keys_of(StudyOptions, defaults)), []),
        "## Pruners",
        "",
        f"Choose with `hydra/sweeper/pruner=NAME` (`{pruner}` where nothing else is chosen), set a key with",
        "`hydra.sweeper.pruner.KEY=VALUE`.",
        "",
        *make_table(("pruner", "what it does", "keys and defaults"), pruner_rows),
        "",
        "## Samplers",
        "",
        f"Choose with `hydra/sweeper/sampler=NAME` (`{sampler}` where nothing else is chosen), set a key with",
        "`hydra.sweeper.sampler.KEY=VALUE`. The keys are those of Optuna's class.",
        "",
        *(f"- `{one.name}`: {show_text(one.doc)}" for one in samplers if one.doc),
        "",
        *make_table(("sampler", "made by", "keys and defaults"), sampler_rows),
    ]
    return "\n".join(lines) + "\n"


def find_stale_pages(pages: Mapping[str, str], folder: Path) -> list[str]:
    """Name the pages that are missing, differ, or are of a group that is gone."""
    differing = [name for name, text in pages.items() if _read_page(folder / name) != text]
    return sorted([*differing, *(file.name for file in _find_abandoned(pages, folder))])


def write_pages(pages: Mapping[str, str], folder: Path) -> list[Path]:
    """Write the pages that differ, each atomically, and remove those of groups that are gone.

    Returns:
        The files that were written or removed.

    Raises:
        PagesUnwritableError: The folder cannot be written.
    """
    changed: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            if _read_page(folder / name) != text:
                atomic.write_text(folder / name, text)
                changed.append(folder / name)
        for file in _find_abandoned(pages, folder):
            file.unlink()
            changed.append(file)
    except OSError as error:
        raise PagesUnwritableError(
            f"the pages cannot be written to {folder}: {error}\n  -> free space, or choose another: --output FOLDER"
        ) from error
    return changed


def _read_page(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _find_abandoned(pages: Mapping[str, str], folder: Path) -> list[Path]:
    """Find generated pages that nothing generates any more; what a person wrote there is left alone."""
    from sentiment.config.reference import MARKER

    files = [file for file in sorted(folder.glob("*.md")) if file.name not in pages]
    return [file for file in files if file.read_text(encoding="utf-8").startswith(MARKER)]

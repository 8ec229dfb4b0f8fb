"""``python -m sentiment reference``: the pages of docs/configuration/, from the schemas and conf/."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sentiment import atomic
from sentiment.errors import SentimentError, explaining
from sentiment.format import format_count
from sentiment.paths import expand_home

if TYPE_CHECKING:
    from sentiment.search.plugin.registration import Part

SUMMARY = "write the pages on the configuration, docs/configuration/, from the schemas"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("--check", action="store_true", help="write nothing; fail and name the pages that are stale")
    parser.add_argument(
        "--output",
        type=expand_home,
        metavar="FOLDER",
        help="folder of the pages (default: docs/configuration/ of the project)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the pages, or check them.

    Raises:
        SentimentError: With ``--check``, a page is missing, differs, or is of a group that is gone; without it, the
            folder cannot be written.
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
        raise SentimentError(
            f"{format_count(len(stale), 'page')} of {folder} {'do' if len(stale) != 1 else 'does'} not "
            f"say what the schemas and conf/ say: {', '.join(stale)}",
            "write them again: python -m sentiment reference",
        )
    print(f"The {len(pages)} pages of {folder} are current.")


def make_pages(config_dir: Path) -> dict[str, str]:
    """Make every page: the groups' from their schemas, and what the sweep engine adds to the page on searches."""
    from sentiment.config.key_table import list_keys_of
    from sentiment.config.reference import render, render_pages
    from sentiment.search.options import StudyOptions
    from sentiment.search.plugin.registration import (
        StudySweeperConf,
        list_pruners,
        list_samplers,
        read_sweeper_defaults,
    )

    defaults = read_sweeper_defaults()
    pages = render_pages(config_dir)
    pages["search.md"] += "\n" + render(
        "sweeper_sections",
        about=(StudySweeperConf.__doc__ or "").partition(" Here are the defaults")[0],
        keys=list_keys_of(StudyOptions, defaults),
        defaults=defaults,
        pruners=lay_over(list_pruners(), config_dir, "pruner"),
        samplers=lay_over(list_samplers(), config_dir, "sampler"),
    )
    return pages


def lay_over(parts: Sequence[Part], config_dir: Path, group: str) -> list[Part]:
    """Return the pruners or samplers that commands choose from: a file of conf/ comes before the engine's option."""
    from sentiment.config.reference import compose_sweeper_options
    from sentiment.search import register
    from sentiment.search.plugin.registration import MACHINERY, Part

    register()
    chosen = {part.name: part for part in parts}
    for file, values in compose_sweeper_options(config_dir, group):
        doc = f"{chosen[file.name].doc} {file.remark}" if file.name in chosen else file.remark
        defaults = {key: value for key, value in values.items() if key not in MACHINERY}
        chosen[file.name] = Part(file.name, values["_target_"].rpartition(".")[2], doc, defaults)
    return list(chosen.values())


def find_stale_pages(pages: Mapping[str, str], folder: Path) -> list[str]:
    """Name the pages that are missing, differ, or are of a group that is gone; what a person wrote is left alone."""
    from sentiment.config.reference import MARKER

    stored = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.md")}
    gone = [name for name, text in stored.items() if name not in pages and text.startswith(MARKER)]
    return sorted([*gone, *(name for name, text in pages.items() if stored.get(name) != text)])


def write_pages(pages: Mapping[str, str], folder: Path) -> list[Path]:
    """Write the pages that differ, each atomically, and remove those of groups that are gone.

    Returns:
        The files that were written or removed.

    Raises:
        SentimentError: The folder cannot be written.
    """
    with explaining(f"the pages cannot be written to {folder}", "free space, or choose another: --output FOLDER"):
        folder.mkdir(parents=True, exist_ok=True)
        stale = find_stale_pages(pages, folder)
        for name in stale:
            if name in pages:
                atomic.write_text(folder / name, pages[name])
            else:
                (folder / name).unlink()
    return [folder / name for name in stale]

"""``python -m sentiment reference``: the pages in the checkout are current, and the command keeps them so."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from sentiment.__main__ import main
from sentiment.commands.reference import find_stale_pages, make_pages, write_pages
from sentiment.config.home import PROJECT_DIR
from sentiment.config.key_table import type_value
from sentiment.config.reference import MARKER
from sentiment.errors import SentimentError
from sentiment.search.options import StudyOptions
from sentiment.search.plugin.registration import PRUNERS, SAMPLERS

SWEEPER_FILES = sorted((PROJECT_DIR / "conf" / "hydra" / "sweeper").glob("*/*.yaml"))


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return make_pages(PROJECT_DIR / "conf")


def test_the_pages_in_the_checkout_are_current(pages):
    stale = find_stale_pages(pages, PROJECT_DIR / "docs" / "configuration")
    assert not stale, f"stale: {stale}; write them again with: python -m sentiment reference"


def test_the_page_on_searches_tells_the_spaces_and_the_sweeper(pages):
    assert "## transformer\n" in pages["search.md"]
    assert "## All keys of the sweeper\n" in pages["search.md"]


def test_every_key_of_the_sweeper_has_a_row_with_its_default(pages):
    text, _ = pages["search.md"].partition("## All keys of the sweeper")[2].split("## Pruners")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert [row[0].strip("| `") for row in rows] == list(StudyOptions.model_fields)
    defaults = {row[0].strip("| `"): row[1] for row in rows}
    assert defaults["sampler"] == "`multivariate_tpe`"
    assert defaults["direction"] == "`minimize`"
    assert defaults["storage"] == "`null`"
    assert defaults["reuse"] == "`folder`"
    assert defaults["constraints"] == "`[]`"
    assert "| `max_failure_rate` | `0.0` | number, 0 to 1 |" in text


def test_pruners_and_samplers_have_rows_without_those_that_are_gone(pages):
    _, text = pages["search.md"].split("## Pruners")
    for name in [*PRUNERS, *SAMPLERS, "tpe", "random", "grid", "qmc"]:
        assert text.count(f"| `{name}` | ") == 1, name
    assert "motpe" not in text


@pytest.mark.parametrize("file", SWEEPER_FILES, ids=lambda file: file.stem)
def test_options_of_conf_have_the_keys_and_defaults_that_a_command_has(pages, file):
    """They come before the engine's options of the same name, whose defaults no command of this project has."""
    group = file.parent.name
    _, text = pages["search.md"].split("## Pruners")
    [row] = [line for line in text.splitlines() if line.startswith(f"| `{file.stem}` | ")]
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        overrides = ["hydra/sweeper=study", f"hydra/sweeper/{group}={file.stem}"]
        config = compose("config", overrides, return_hydra_config=True).hydra.sweeper[group]
    values = OmegaConf.to_container(config, resolve=False)
    for key, value in values.items():
        assert key == "_target_" or f"`{key}` `{type_value(value)}`" in row, key


def test_writing_changes_what_differs_and_nothing_else(pages, tmp_path):
    assert {file.name for file in write_pages(pages, tmp_path)} == set(pages)
    assert find_stale_pages(pages, tmp_path) == []
    assert {file.name for file in tmp_path.iterdir()} == set(pages)
    before = (tmp_path / "model.md").stat().st_mtime_ns
    (tmp_path / "data.md").write_text("edited by hand")
    assert write_pages(pages, tmp_path) == [tmp_path / "data.md"]
    assert (tmp_path / "data.md").read_text() == pages["data.md"]
    assert (tmp_path / "model.md").stat().st_mtime_ns == before


def test_the_page_of_a_group_that_is_gone_is_removed_but_no_page_of_a_person(pages, tmp_path):
    write_pages(pages, tmp_path)
    (tmp_path / "gone.md").write_text(f"{MARKER}\n\n# gone\n")
    (tmp_path / "notes.md").write_text("# my notes\n")
    assert find_stale_pages(pages, tmp_path) == ["gone.md"]
    write_pages(pages, tmp_path)
    assert not (tmp_path / "gone.md").exists()
    assert (tmp_path / "notes.md").exists()


def test_check_names_the_stale_pages_and_writes_nothing(tmp_path, capsys):
    main(["reference", "--output", str(tmp_path)])
    main(["reference", "--check", "--output", str(tmp_path)])
    assert "are current" in capsys.readouterr().out
    (tmp_path / "model.md").unlink()
    (tmp_path / "data.md").write_text("edited by hand")
    with pytest.raises(
        SentimentError, match=r"2 pages .* say: data.md, model.md\n  -> .*python -m sentiment reference$"
    ):
        main(["reference", "--check", "--output", str(tmp_path)])
    assert not (tmp_path / "model.md").exists()
    assert (tmp_path / "data.md").read_text() == "edited by hand"


def test_a_folder_that_cannot_be_written_is_said(pages, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SentimentError, match="choose another: --output FOLDER"):
        write_pages(pages, tmp_path / "file")

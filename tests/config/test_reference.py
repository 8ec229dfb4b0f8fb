"""The pages tell every group, option and key of the schemas, with default, values and meaning."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel

from sentiment.config.home import PROJECT_DIR
from sentiment.config.key_table import KeyRow
from sentiment.config.option import choice_of, group_members
from sentiment.config.reference import INDEX_PAGE, MARKER, OptionFile, read_option_file, render, render_pages
from sentiment.config.schema import Settings
from sentiment.errors import SentimentError

CONF = PROJECT_DIR / "conf"
GROUPS = {
    name: group_members(field.annotation)
    for name, field in Settings.model_fields.items()
    if group_members(field.annotation)
}
OPTIONS = [(group, file.stem) for group in GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return render_pages(CONF)


def section(page: str, heading: str) -> str:
    [text] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    return text


def read_rows(text: str) -> list[list[str]]:
    """The rows of the first table with a header of four columns."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names_of(schema: type[BaseModel]) -> list[str]:
    names = []
    for name, field in schema.model_fields.items():
        inner = group_members(field.annotation)
        names += [f"{name}.{key}" for key in names_of(inner[0])] if inner else [name]
    return names


def schema_of(group: str, option: str) -> type[BaseModel]:
    members = GROUPS[group]
    return next((member for member in members if choice_of(member) == option), members[0])


def test_every_folder_of_conf_has_a_page(pages):
    folders = {folder.name for folder in CONF.iterdir() if folder.is_dir()} - {"hydra"}
    assert set(pages) == {INDEX_PAGE, *(f"{name}.md" for name in folders)}
    assert all(page.startswith(MARKER) for page in pages.values())


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_key_stands_there_once_with_default_values_and_meaning(pages, group, option):
    rows = read_rows(section(pages[f"{group}.md"], option))
    if (group, option) == ("pretrain", "none"):  # it leaves the group out
        assert not rows
        return
    assert [row[0].strip("`") for row in rows] == names_of(schema_of(group, option))
    assert all(len(row) == 4 and all(row) for row in rows), rows


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_defaults_are_those_that_compose(pages, compose_config, group, option):
    composed = compose_config(f"{group}={option}")[group]
    for key, default, *_ in read_rows(section(pages[f"{group}.md"], option)):
        node = composed
        *parents, leaf = key.strip("`").split(".")
        for parent in parents:
            node = node[parent]
        raw = node._get_node(leaf)._value()
        typed = "null" if raw is None else str(raw).lower() if isinstance(raw, bool) else str(raw)
        assert default == ("required" if raw == "???" else f"`{typed}`"), key


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_commands_that_use_an_option_are_shown(pages, group, option):
    assert f"python run.py {group}={option}" in section(pages[f"{group}.md"], option)


@pytest.mark.parametrize("group", ["search", "experiment"])
def test_every_overlay_says_what_it_varies_and_sets(pages, group):
    files = sorted((CONF / group).glob("*.yaml"))
    assert files
    for file in files:
        text = section(pages[f"{group}.md"], file.stem)
        assert "python run.py" in text
        assert len(read_rows(text)) + text.count("Chooses") >= 1, file


def test_a_conditional_space_says_when(pages):
    assert "| `model.cell` | `lstm,gru` | `model=rnn` |" in section(pages["search.md"], "both")


def test_ranges_choices_and_rules_are_told(pages):
    transformer = section(pages["model.md"], "transformer")
    assert "| `heads` | `4` | whole number, 1 to 1024 | Attention heads H of every block. |" in transformer
    assert "`narrow`, `wide`" in transformer
    assert "- `heads`: Narrow heads share the width out evenly, so H must divide D." in transformer
    assert "- `tokenizer.vocabulary_size`: " in section(pages["data.md"], "imdb")


def test_an_option_that_inherits_says_how_it_differs(pages):
    assert (
        "| [`gpu`](#gpu) | as `auto`, but `accelerator=gpu`, `precision=bf16-mixed`, `deterministic=false` |"
        in (pages["trainer.md"])
    )


def test_the_index_has_the_groups_with_their_defaults_and_the_top_level_keys(pages):
    index = pages[INDEX_PAGE]
    assert "| [`model`](model.md) | `transformer` |" in index
    assert "| [`search`](search.md) | `null` |" in index
    keys = [row[0].strip("`") for row in read_rows(section(index, "Top-level keys"))]
    assert keys == [name for name in Settings.model_fields if name not in GROUPS]


@pytest.fixture
def copied_conf(tmp_path: Path) -> Path:
    return shutil.copytree(CONF, tmp_path / "conf")


def test_a_new_option_and_a_changed_default_change_the_page(copied_conf, pages):
    model = copied_conf / "model"
    text = (model / "rnn.yaml").read_text()
    (model / "rnn.yaml").write_text(text.replace("depth: 1\n", "depth: 3\n"))
    (model / "deep_rnn.yaml").write_text("# python run.py model=deep_rnn\n" + text.replace("depth: 1\n", "depth: 9\n"))
    page = render_pages(copied_conf)["model.md"]
    assert page != pages["model.md"]
    assert ["`depth`", "`3`"] in [row[:2] for row in read_rows(section(page, "rnn"))]
    assert ["`depth`", "`9`"] in [row[:2] for row in read_rows(section(page, "deep_rnn"))]


def test_an_option_that_no_class_stands_behind_is_refused_with_the_remedy(copied_conf):
    (copied_conf / "model" / "cnn.yaml").write_text("# python run.py model=cnn\nname: cnn\n")
    with pytest.raises(SentimentError, match=r"name: cnn.*\n  -> name one of transformer, .* or write its class"):
        render_pages(copied_conf)


def test_a_group_without_a_purpose_is_refused_with_the_remedy(copied_conf):
    config = copied_conf / "config.yaml"
    config.write_text(config.read_text().replace("  - search: null\n", "  - search: null\n  - flavour: null\n"))
    with pytest.raises(SentimentError, match=r"flavour is for\n  -> describe"):
        render_pages(copied_conf)


OVERLAY = """\
# @package _global_
# python run.py -m search=mine
# python run.py -m search=mine seed=1        another seed
# First sentence.
# Second one.

defaults:
  - study
  - override /model: rnn
  - _self_

# not of the header
trainer:
  test: false
hydra:
  sweeper:
    n_trials: 7
    study_name: ${hydra.job.name}
    params:
      model: transformer,rnn
    branches:
      model=rnn:
        model.cell: lstm,gru
    constraints:
      - model.depth < 3
"""


def test_a_file_is_told_apart_into_commands_sentences_and_what_it_sets(tmp_path):
    (tmp_path / "mine.yaml").write_text(OVERLAY)
    assert read_option_file(tmp_path / "mine.yaml") == OptionFile(
        name="mine",
        commands=("python run.py -m search=mine", "python run.py -m search=mine seed=1  # another seed"),
        remark="First sentence. Second one.",
        bases=("study",),
        choices=("model=rnn",),
        varied=(("", "model", "transformer,rnn"), ("model=rnn", "model.cell", "lstm,gru")),
        constraints=("model.depth < 3",),
        settings={
            "trainer.test": False,
            "hydra.sweeper.n_trials": 7,
            "hydra.sweeper.study_name": "${hydra.job.name}",
        },
    )


def test_a_file_of_settings_alone_is_an_option_too(tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: 3\n")
    assert read_option_file(tmp_path / "mine.yaml").settings == {"seed": 3}


def test_the_table_survives_a_bar_in_a_cell():
    page = render(
        "index_page", groups=[], keys=[KeyRow("share", "a|b", "`a|b`", "Either|or.")], rules=[("share", "R.")]
    )
    assert "| `share` | `a\\|b` | `a\\|b` | Either\\|or. |" in page
    assert page.endswith("\n\nRules:\n\n- `share`: R.\n")

"""Every option of every group composes to valid settings, and the schemas and the YAML files agree."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from sentiment.config.home import PROJECT_DIR
from sentiment.config.option import choice_of, group_members
from sentiment.config.reading import read_settings
from sentiment.config.schema import Settings

GROUPS = ["model", "optimizer", "scheduler", "data", "trainer", "tracking", "pretrain"]
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((PROJECT_DIR / "conf" / group).glob("*.yaml"))]


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_to_valid_settings(compose_config, group, option, tmp_path):
    (tmp_path / "reviews.csv").write_text("text,label\ngood,1\n")
    required = {"files": ["data.path=reviews.csv"], "hub": ["data.repository=a/b", f"data.revision={'c' * 40}"]}
    extra = required.get(option, []) + (["model=rnn"] if option == "lm" else [])
    settings = read_settings(compose_config(f"{group}={option}", *extra), tmp_path)
    assert (getattr(settings, group) is None) == (option == "none" and group == "pretrain")


@pytest.mark.parametrize("file", sorted((PROJECT_DIR / "conf").glob("*/imdb_*.yaml")), ids=lambda file: file.stem)
def test_settings_for_the_real_reviews_compose(compose_config, file: Path, tmp_path):
    settings = read_settings(compose_config(f"{file.parent.name}={file.stem}"), tmp_path)
    model, _, unlabelled = file.stem.removeprefix("imdb_").partition("_")
    assert (settings.data.name, settings.model.name) == ("imdb", model)
    assert (settings.pretrain is not None, settings.trainer.teachers is not None) == (
        unlabelled == "pretrained",
        unlabelled == "taught",
    )
    assert settings.trainer.weight_averaging == 0.998
    assert settings.trainer.test == (file.parent.name == "experiment")  # a search leaves the test split alone


@pytest.mark.parametrize("group", ["model", "optimizer", "scheduler", "data", "pretrain"])
def test_every_settings_class_has_a_yaml_file_of_its_name(group):
    classes = {choice_of(member) for member in group_members(Settings.model_fields[group].annotation)}
    left_out = {"none"} if group == "pretrain" else set()  # no settings at all
    assert classes == {option for name, option in OPTIONS if name == group} - left_out


@pytest.mark.parametrize("path", sorted((PROJECT_DIR / "conf").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_yaml_file_opens_with_a_command_that_uses_it(path: Path):
    first_line = path.read_text().removeprefix("# @package _global_\n").splitlines()[0]
    assert first_line.startswith(("# python run.py", '# eval "$(python run.py')), first_line


def test_settings_never_change(compose_config, tmp_path):
    settings = read_settings(compose_config(), tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.seed = 1


def test_every_field_is_described():
    members = [member for field in Settings.model_fields.values() for member in group_members(field.annotation)]
    undescribed = [
        f"{member.__name__}.{name}"
        for member in members
        for name, field in member.model_fields.items()
        if name not in ("name", "tokenizer") and not field.description
    ]
    assert undescribed == []


def test_relative_paths_start_where_the_command_was_started(compose_config, tmp_path):
    (tmp_path / "reviews.csv").write_text("text,label\ngood,1\n")
    settings = read_settings(compose_config("data=files", "data.path=reviews.csv", "data.cache_dir=tokens"), tmp_path)
    assert settings.data.path == str(tmp_path / "reviews.csv")
    assert settings.data.cache_dir == str(tmp_path / "tokens")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sqlite:///my.db", "sqlite:///{folder}/my.db"), ("sqlite:///../a/my.db", "sqlite:///{parent}/a/my.db"),
        ("sqlite:////a/my.db", "sqlite:////a/my.db"), ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("http://host:5000", "http://host:5000"), ("postgresql://me@host/db", "postgresql://me@host/db"),
    ],
)  # fmt: skip
def test_a_relative_database_starts_there_too(compose_config, tmp_path, typed, meant):
    """Else it would be another one for every folder that a later command starts in."""
    uri = read_settings(compose_config(f"tracking.uri={typed}"), tmp_path).tracking.uri
    assert uri == meant.format(folder=tmp_path, parent=tmp_path.parent)

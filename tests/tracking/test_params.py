"""Settings become text, and the text the same settings again."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentiment.config.group import Group
from sentiment.config.home import PROJECT_DIR
from sentiment.config.schema import Settings
from sentiment.errors import TrackingError
from sentiment.flat import flatten_model
from sentiment.tracking.params import _read_group, _write_value, flatten_settings, read_settings

GROUPS = ("model", "optimizer", "scheduler", "trainer", "tracking")
OPTIONS = [f"{group}={file.stem}" for group in GROUPS for file in sorted((PROJECT_DIR / "conf" / group).glob("*.yaml"))]
DATA = ("data=synthetic", "data=imdb")


def test_every_leaf_has_a_line(project):
    flat = flatten_settings(project.settings("model=rnn", "optimizer.lr=3e-4", "trainer.patience=null", "seed=0"))
    assert (flat["model.name"], flat["model.bidirectional"], flat["optimizer.lr"]) == ("rnn", "true", "0.0003")
    assert (flat["trainer.patience"], flat["seed"]) == ("null", "0")
    assert count_leaves(project.settings("model=rnn").model_dump()) == len(flat)


def count_leaves(tree):
    return sum(count_leaves(value) if isinstance(value, dict) else 1 for value in tree.values())


@pytest.mark.parametrize(("option", "data"), list(product(OPTIONS, DATA)))
def test_every_option_comes_back(project, option, data):
    settings = project.settings(option, data)
    assert read_settings(flatten_settings(settings)) == settings


def test_the_text_null_is_not_nothing(project):
    settings = project.settings("model=rnn", "trainer.init_from='null'")
    assert settings.trainer.init_from == "null"
    assert read_settings(flatten_settings(settings)) == settings
    assert flatten_settings(project.settings("model=rnn"))["trainer.init_from"] == "null"


class Small(Group):
    """A group of an extension."""

    units: int


class Named(Group):
    """One whose name is any text, so that it tells no option."""

    name: str
    units: int


class Large(Group):
    """Another one, for the same place."""

    units: int
    layers: list[int]


class Holder(Group):
    """Holds any of the three, or none."""

    head: Small | Large | Named | None


@pytest.mark.parametrize("head", [Small(units=1), Large(units=1, layers=[2]), Named(name="3", units=1), None])
def test_of_groups_without_options_the_one_comes_back_that_has_the_keys(head):
    """It was always the first: a run with another one could not be read."""
    flat = {key: _write_value(value) for key, value in flatten_model(Holder(head=head)).items()}
    assert Holder.model_validate(_read_group(Holder, flat, "")) == Holder(head=head)


@pytest.fixture(scope="session")
def whole(make_project, tmp_path_factory) -> Settings:
    """Settings with strings, lists, optional values and nested groups."""
    folder = tmp_path_factory.mktemp("project")
    path = folder / "train.csv"
    path.write_text("text,label\n", encoding="utf-8")
    return make_project(folder).settings("data=files", f"data.path={path}", "trainer.patience=3")


TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)
TRICKY = st.sampled_from(["12", "1e-3", "true", "null", '"quoted"', "[a]", "{}", "NaN", " "])


@given(
    column=TEXT | TRICKY,
    labels=st.none() | st.lists(TEXT | TRICKY, min_size=2),
    lr=st.floats(min_value=0, max_value=10, exclude_min=True),
    patience=st.none() | st.integers(1, 10**6),
    clip=st.none() | st.floats(min_value=1e-9, max_value=1e9),
    lowercase=st.booleans(),
)
def test_any_value_comes_back(whole, column, labels, lr, patience, clip, lowercase):
    changes = whole.model_dump()
    changes["data"] |= {"text_column": column, "labels": labels}
    changes["data"]["tokenizer"]["lowercase"] = lowercase
    changes["optimizer"]["lr"] = lr
    changes["trainer"] |= {"patience": patience, "gradient_clip_norm": clip}
    settings = Settings.model_validate(changes)
    assert read_settings(flatten_settings(settings)) == settings


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("model.heads", None, "model.heads: Field required"),
        ("model.heads", "four", "model.heads"),
        ("model.hats", "4", "model.hats"),
        ("model.name", "cnn", "model"),
        ("mode.x.y", "1", "mode"),
        ("optimizer.lr", "3e-4", "optimizer.lr would not come back"),  # written as nobody writes it
    ],
)
def test_settings_of_another_version_are_refused(project, key, value, told):
    params = flatten_settings(project.settings())
    if value is None:
        del params[key]
    else:
        params[key] = value
    with pytest.raises(TrackingError, match=told) as caught:
        read_settings(params)
    assert "git.commit" in str(caught.value)

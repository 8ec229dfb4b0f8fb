"""What is written to MLflow comes back: overrides, long values, and files that are put beside a run when it is over."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentiment.errors import TrackingError
from sentiment.tracking.mlflow.store import open_store
from sentiment.tracking.mlflow.write import attach_files, join_overrides, split_overrides

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)))

KEYS = st.from_regex(r"[+]{0,2}[a-z_][a-z_0-9]*(\.[a-z_0-9]+){0,2}(@[a-z.]+)?", fullmatch=True)
BARE = st.from_regex(r"[A-Za-z0-9._/-]+( [A-Za-z0-9._/-]+){0,2}", fullmatch=True)
QUOTED = st.from_regex(r"'[a-z =~+]*'|\"[a-z =~+']*\"|\[\"a b=c\", \"it's\"\]", fullmatch=True)
DELETED = st.from_regex(r"~[a-z_]+(\.[a-z_]+)?", fullmatch=True)
TYPED = st.builds("{}={}".format, KEYS, BARE | QUOTED) | DELETED
"""Overrides as people type them; a value may hold blanks, and in quotes what looks like another override."""


@given(st.lists(ANY_TEXT | TYPED))
@example(["model=rnn", "~scheduler", "seed=1"])
@example([""])
@example(['["a"]'])
@example(["data.note=a b=c"])
def test_overrides_come_back_whatever_they_hold(overrides):
    assert split_overrides(join_overrides(overrides)) == tuple(overrides)


@given(st.lists(TYPED))
def test_overrides_of_an_earlier_version_were_joined_with_blanks(overrides):
    assert split_overrides(" ".join(overrides)) == tuple(overrides)


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        ("", []),
        ("model=rnn ~scheduler seed=1", ["model=rnn", "~scheduler", "seed=1"]),
        ("~scheduler", ["~scheduler"]),
        ("~optimizer=adam +a=1 ++b.c=2", ["~optimizer=adam", "+a=1", "++b.c=2"]),
        ("data.text_column=the text seed=1", ["data.text_column=the text", "seed=1"]),
        ("data.labels=[bad, good] db@net.db=rnn", ["data.labels=[bad, good]", "db@net.db=rnn"]),
        ("data.name='a b=c ~d' seed=1", ["data.name='a b=c ~d'", "seed=1"]),
        (r"a=it\'s b=it\'s", [r"a=it\'s", r"b=it\'s"]),
        ("note=about ~ 5 seed=1", ["note=about ~ 5", "seed=1"]),
    ],
)
def test_a_blank_parts_overrides_only_before_the_next_one(text, overrides):
    assert split_overrides(text) == tuple(overrides)


@pytest.fixture
def files(tmp_path):
    found = [tmp_path / "out/errors.html", tmp_path / "out/tables/slices.csv"]
    found[1].parent.mkdir(parents=True)
    for file in found:
        file.write_text("first")
    return found


def test_files_keep_their_places_and_are_replaced(project, files, tmp_path):
    store = open_store(project.uri, "sentiment", str(tmp_path / "artifacts"))
    run_id = store.client.create_run(store.experiment_id).info.run_id
    for text in ("first", "second"):
        files[0].write_text(text)
        attach_files(project.uri, run_id, files, tmp_path / "out", "errors/test")
    assert project.artifacts(run_id, "errors/test") == {"errors/test/errors.html", "errors/test/tables"}
    assert project.artifacts(run_id, "errors/test/tables") == {"errors/test/tables/slices.csv"}
    assert project.artifact(run_id, "errors/test/errors.html").read_text() == "second"


def test_a_store_without_room_for_files_leaves_the_command_its_way_out(project, files, tmp_path):
    (tmp_path / "artifacts").touch()  # no folder
    store = open_store(project.uri, "sentiment", str(tmp_path / "artifacts"))
    run_id = store.client.create_run(store.experiment_id).info.run_id
    with pytest.raises(TrackingError, match=r"cannot record at .*\n  -> see .* can be written, or leave it: --no-log$"):
        attach_files(project.uri, run_id, files, tmp_path / "out", "errors/test")


def test_a_run_that_the_store_lacks_is_named(project, files, tmp_path):
    open_store(project.uri, "sentiment", str(tmp_path / "artifacts"))
    with pytest.raises(TrackingError, match=r"no run 0000.*\n.*--no-log"):
        attach_files(project.uri, "0" * 32, files, tmp_path / "out", "errors/test")

from __future__ import annotations

import gzip
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sentiment.data.files import source as module
from sentiment.data.files.source import FilesSource
from sentiment.errors import DataError

Make = Callable[..., FilesSource]


def csv_file(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f"{text},{label}\n" for text, label in [("text", "label"), *rows]), encoding="utf-8")
    return path


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make_source(rows: list[tuple[str, str]] | None = None, **changed: object) -> FilesSource:
        rows = rows or [(f"review {n}", ("bad", "good", "so-so")[n % 3]) for n in range(60)]
        settings = {
            "path": csv_file(tmp_path / "reviews.csv", rows),
            "validation_path": None,
            "test_path": None,
            "test_fraction": 0.2,
            "split_seed": 0,
            "text_column": "text",
            "label_column": "label",
            "labels": None,
            "on_bad_row": "error",
        }
        return FilesSource(**{**settings, **changed})

    return make_source


def test_takes_any_number_of_classes_and_carves_a_stratified_test_split(make: Make):
    raw = make().load()
    assert raw.class_names == ("bad", "good", "so-so")
    assert np.bincount(raw.train.labels).tolist() == [16, 16, 16]
    assert np.bincount(raw.test.labels).tolist() == [4, 4, 4]
    assert sorted(raw.train.texts + raw.test.texts) == sorted(f"review {n}" for n in range(60))
    for reviews in (raw.train, raw.test):
        assert [int(text.split()[1]) % 3 for text in reviews.texts] == reviews.labels.tolist()
    assert (raw.validation, raw.skipped_rows) == (None, 0)


def test_the_test_split_depends_on_the_seed(make: Make):
    assert make().load().test.texts == make().load().test.texts
    assert make().load().test.texts != make(split_seed=1).load().test.texts


def test_own_validation_and_test_files_are_taken_whole(make: Make, tmp_path: Path):
    validation = csv_file(tmp_path / "validation.csv", [("v", "good")])
    test = csv_file(tmp_path / "test.csv", [("t", "bad"), ("u", "good")])
    raw = make(validation_path=validation, test_path=test).load()
    assert raw.validation is not None
    assert (len(raw.train), raw.validation.texts, raw.test.texts) == (60, ["v"], ["t", "u"])
    assert raw.test.labels.tolist() == [0, 1]


def test_given_labels_set_the_order_of_the_classes(make: Make):
    raw = make(labels=("so-so", "good", "bad")).load()
    assert raw.class_names == ("so-so", "good", "bad")
    assert [("so-so", "good", "bad")[label] for label in raw.test.labels] == [
        ("bad", "good", "so-so")[int(text.split()[1]) % 3] for text in raw.test.texts
    ]


def test_given_labels_are_called_as_those_of_the_rows(make: Make):
    rows = [(f"review {n}", str(n % 2)) for n in range(30)]
    assert make(rows, labels=("1.0", " 0")).load().class_names == ("1", "0")


def test_numbers_are_sorted_by_value(make: Make):
    rows = [(f"review {n}", str((1, 2, 10)[n % 3])) for n in range(30)]
    assert make(rows).load().class_names == ("1", "2", "10")


BAD = [("fine", "good"), ("", "good"), ("fine too", "bad"), ("strange", "ugly"), ("no label", "")]


def test_bad_rows_are_one_error_with_file_lines_and_remedy(make: Make, tmp_path: Path):
    test = csv_file(tmp_path / "test.csv", [("t", "good"), ("u", "awful")])
    with pytest.raises(DataError) as error:
        make(BAD, labels=("bad", "good"), test_path=test).load()
    assert str(error.value).splitlines() == [
        f"3 of 5 rows of {tmp_path / 'reviews.csv'} are bad:",
        "  reviews.csv, line 3: the text is missing",
        "  reviews.csv, line 5: the label 'ugly' is none of the classes bad, good",
        "  reviews.csv, line 6: the label is missing",
        f"1 row of {test} is bad:",
        "  test.csv, line 3: the label 'awful' is none of the classes bad, good",
        "Mend them, or set data.on_bad_row=skip to leave them out (they are counted and logged).",
    ]


def test_at_most_ten_bad_rows_are_listed_but_all_are_counted(make: Make):
    rows = [("fine", "good"), ("fine too", "bad"), *[("", "good")] * 25]
    with pytest.raises(DataError, match=r"(?s)25 of 27 rows .*line 13: .*and 15 more") as error:
        make(rows).load()
    assert "line 14" not in str(error.value)


def test_skipped_rows_are_left_out_counted_and_logged(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    test = csv_file(tmp_path / "test.csv", [("t", "good"), ("u", "awful")])
    with caplog.at_level(logging.WARNING):
        raw = make(BAD, labels=("bad", "good"), test_path=test, on_bad_row="skip").load()
    assert (raw.train.texts, raw.test.texts, raw.skipped_rows) == (["fine", "fine too"], ["t"], 4)
    assert "reviews.csv, line 5: the label 'ugly'" in caplog.text
    assert "test.csv, line 3: the label 'awful'" in caplog.text


def test_a_class_that_only_the_test_file_has_is_a_bad_row(make: Make, tmp_path: Path):
    test = csv_file(tmp_path / "test.csv", [("t", "awful")])
    with pytest.raises(DataError, match="line 2: the label 'awful' is none of the classes bad, good, so-so"):
        make(test_path=test).load()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "good"), ("b", "good")], "holds only the class 'good' in column 'label'"),
        ([("", "good")], "holds no usable row in column 'label'"),
    ],
)
def test_fewer_than_two_classes_are_an_error(make: Make, rows: list[tuple[str, str]], message: str):
    with pytest.raises(DataError, match=f"{message}; a classifier needs two"):
        make(rows, on_bad_row="skip").load()


def test_bad_rows_are_told_before_the_classes_that_are_missing_because_of_them(make: Make):
    with pytest.raises(DataError, match="line 2: the text is missing"):
        make([("", "good"), ("", "bad")]).load()


def test_labels_name_each_class_once(make: Make):
    with pytest.raises(DataError, match="names a class twice"):
        make(labels=("good", "good")).load()


@pytest.mark.parametrize("key", ["path", "validation_path", "test_path"])
def test_a_missing_file_is_an_error_that_names_its_key(make: Make, tmp_path: Path, key: str):
    with pytest.raises(DataError, match=rf"data.{key}=.*nowhere.csv does not exist .*give the path of a file"):
        make(**{key: tmp_path / "nowhere.csv"}).fingerprint()


def test_a_folder_without_files_is_an_error(make: Make, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"data.path=.* is a folder without files that can be read"):
        make(path=tmp_path / "empty").fingerprint()


@pytest.mark.parametrize("kind", ["hidden folder", "hidden file", "link"])
def test_a_copy_that_a_program_left_counts_for_nothing(make: Make, tmp_path: Path, kind: str):
    plain = make(path=tmp_path).load()
    copy = {"hidden folder": ".ipynb_checkpoints/reviews-checkpoint.csv", "hidden file": "._reviews.csv"}.get(kind)
    if copy is None:
        (tmp_path / "latest.csv").symlink_to(tmp_path / "reviews.csv")
    else:
        (tmp_path / copy).parent.mkdir(exist_ok=True)
        (tmp_path / copy).write_bytes((tmp_path / "reviews.csv").read_bytes())
    again = make(path=tmp_path).load()
    assert (len(again.train), len(again.test)) == (len(plain.train), len(plain.test)) == (48, 12)


@pytest.mark.parametrize("pattern", ["", "*.csv*"])
def test_a_file_that_lies_there_packed_too_is_refused(make: Make, tmp_path: Path, pattern: str):
    source = make(path=tmp_path / pattern)
    (tmp_path / "reviews.csv.gz").write_bytes(gzip.compress((tmp_path / "reviews.csv").read_bytes()))
    with pytest.raises(DataError, match=r"stands for reviews\.csv and reviews\.csv\.gz, which is the same file packed"):
        source.load()


def test_labels_that_are_one_class_by_their_value_are_told(make: Make):
    rows = [(f"review {n}", ("1.1", "1.10", "1.2")[n % 3]) for n in range(60)]
    raw = make(rows).load()
    assert raw.class_names == ("1.1", "1.2")
    assert "1.1 and 1.10 taken for one class" in raw.notes[0]
    assert "taken for" not in make().load().notes[0]


def test_the_fingerprint_is_of_content_and_reading(make: Make, tmp_path: Path):
    moved = csv_file(tmp_path / "moved.csv", [(f"review {n}", ("bad", "good", "so-so")[n % 3]) for n in range(60)])
    assert make().fingerprint() == make(path=moved).fingerprint()
    changes = [
        {"rows": BAD}, {"test_fraction": 0.3}, {"split_seed": 1}, {"text_column": "label"}, {"label_column": "text"},
        {"labels": ("bad", "good", "so-so")}, {"on_bad_row": "skip"}, {"test_path": moved}, {"validation_path": moved},
    ]  # fmt: skip
    assert len({make().fingerprint(), *(make(**change).fingerprint() for change in changes)}) == 10


def test_the_draw_of_a_test_split_does_not_count_where_there_is_a_test_file(make: Make, tmp_path: Path):
    test = csv_file(tmp_path / "test.csv", [("t", "bad")])
    assert make(test_path=test).fingerprint() == make(test_path=test, split_seed=1, test_fraction=0.5).fingerprint()


class TestUnlabelled:
    def test_there_are_none_unless_a_path_names_them(self, make: Make):
        assert (make().fingerprint_unlabelled(), make().load_unlabelled()) == (None, [])

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("more.txt", "one\n\ntwo, too\n"), ("more.csv", 'text\none\n"two, too"\n'),
            ("more.csv", 'id,text,label\n1,one,\n2,"two, too",good\n'),
            ("more.jsonl", '{"text": "one"}\n{"text": "two, too", "label": null}\n'),
        ],
    )  # fmt: skip
    def test_texts_are_read_whatever_stands_beside_them(self, make: Make, tmp_path: Path, name: str, content: str):
        (tmp_path / name).write_text(content)
        source = make(unlabelled_path=tmp_path / name)
        assert source.load_unlabelled() == ["one", "two, too"]
        assert source.fingerprint() == make().fingerprint(), "the labelled reviews are the same"
        before = source.fingerprint_unlabelled()
        (tmp_path / name).write_text(content.replace("one", "other"))
        assert make(unlabelled_path=tmp_path / name).fingerprint_unlabelled() != before

    @pytest.mark.parametrize("content", ["text\tlabel\none\tgood\n", "id,text\n1,one\n", "__label__good one\n"])
    def test_labels_and_columns_are_not_taken_for_words(self, make: Make, tmp_path: Path, content: str):
        (tmp_path / "more.txt").write_text(content)
        with pytest.raises(DataError, match=r"more.txt does not hold one text per line, but begins with .*\.ft for"):
            make(unlabelled_path=tmp_path / "more.txt").load_unlabelled()

    def test_it_is_told_how_they_were_read(self, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        caplog.set_level("INFO")
        (tmp_path / "more.txt").write_text("text of one, and more\n\ntwo\n")
        make(unlabelled_path=tmp_path / "more.txt").load_unlabelled()
        assert "more.txt read as: one text per line, utf-8, 2 rows, 1 blank lines" in caplog.text

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            ('{"text": "one"}\n{"text": 7}\n', "line 2: the text is no string but 7"),
            ('{"text": "one"}\n{"id": 7}\n', "line 2: the text is missing"),
            ('{"id": 7}\n{}\n{"text": "one"}\n', "line 1: the text is missing"),
            ('[{"text": "one"}, {}, {"id": 7}]', "row 2: the text is missing"),
            ('{"text": "one"}\n{"text": ""}\n{"id": 7}\n', r"line 2: the text is blank \(2 bad in all\);"),
            ('{"id": 7}\n{"text": "one"}\n{"text": " "}\n', r"line 1: the text is missing \(2 bad in all\);"),
        ],
    )
    def test_bad_rows_stop_the_run_or_are_left_out(
        self, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str, told: str
    ):
        file = tmp_path / "more.jsonl"
        file.write_text(content)
        with pytest.raises(DataError, match=rf"more.jsonl, {told} .*data.on_bad_row=skip"):
            make(unlabelled_path=file).load_unlabelled()
        assert make(unlabelled_path=file, on_bad_row="skip").load_unlabelled() == ["one"]
        assert "Left out" in caplog.text

    @pytest.mark.parametrize("on_bad_row", ["error", "skip"])
    def test_they_are_known_by_their_bytes_and_are_not_read_for_it(
        self, make: Make, tmp_path: Path, on_bad_row: str, monkeypatch: pytest.MonkeyPatch
    ):
        """Each job asks, and a file may have millions of rows."""
        (tmp_path / "more.csv").write_text('id,text\n1,one\n2,""\n')
        monkeypatch.setattr(module, "read_file", None)
        found = make(unlabelled_path=tmp_path / "more.csv", on_bad_row=on_bad_row).fingerprint_unlabelled()
        earlier = f'[2, "text", "{on_bad_row}", {{"format": null, "delimiter": null, "quoting": null, '
        assert str(found).partition(":[")[2] == earlier[1:] + '"encoding": null, "header": null}]'

    def test_a_column_that_no_object_has_is_told_with_those_that_there_are(self, make: Make, tmp_path: Path):
        file = tmp_path / "more.jsonl"
        file.write_text('{"id": 1}\n{"review": "one"}\n')
        with pytest.raises(DataError, match=r"has no column 'text'; its columns are 'id', 'review'.*data\.text_column"):
            make(unlabelled_path=file, on_bad_row="skip").load_unlabelled()


def save_dataset(folder: Path, parts: list[str]) -> Path:
    """Write what of a saved data set identifies it: its state, and files of rows."""
    folder.mkdir()
    for part in parts:
        (folder / part).write_bytes(part.encode())
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": part} for part in parts]}))
    return folder


def test_what_the_library_keeps_beside_a_saved_data_set_is_no_other_data(make: Make, tmp_path: Path):
    saved = save_dataset(tmp_path / "saved", ["data-0.arrow", "data-1.arrow"])
    source = make(path=saved, unlabelled_path=saved)
    before = source.fingerprint(), source.fingerprint_unlabelled()
    (saved / "cache-0123.arrow").write_bytes(b"of a filter in a notebook")
    assert (source.fingerprint(), source.fingerprint_unlabelled()) == before
    (saved / "data-1.arrow").write_bytes(b"other rows")
    assert source.fingerprint() != before[0]


@pytest.mark.parametrize(
    ("state", "told"),
    [("{", "is damaged"), ("{}", "is damaged"), ('{"_data_files": [{"filename": "gone.arrow"}]}', "cannot be read")],
)
def test_a_saved_data_set_that_is_not_whole_is_an_error_with_its_place(make: Make, tmp_path: Path, state, told):
    saved = save_dataset(tmp_path / "saved", ["data-0.arrow"])
    (saved / "state.json").write_text(state)
    with pytest.raises(DataError, match=f"{saved} {told}"):
        make(path=saved).fingerprint()


@pytest.mark.parametrize("place", ["folder", "folder/{name}"])
def test_a_file_whose_name_is_no_text_is_an_error(make: Make, tmp_path: Path, place: str):
    (tmp_path / "folder").mkdir()
    file = csv_file(tmp_path / "folder" / os.fsdecode(b"caf\xe9.csv"), [("a", "good"), ("b", "bad")])
    with pytest.raises(DataError, match=r"caf\\udce9\.csv'?, whose name is not UTF-8"):
        make(path=tmp_path / place.format(name=file.name)).fingerprint()


def test_of_very_many_classes_a_few_are_told(make: Make, tmp_path: Path):
    rows = [(f"review {n}", f"id{n}") for n in range(500)]
    test = csv_file(tmp_path / "test.csv", [(f"t {n}", f"id{n + 500}") for n in range(500)])
    with pytest.raises(DataError, match="500 of 500 rows") as error:
        make(rows, test_path=test).load()
    assert len(str(error.value)) < 5000

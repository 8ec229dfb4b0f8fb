"""Every kind of file that people have is read right, or refused with the key that mends it."""

from __future__ import annotations

import bz2
import gzip
import json
import logging
import lzma
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiment.data.corpus import prepare_corpus
from sentiment.data.files.formats import read_file
from sentiment.data.files.records import ReadOptions
from sentiment.data.files.source import FilesSource
from sentiment.data.reviews import RawSplits
from sentiment.errors import DataError

TEXTS = [f"film {n}" for n in range(20)]
CSV = "text,label\n" + "".join(f"{text},{n % 2}\n" for n, text in enumerate(TEXTS))
OBJECTS = [{"text": text, "label": n % 2} for n, text in enumerate(TEXTS)]
LINES = "".join(f"{json.dumps(record)}\n" for record in OBJECTS)
COLUMNS = {key: {str(n): record[key] for n, record in enumerate(OBJECTS)} for key in ("text", "label")}


def make(path: Path, **changed: Any) -> FilesSource:
    settings: dict[str, Any] = {
        "path": path, "validation_path": None, "test_path": None, "test_fraction": 0.2, "split_seed": 0,
        "text_column": "text", "label_column": "label", "labels": None, "on_bad_row": "error",
    }  # fmt: skip
    return FilesSource(**{**settings, **changed})


def load(path: Path, content: str | bytes | None = None, **changed: Any) -> RawSplits:
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = make(path, **changed)
    assert source.fingerprint().startswith("files:")
    return source.load()


def texts(raw: RawSplits) -> list[str]:
    return sorted(raw.train.texts + raw.test.texts, key=lambda text: int(text.split()[-1]))


@pytest.mark.parametrize(
    ("name", "content", "how"),
    [
        ("a.csv", CSV, ",-separated, utf-8, header"),
        ("a.csv", CSV.replace(",", ";"), ";-separated, utf-8, header"),
        ("a.csv", f"sep=;\r\n{CSV.replace(',', ';')}", ";-separated, utf-8, header"),
        ("a.csv", CSV.replace(",", "\t").encode("utf-16"), "tab-separated, utf-16, header"),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0), ",-separated, utf-8, header"),
        ("a.csv.bz2", bz2.compress(CSV.encode()), ",-separated, utf-8, header"),
        ("a.csv.xz", lzma.compress(CSV.encode()), ",-separated, utf-8, header"),
        ("a.txt", CSV.replace(",", "|"), "|-separated, utf-8, header"),
        ("a.json", LINES, "JSON, utf-8, one object per line"),
        ("a.json", json.dumps(OBJECTS, indent=1), "JSON, utf-8, one array"),
        ("a.json", json.dumps(COLUMNS), "JSON, utf-8, one array"),
        ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0), "JSON, utf-8, one object per line"),
        ("a.txt", "".join(f"__label__{n % 2} {text}\n" for n, text in enumerate(TEXTS)), "fastText, utf-8"),
    ],
)
def test_kinds_are_read_without_a_key(tmp_path: Path, name: str, content: str | bytes, how: str):
    raw = load(tmp_path / name, content)
    assert texts(raw) == TEXTS
    assert raw.class_names == ("0", "1")
    assert raw.notes == (f"data.path read as: {how}, 20 rows",)


def test_sst2(tmp_path: Path):
    """Marks open in one line and close in another: every line is a review."""
    lines = ['"a fine film , said one', "dull", 'not "good" at all', '"whole"', 'the end"', *TEXTS]
    raw = load(
        tmp_path / "train.tsv",
        "sentence\tlabel\n" + "".join(f"{line}\t{n % 2}\n" for n, line in enumerate(lines)),
        text_column="sentence",
    )
    assert sorted(raw.train.texts + raw.test.texts) == sorted(lines)
    assert "quotation marks as text" in raw.notes[0]


def test_sentiment140(tmp_path: Path):
    path = tmp_path / "training.csv"
    rows = [f'"{(0, 4)[n % 2]}","{n}","Mon Apr 06","NO_QUERY","user","café, ""{n}"" {n}"\n' for n in range(30)]
    content = "".join(rows).encode("latin-1")
    with pytest.raises(DataError, match=r"data.header=false .*e.g. data.text_column=6 data.label_column=1$"):
        load(path, content)
    raw = load(path, content, text_column=6, label_column=1)
    assert texts(raw) == [f'café, "{n}" {n}' for n in range(30)]
    assert raw.class_names == ("0", "4")
    assert ",-separated, cp1252, no header, 30 rows" in raw.notes[0]


def test_a_number_is_a_place_whatever_the_first_record_holds(tmp_path: Path):
    raw = load(
        tmp_path / "a.csv", "".join(f"{n % 2 + 1},2,film {n}\n" for n in range(20)), text_column=3, label_column=1
    )
    assert (texts(raw), raw.class_names) == (TEXTS, ("1", "2"))


def test_a_number_that_is_a_name_is_the_name_in_every_kind_of_file(tmp_path: Path):
    """The same table had other texts and classes as CSV than as Parquet and JSON."""
    frame = pd.DataFrame({"0": range(20), "1": ["x"] * 20, "2": TEXTS, "3": ["a", "b"] * 10})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    for ending, keys in (("csv", {"header": True}), ("parquet", {}), ("jsonl", {})):
        raw = load(tmp_path / f"a.{ending}", text_column=2, label_column=3, **keys)
        assert (texts(raw), raw.class_names) == (TEXTS, ("a", "b")), ending
    by_name = make(tmp_path / "a.csv", text_column=2, label_column=3, header=True)
    assert ":[3, [0.2, 0], " in by_name.fingerprint(), "other reviews than an earlier reader gave"
    frame.rename(columns={"2": "text", "3": "2"}).to_csv(tmp_path / "mixed.csv", index=False)
    for keys in ({}, {"header": True}):
        mixed = make(tmp_path / "mixed.csv", label_column=2, **keys)
        assert mixed.load().class_names == ("a", "b")
        assert ":[3, [0.2, 0], " in mixed.fingerprint(), "by a name, the header is found"
    at_places = make(tmp_path / "mixed.csv", text_column=3, label_column=4)
    assert ":[1, [0.2, 0], " in at_places.fingerprint()
    frame.columns = ["1", "2", "3", "4"]
    frame.to_csv(tmp_path / "a.csv", index=False)
    at_place = make(tmp_path / "a.csv", text_column=3, label_column=4, header=True, unlabelled_path=tmp_path / "a.csv")
    assert ":[1, [0.2, 0], " in at_place.fingerprint()
    assert str(at_place.fingerprint_unlabelled()).partition(":[")[2].startswith("2, ")


@pytest.mark.parametrize("content", [LINES, json.dumps(OBJECTS)])
def test_a_number_is_a_place_in_the_first_object_too(tmp_path: Path, content: str):
    raw = load(tmp_path / "a.json", content, text_column=1, label_column=2)
    assert (texts(raw), raw.class_names) == (TEXTS, ("0", "1"))
    with pytest.raises(DataError, match="has no column '3'; its columns are 'text', 'label'"):
        load(tmp_path / "a.json", content, text_column=1, label_column=3)


def test_texts_and_labels_in_two_files(tmp_path: Path):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{n % 2}\n" for n in range(20)))
    raw = load(tmp_path / "texts.txt", "\n".join(TEXTS), label_path=labels)
    assert texts(raw) == TEXTS
    assert [int(text.split()[1]) % 2 for text in raw.train.texts] == raw.train.labels.tolist()
    with pytest.raises(DataError, match=r"texts.txt has 21 lines and .*labels.txt 20"):
        load(tmp_path / "texts.txt", "\n".join([*TEXTS, "more"]), label_path=labels)
    with pytest.raises(DataError, match=r"without labels; name the file .* data.label_path"):
        load(tmp_path / "texts.txt")


def test_several_files(tmp_path: Path):
    for part, numbers in (("part-0", range(0, 10)), ("part-1", range(10, 20))):
        (tmp_path / f"{part}.jsonl").write_text("".join(f"{json.dumps(OBJECTS[n])}\n" for n in numbers))
    for path in (tmp_path, tmp_path / "*.jsonl"):
        raw = load(path)
        assert texts(raw) == TEXTS
        assert [note.partition(" ")[0] for note in raw.notes] == [f"data.path/part-{n}.jsonl" for n in (0, 1)]
    with pytest.raises(DataError, match=r"matches no file"):
        load(tmp_path / "*.csv")


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (("test-0.csv", "train-0.csv"), "*.csv"),
        (("test/part.csv", "train/part.csv"), "*/part.csv"),
        (("deep/Dev/part.csv", "deep/part.csv"), "**/*.csv"),
        (("reviews.csv", "test.csv"), "*.csv"),
        (("testing.csv", "training.csv"), "*.csv"),
        (("testset.csv", "trainset.csv"), "*.csv"),
        (("eval.csv", "reviews.csv"), "*.csv"),
        (("holdout_data.csv", "train_data.csv"), "*.csv"),
    ],
)
def test_splits_in_one_folder_are_not_one_training_set(tmp_path: Path, names: tuple[str, ...], pattern: str):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CSV)
    for path in (tmp_path, tmp_path / pattern):
        with pytest.raises(DataError, match=r"stands for files of several splits \(\S+, \S+\); name those of one"):
            load(path)


def test_files_of_a_path_may_name_its_split(tmp_path: Path):
    folders = {"path": "test run/train", "validation_path": "test run/valid", "test_path": "test run/test"}
    for folder in folders.values():
        for name in ("one.csv", f"{folder.rpartition('/')[2]}-two.csv"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_text(CSV)
    raw = make(**{key: tmp_path / folder for key, folder in folders.items()}).load()
    assert raw.validation is not None
    assert [len(raw.train), len(raw.validation), len(raw.test)] == [40, 40, 40]


@pytest.mark.parametrize("labels", ["labels.dat", "texts.txt"])
def test_labels_in_a_file_of_their_own_are_those_of_one_file(tmp_path: Path, labels: str):
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    (tmp_path / "more.txt").write_text("\n".join(TEXTS))
    (tmp_path / "labels.dat").write_text("".join(f"{n % 2}\n" for n in range(20)))
    path = tmp_path / ("*.txt" if labels == "labels.dat" else "texts.txt")
    with pytest.raises(DataError, match=r"labels of one file of texts.* with data.path"):
        load(path, label_path=tmp_path / labels)
    with pytest.raises(DataError, match=r"labels of texts that stand one per line, and data.format=csv"):
        load(tmp_path / "texts.txt", label_path=tmp_path / "labels.dat", format="csv")


SET = {
    "format": "csv", "delimiter": ",", "quoting": "double", "encoding": "utf-8", "header": True,
    "text_column": 1, "label_column": "2",
}  # fmt: skip
"""A value of each setting that says how files are read."""


@pytest.mark.parametrize("key", SET)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.ft", "a.txt", "folder"])
def test_a_setting_decides_how_a_file_is_read_or_is_refused(tmp_path: Path, name: str, key: str):
    path = tmp_path / name
    fasttext = "".join(f"__label__{record['label']} {record['text']}\n" for record in OBJECTS)
    rows: dict[str, Any] = {"a.csv": CSV, "a.jsonl": LINES, "a.ft": fasttext, "a.txt": "\n".join(TEXTS)}
    used = {
        "a.csv": set(SET), "a.jsonl": {"format", "encoding", "text_column", "label_column"},
        "a.parquet": {"format", "text_column", "label_column"}, "a.ft": {"format", "encoding"},
        "a.txt": {"format", "encoding"}, "folder": {"text_column", "label_column"},
    }  # fmt: skip
    if name in rows:
        path.write_text(rows[name])
    elif name == "folder":
        datasets.Dataset.from_list(OBJECTS).save_to_disk(str(path))
    else:
        pq.write_table(pa.Table.from_pylist(OBJECTS), path)
    kinds = {"a.csv": "csv", "a.jsonl": "json", "a.parquet": "parquet", "a.ft": "fasttext", "a.txt": "lines"}
    value = kinds.get(name, "csv") if key == "format" else SET[key]
    labels = {"label_path": tmp_path / "labels.dat"} if name == "a.txt" else {}
    (tmp_path / "labels.dat").write_text("".join(f"{record['label']}\n" for record in OBJECTS))
    expected = load(path, **labels)
    if key in used[name]:
        assert load(path, **labels, **{key: value}).train.texts == expected.train.texts
        return
    given = str(value).lower() if value is True else value
    with pytest.raises(
        DataError, match=rf"data.{key}={given} says nothing about .*{name}, as it is read; leave it out"
    ):
        load(path, **labels, **{key: value})


def test_a_setting_may_be_for_some_of_the_files(tmp_path: Path):
    (tmp_path / "more.csv").write_bytes("text;label\nça va,1;1\n".encode("latin-1"))
    pq.write_table(pa.Table.from_pylist(OBJECTS), tmp_path / "a.parquet")
    settings = {"delimiter": ";", "encoding": "latin-1"}
    for key in ("test_path", "unlabelled_path"):
        source = make(tmp_path / "a.parquet", **settings, **{key: tmp_path / "more.csv"})
        assert "ça va,1" in [*source.load().test.texts, *source.load_unlabelled()]
    with pytest.raises(DataError, match=r"data\.delimiter=; says nothing about"):
        load(tmp_path / "a.parquet", **settings)


@pytest.mark.parametrize("is_command", [True, False])
def test_what_is_not_in_the_given_encoding_is_told_with_the_key_that_gave_it(tmp_path: Path, is_command: bool):
    key = "--read encoding" if is_command else "data.encoding"

    def read(content: bytes, encoding: str | None) -> str:
        (tmp_path / "a.jsonl").write_bytes(content)
        options = ReadOptions("text", None, encoding=encoding, is_command=is_command)
        with pytest.raises(DataError) as caught:
            list(read_file(tmp_path / "a.jsonl", options)[0].rows)
        return str(caught.value)

    line = '{"text": "good"}'
    told = f"it has another encoding than {key}=utf-16, which takes a byte order mark: without it, utf-16-le or utf-16-"
    assert told in read(line.encode("utf-16-le"), "utf-16")
    assert read(line.encode("utf-16")[:-1], "utf-16").endswith(f"it has another encoding than {key}=utf-16")
    assert read(line.encode("utf-16")[:-1], None).endswith(f"name its encoding with {key}")


@pytest.mark.parametrize("encoding", ["rot13", "hex", "no-such"])
def test_what_is_no_encoding_of_texts_is_refused(tmp_path: Path, encoding: str):
    with pytest.raises(DataError, match=f"data.encoding={encoding} is no encoding"):
        load(tmp_path / "a.csv", CSV, encoding=encoding)


def test_a_data_set_on_disk(tmp_path: Path):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    found = datasets.Dataset.from_list(OBJECTS, features=features)
    found.save_to_disk(str(tmp_path / "one"))
    raw = load(tmp_path / "one")
    assert (texts(raw), raw.class_names) == (TEXTS, ("neg", "pos"))
    datasets.DatasetDict(train=found, test=found.select(range(4))).save_to_disk(str(tmp_path / "splits"))
    raw = load(tmp_path / "splits")
    assert (len(raw.train), raw.test.texts) == (20, TEXTS[:4])


def test_a_file_that_was_moved_is_told_by_where_it_lies_now(tmp_path: Path, caplog):
    """Its tokens are found by its content, and what is kept with them names no place."""
    caplog.set_level(logging.INFO)
    paths = tmp_path / "old.csv", tmp_path / "new.csv"
    paths[0].write_text(CSV)
    rules: dict[str, Any] = {"kind": "word", "vocabulary_size": 64, "min_frequency": 1, "lowercase": True}
    split: dict[str, Any] = {"validation_fraction": 0.2, "split_seed": 0, "train_limit": None}
    first = prepare_corpus(make(paths[0]), rules, split, tmp_path / "cache")
    paths[0].rename(paths[1])
    caplog.clear()
    again = prepare_corpus(make(paths[1]), rules, split, tmp_path / "cache")
    assert "Reading and tokenising" not in caplog.text
    assert again.notes == first.notes == ("data.path read as: ,-separated, utf-8, header, 20 rows",)
    assert str(paths[1]) in again.description


def test_other_class_names_of_a_data_set_on_disk_are_other_data(tmp_path: Path):
    """Names are no part of the rows' files; a cache by these alone would go on with the old names."""
    prints = []
    for names in (["neg", "pos"], ["pos", "neg"], ["neg", "pos"]):
        features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
        rows = [{"text": one["text"], "label": number % 2} for number, one in enumerate(OBJECTS)]
        datasets.Dataset.from_list(rows, features=features).save_to_disk(str(tmp_path / "one"))
        prints.append(make(tmp_path / "one").fingerprint())
    assert prints[0] == prints[2] != prints[1]


def test_a_class_that_is_called_none_is_not_no_class(tmp_path: Path):
    content = "text,label\n" + "".join(f"{text},{('meh', 'good', 'bad')[n % 3]}\n" for n, text in enumerate(TEXTS))
    (tmp_path / "a.csv").write_text(content)
    targets = (None, "None", "'None'", "none")
    prints = [make(tmp_path / "a.csv", label_map={"meh": target}).fingerprint() for target in targets]
    assert len(set(prints)) == len(targets)
    assert prints[0].endswith('"label_map": [["meh", "None"]]}]'), "as ever"


def test_equal_numbers_are_one_class_across_files(tmp_path: Path):
    (tmp_path / "test.csv").write_text("text,label\na,1.0\nb,0.00\n")
    raw = load(tmp_path / "a.csv", CSV, test_path=tmp_path / "test.csv")
    assert (raw.class_names, raw.test.labels.tolist()) == (("0", "1"), [1, 0])


def test_label_map_joins_and_leaves_out(tmp_path: Path):
    content = "text,label\n" + "".join(
        f"{text},{('Good ', 'good', '-1', 'bad')[n % 4]}\n" for n, text in enumerate(TEXTS)
    )
    raw = load(tmp_path / "a.csv", content, label_map={"Good": "good", -1: None})
    assert (raw.class_names, len(raw.train) + len(raw.test)) == (("bad", "good"), 15)
    assert "20 rows, 5 of them left out by data.label_map" in raw.notes[0]
    with pytest.raises(DataError, match="names the label 'Good' twice"):
        load(tmp_path / "a.csv", label_map={"Good": "good", "Good ": "bad"})
    with pytest.raises(DataError, match="names the label 'Gud', which no row has"):
        load(tmp_path / "a.csv", label_map={"Gud": "good"})
    (tmp_path / "test.csv").write_text("text,label\na,GOOD\n")
    with pytest.raises(DataError, match=r"'data.label_map=\{GOOD: good\}'"):
        load(tmp_path / "a.csv", label_map={"Good": "good", -1: None}, test_path=tmp_path / "test.csv")


def test_a_mark_that_is_never_closed_swallows_no_line(tmp_path: Path):
    content = 'text,label\n"never closed,pos\nfine 1,neg\nso it is",pos\nfilm 2,neg\n'
    with pytest.raises(DataError, match=r"line 2: its text goes on over 3 lines .*data.quoting=none"):
        load(tmp_path / "a.csv", content)
    raw = load(tmp_path / "a.csv", on_bad_row="skip")
    assert sorted(raw.train.texts + raw.test.texts) == ["film 2", "fine 1", 'so it is"']
    assert raw.skipped_rows == 1
    raw = load(tmp_path / "a.csv", quoting="double")
    assert "never closed,pos\nfine 1,neg\nso it is" in raw.train.texts + raw.test.texts


def test_a_packed_file_that_was_cut_is_told(tmp_path: Path):
    with pytest.raises(DataError, match=r"a.csv.gz cannot be unpacked .*copy it again"):
        load(tmp_path / "a.csv.gz", gzip.compress(CSV.encode())[:-9])


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("été très réussi", "cp1252", "cp1252"),
        ("schöne Überraschung", "latin-1", "cp1252"),
        ("“quoted” – and naïve", "cp1252", "cp1252"),
        ("zażółć gęślą jaźń, łąka", "cp1250", None),
        ("очень хороший фильм", "cp1251", None),
        ("été très réussi", "mac_roman", None),
        ("été très réussi", "cp850", None),
    ],
)
def test_older_encodings_are_found_or_asked_for(tmp_path: Path, text: str, encoding: str, expected: str | None):
    content = "text;label\n" + "".join(f"{text} {n};{n % 2}\n" for n in range(20))
    try:
        raw = load(tmp_path / "a.csv", content.encode(encoding))
    except DataError as error:
        assert expected is None, str(error)  # noqa: PT017
        assert "line 2, is not UTF-8" in str(error)  # noqa: PT017
    else:
        assert expected in raw.notes[0]
    assert texts(load(tmp_path / "a.csv", encoding=encoding)) == [f"{text} {n}" for n in range(20)]


def test_settings_that_change_what_is_read_change_the_fingerprint(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    changes: list[dict[str, Any]] = [
        {}, {"delimiter": "tab"}, {"quoting": "none"}, {"encoding": "cp1252"}, {"header": False}, {"format": "json"},
        {"label_map": {"0": "no"}}, {"label_path": tmp_path / "labels"},
    ]  # fmt: skip
    (tmp_path / "labels").write_text("0\n1\n")
    assert len({make(path, **change).fingerprint() for change in changes}) == len(changes)


def test_files_that_read_as_ever_keep_their_fingerprint(tmp_path: Path):
    """Old studies go on; where the first reader read other reviews, they do not."""
    path = tmp_path / "a.csv"
    path.write_text(CSV + '"He said ""no"", then",1\n')
    assert ":[1, [0.2, 0], " in make(path).fingerprint()
    for content in (CSV + 'a "b" c,1\n', CSV.replace(",1\n", ",1.0\n"), CSV + "caf\udce9,1\n"):
        path.write_text(content, errors="surrogateescape")
        assert ":[2, [0.2, 0], " in make(path).fingerprint()


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.csv", "text,label\nfine,1\nbad,0\n", {"text_column": "label"}),
        ("a.csv", "text,label\nfine,1\nbad,0\n", {"text_column": "2"}),
        ("a.jsonl", '{"text": "fine", "label": "1"}\n{"text": "bad", "label": "0"}\n', {"text_column": "label"}),
    ],
)
def test_a_column_is_not_text_and_label_at_once(tmp_path: Path, name: str, content: str, columns: dict[str, str]):
    """A model that is given the label as its text is perfect, and worth nothing."""
    with pytest.raises(DataError, match=r"data.text_column and data.label_column both name the column 'label'"):
        load(tmp_path / name, content, **columns)

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from sentiment.config.home import PROJECT_DIR
from sentiment.data import corpus as corpus_module
from sentiment.data.corpus import OTHER_EXTENSION, Corpus, Extension, prepare_corpus
from sentiment.data.reviews import Reviews
from sentiment.data.tokenizer import UNK_ID
from sentiment.errors import DataError
from tests.data.conftest import make_reviews

TOKENIZER = {"kind": "word", "vocabulary_size": 500, "min_frequency": 1, "lowercase": True}
SPLIT = {"validation_fraction": 0.1, "split_seed": 0, "train_limit": None}
Prepare = Callable[..., Corpus]


@pytest.fixture
def prepare(source, tmp_path: Path) -> Prepare:
    def prepare(trained: str | None = None, **changed: object) -> Corpus:
        tokenizer, split = ({key: changed.pop(key, kept[key]) for key in kept} for kept in (TOKENIZER, SPLIT))
        assert not changed
        return prepare_corpus(source, tokenizer if trained is None else {"trained": trained}, split, tmp_path)

    return prepare


def test_data_that_changes_while_it_is_read_is_not_kept(prepare: Prepare, source, monkeypatch, tmp_path: Path):
    load = source.load

    def load_late():
        monkeypatch.setattr(source, "fingerprint", lambda: "another")
        return load()

    monkeypatch.setattr(source, "load", load_late)
    with pytest.raises(DataError, match="the data changed while it was read"):
        prepare()
    monkeypatch.setattr(source, "load", load)
    monkeypatch.undo()
    assert len(prepare().train) == 180


def test_tokens_of_another_extension_or_of_a_version_that_noted_none_are_not_taken(source, tmp_path: Path, caplog):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "meta.json").write_text("[")
    a, b, other_key = Extension("a", {"star": 3}), Extension("b", {"star": 3}), Extension("a", {"star": 4})
    extensions = (None, a, b, other_key, a, None)
    found = [prepare_corpus(source, TOKENIZER, SPLIT, tmp_path, extension=extension) for extension in extensions]
    assert source.loads == 4
    assert caplog.messages.count(OTHER_EXTENSION) == 3
    assert len({corpus.fingerprint for corpus in found}) == 1, "studies and runs of that version go on"


def test_what_a_version_read_that_took_texts_which_are_no_list_is_read_again(source, tmp_path: Path, monkeypatch):
    with monkeypatch.context() as earlier:
        earlier.setattr(corpus_module, "_note", lambda extension: {} if extension is None else {"code": "a"})
        for extension in (Extension("a", {}), None):
            prepare_corpus(source, TOKENIZER, SPLIT, tmp_path, extension=extension)
    assert source.loads == 2
    prepare_corpus(source, TOKENIZER, SPLIT, tmp_path, extension=Extension("a", {}))
    assert source.loads == 3
    prepare_corpus(source, TOKENIZER, SPLIT, tmp_path)
    assert source.loads == 3, "the built-in sources never did"


def test_splits_hold_the_ids_of_their_texts(prepare: Prepare, source):
    corpus = prepare()
    assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (180, 20, 60)
    for split, origin in (
        (corpus.train, source.raw.train),
        (corpus.validation, source.raw.train),
        (corpus.test, source.raw.test),
    ):
        assert split.lengths.tolist() == [len(split[index]) for index in range(len(split))]
        assert split.labels.tolist() == origin.labels[split.rows].tolist()
        for index, ids in enumerate(corpus.tokenizer.encode([origin.texts[row] for row in split.rows])):
            np.testing.assert_array_equal(split[index], ids)


def test_columns_of_datasets_are_read_as_lists_are(prepare: Prepare, source, tmp_path: Path):
    from_lists, parts = prepare(), {}
    for split in ("train", "test"):
        reviews = getattr(source.raw, split)
        backwards = Dataset.from_dict({"text": reviews.texts[::-1]})
        column = backwards.select(reversed(range(len(reviews))))["text"]  # a position is no place in its table
        parts[split] = Reviews(column, reviews.labels)  # type: ignore[arg-type]
    source.raw = replace(source.raw, **parts)
    from_columns = prepare_corpus(source, TOKENIZER, SPLIT, tmp_path / "columns")
    for split in ("train", "validation", "test"):
        one, other = getattr(from_lists, split), getattr(from_columns, split)
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.labels, other.labels)


def test_the_second_time_nothing_is_loaded_and_all_is_equal(prepare: Prepare, source):
    first, second = prepare(), prepare()
    assert source.loads == 1
    for name in ("train", "validation", "test"):
        for array in ("ids", "offsets", "labels", "rows"):
            ours, theirs = (getattr(getattr(corpus, name), array) for corpus in (first, second))
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    for fact in ("class_names", "fingerprint", "description", "dropped", "skipped_rows"):
        assert getattr(first, fact) == getattr(second, fact)
    assert first.tokenizer.to_json() == second.tokenizer.to_json()
    assert (second.class_names, second.skipped_rows) == (("negative", "positive"), 3)


def test_ids_are_stored_as_narrow_as_the_vocabulary_allows(prepare: Prepare, monkeypatch: pytest.MonkeyPatch):
    assert prepare().train.ids.dtype == np.uint16
    monkeypatch.setattr("sentiment.data.tokenizer.ReviewTokenizer.vocabulary_size", property(lambda self: 2**16 + 1))
    assert prepare(split_seed=9).train.ids.dtype == np.uint32


def test_the_tokenizer_knows_the_training_part_only(prepare: Prepare, source):
    corpus = prepare()
    for split, origin in ((corpus.validation, source.raw.train), (corpus.test, source.raw.test)):
        names = [origin.texts[row].split()[0] for row in split.rows]  # each text has a name of its own
        assert all(UNK_ID in ids for ids in corpus.tokenizer.encode(names))
    names = [source.raw.train.texts[row].split()[0] for row in corpus.train.rows]
    assert not any(UNK_ID in ids for ids in corpus.tokenizer.encode(names))


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "bpe"},
        {"vocabulary_size": 400},
        {"min_frequency": 2},
        {"lowercase": False},
        {"validation_fraction": 0.2},
        {"split_seed": 1},
        {"train_limit": 100},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_every_setting_has_its_own_entry(prepare: Prepare, source, changed: dict[str, object]):
    prepare()
    prepare(**changed)
    assert source.loads == 2
    prepare(**changed)
    assert source.loads == 2


def test_other_data_has_its_own_entry(prepare: Prepare, source):
    prepare()
    source.identity = "other"
    prepare()
    assert source.loads == 2


@pytest.mark.parametrize("thing", ["FORMAT_VERSION", "version"])
def test_another_version_has_its_own_entry(prepare: Prepare, source, thing: str, monkeypatch: pytest.MonkeyPatch):
    prepare()
    monkeypatch.setattr(corpus_module, thing, 99 if thing == "FORMAT_VERSION" else lambda library: "99")
    prepare()
    assert source.loads == 2


def test_the_fingerprint_is_of_data_and_split_but_not_of_the_tokenizer(prepare: Prepare, source):
    fingerprint = prepare().fingerprint
    assert fingerprint == prepare(kind="bpe").fingerprint
    assert fingerprint == prepare(vocabulary_size=400, min_frequency=2, lowercase=False).fingerprint
    others = [prepare(validation_fraction=0.2), prepare(split_seed=1), prepare(train_limit=100)]
    source.identity = "other"
    others.append(prepare())
    assert len({fingerprint, *(corpus.fingerprint for corpus in others)}) == 5


def test_a_fraction_that_is_not_read_is_told(prepare: Prepare, source, caplog: pytest.LogCaptureFixture):
    """What an extension hands over is known only once it is read."""
    source.raw, source.identity = replace(source.raw, validation=make_reviews(30, 3)), "own validation"
    with caplog.at_level(logging.INFO):
        assert len(prepare().validation) == 30
    assert "Validation reviews are the data's own: data.validation_fraction is not read." in caplog.text


def test_the_log_tells_sizes_and_what_was_left_out(prepare: Prepare, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        prepare()
    assert "180 training, 20 validation and 60 test reviews" in caplog.text
    assert "dropped from train: 0 also in test, 0 also in validation" in caplog.text
    assert "Bad rows left out (data.on_bad_row=skip): 3." in caplog.text


def test_what_an_entry_is_stands_beside_it(prepare: Prepare, tmp_path: Path):
    prepare()
    (meta,) = tmp_path.glob("*/meta.json")
    settings = json.loads(meta.read_text())["settings"]
    assert settings["tokenizer"]["kind"] == "word"
    assert set(settings["made_by"]) == {"tokenizers", "numpy"}


@pytest.mark.slow
def test_a_second_start_on_the_real_reviews_is_fast_and_imports_nothing_heavy(tmp_path: Path, real_imdb: Path):
    code = f"""
import sys, time
from pathlib import Path
from sentiment.data.corpus import prepare_corpus
from sentiment.data.imdb import ImdbSource
started = time.perf_counter()
source = ImdbSource(Path({str(real_imdb)!r}), "", "")
prepare_corpus(source, {TOKENIZER!r}, {SPLIT!r}, Path({str(tmp_path)!r}))
print(time.perf_counter() - started, *sorted({{"datasets", "pandas", "pyarrow", "torch"}} & set(sys.modules)))
"""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_DIR)}
    outputs = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300).stdout.split()
        for _ in range(2)
    ]
    assert "pyarrow" in outputs[0][1:]
    assert outputs[1][1:] == []
    assert float(outputs[1][0]) < 1


def test_reviews_can_be_read_by_the_tokenizer_of_another_model(prepare):
    other = prepare(vocabulary_size=20)
    corpus = prepare(trained=other.tokenizer.to_json())
    assert corpus.tokenizer.to_json() == other.tokenizer.to_json()
    assert corpus.fingerprint == prepare().fingerprint


def test_reviews_that_only_the_reader_can_tell_apart_are_told(prepare: Prepare, source, caplog):
    texts = source.raw.train.texts
    split = {"validation": len(prepare().validation)}
    row = int(prepare().train.rows[0])
    known = texts[row].upper().replace(" ", "<br />")
    source.raw = replace(source.raw, test=Reviews([known, known, "a film"], np.array([0, 1, 0])))
    source.identity = "another"
    for _ in range(2):  # built, and from the cache
        caplog.clear()
        corpus = prepare()
        assert (len(corpus.train), len(corpus.validation), len(corpus.test)) == (180, split["validation"], 3)
        assert "1 reviews of train are to the model the same as reviews of test" in caplog.text
        assert "of validation are to the model" not in caplog.text
        assert "1 of the 3 reviews of test repeat another one" in caplog.text
        assert "reviews of train repeat" not in caplog.text

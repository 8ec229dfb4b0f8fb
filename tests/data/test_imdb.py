from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer, imdb_card, parquet_bytes, serve_hub

from sentiment.config.home import PROJECT_DIR
from sentiment.data.imdb import ImdbSource
from sentiment.errors import DataError

REPOSITORY = "stanfordnlp/imdb"
REVISION = "e6281661ce1c48d982bc483cf8a173c1bbeb5d31"
SIZES = {"train": 300, "test": 200, "unsupervised": 50}

CLIENT = """
import json, sys, time
from sentiment.data.imdb import ImdbSource
from sentiment.errors import DataError
source = ImdbSource(None, "stanfordnlp/imdb", sys.argv[1])
source.fingerprint()
light = not {"datasets", "pandas", "pyarrow", "huggingface_hub"} & set(sys.modules)
started = time.monotonic()
try:
    raw = source.load()
    answer = {"train": raw.train.texts, "labels": raw.train.labels.tolist(), "test": raw.test.texts}
    answer["unlabelled"] = source.load_unlabelled()
except DataError as error:
    answer = {"error": str(error)}
print(json.dumps({**answer, "seconds": time.monotonic() - started, "light": light}))
"""


def texts(split: str) -> list[str]:
    return [f"{split} review {n}<br />caf\u00e9" for n in range(SIZES[split])]


def labels(split: str) -> list[int]:
    return [-1 if split == "unsupervised" else n % 2 for n in range(SIZES[split])]


def parquet_files() -> dict[str, bytes]:
    return {f"{split}-00000-of-00001.parquet": parquet_bytes(texts(split), labels(split)) for split in SIZES}


def write_parquet(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, content in parquet_files().items():
        (folder / name).write_bytes(content)
    return folder


def write_tree(folder: Path) -> Path:
    for split in ("train", "test"):
        for kind in ("neg", "pos", "unsup"):
            (folder / split / kind).mkdir(parents=True)
        for number, (text, label) in enumerate(zip(texts(split), labels(split), strict=True)):
            (folder / split / ("neg", "pos")[label] / f"{number}_7.txt").write_text(text, encoding="utf-8")
        (folder / split / "unsup" / "0_0.txt").write_text(f"{split}, unlabelled caf\u00e9", encoding="utf-8")
        (folder / split / "pos" / "urls.bak").write_text("no review")
    return folder


def local(path: Path) -> ImdbSource:
    return ImdbSource(path, REPOSITORY, REVISION)


class TestLocal:
    @pytest.mark.parametrize("folder", [".", "plain_text"])
    def test_reads_parquet_named_as_on_the_hub(self, tmp_path: Path, folder: str):
        write_parquet(tmp_path / "imdb" / folder)
        raw = local(tmp_path / "imdb").load()
        assert (raw.train.texts, raw.test.texts) == (texts("train"), texts("test"))
        assert raw.train.labels.tolist() == labels("train")
        assert raw.train.labels.dtype == np.int64
        assert (raw.validation, raw.class_names) == (None, ("negative", "positive"))

    @pytest.mark.parametrize("below", ["aclImdb", "."])
    def test_reads_the_original_tree(self, tmp_path: Path, below: str):
        write_tree(tmp_path / "aclImdb")
        raw = local(tmp_path / below).load()
        for split, reviews in (("train", raw.train), ("test", raw.test)):
            expected = set(zip(texts(split), labels(split), strict=True))
            assert set(zip(reviews.texts, reviews.labels.tolist(), strict=True)) == expected
            assert len(reviews) == SIZES[split]

    @pytest.mark.parametrize("write", [write_parquet, write_tree])
    def test_fingerprint_is_of_the_content(self, tmp_path: Path, write: Any):
        here, there = write(tmp_path / "here"), write(tmp_path / "there")
        assert local(here).fingerprint() == local(there).fingerprint()
        changed = sorted(path for path in there.rglob("*") if path.is_file() and "train" in str(path))[0]
        changed.write_bytes(changed.read_bytes() + b"!")
        assert local(here).fingerprint() != local(there).fingerprint()

    def test_a_folder_with_neither_is_an_error_that_names_both(self, tmp_path: Path):
        with pytest.raises(DataError, match=r"holds no IMDB reviews; .*train-00000-of-00001.parquet.*aclImdb/"):
            local(tmp_path).fingerprint()

    def test_a_missing_folder_is_an_error(self, tmp_path: Path):
        with pytest.raises(DataError, match=r"data.path=.*nowhere is no folder"):
            local(tmp_path / "nowhere").load()

    def test_a_broken_file_is_an_error(self, tmp_path: Path):
        folder = write_parquet(tmp_path / "imdb")
        (folder / "test-00000-of-00001.parquet").write_bytes(b"nothing")
        with pytest.raises(DataError, match=r"test-00000-of-00001.parquet cannot be read as Parquet"):
            local(folder).load()

    def test_a_review_that_is_no_utf8_is_an_error(self, tmp_path: Path):
        tree = write_tree(tmp_path / "aclImdb")
        (tree / "test" / "neg" / "0_7.txt").write_bytes(b"caf\xe9")
        with pytest.raises(DataError, match=r"test/neg/0_7.txt is not UTF-8"):
            local(tree).load()

    @pytest.mark.parametrize(
        ("column", "told"),
        [
            (pa.array(["a", None]), "the text is missing"),
            (pa.array([["a"], ["b", "c"]]), "the text is no string but ['a']"),
            (pa.array([b"a", b"caf\xe9"], pa.binary()).view(pa.string()), "the text is not valid UTF-8"),
        ],
    )
    def test_what_is_no_text_is_told_by_its_row(self, tmp_path: Path, column: pa.Array, told: str):
        folder = write_parquet(tmp_path / "imdb")
        for split, read in (("train", local(folder).load), ("unsupervised", local(folder).load_unlabelled)):
            pq.write_table(pa.table({"text": column, "label": [0, 1]}), folder / f"{split}-00000-of-00001.parquet")
            with pytest.raises(DataError, match=rf"row [12]: {re.escape(told)} \("):
                read()

    def test_unlabelled_reviews_are_an_error(self, tmp_path: Path):
        folder = write_parquet(tmp_path / "imdb")
        (folder / "train-00000-of-00001.parquet").write_bytes(parquet_bytes(["a", "b", "c"], [0, -1, -1]))
        with pytest.raises(DataError, match="row 2 has label -1, and 2 rows in all"):
            local(folder).load()

    @pytest.mark.parametrize(("label", "told"), [(0.9, "0.9"), (float("nan"), "nan"), (1.5, "1.5")])
    def test_a_score_is_no_label(self, tmp_path: Path, label: float, told: str):
        folder = write_parquet(tmp_path / "imdb")
        table = pa.table({"text": ["a", "b", "c"], "label": [0.0, label, 1.0]})
        pq.write_table(table, folder / "train-00000-of-00001.parquet")
        with pytest.raises(DataError, match=f"row 2 has label {told}, and 1 rows in all"):
            local(folder).load()

    @pytest.mark.parametrize("folder", [".", "plain_text"])
    def test_reads_the_texts_of_the_unlabelled_parquet(self, tmp_path: Path, folder: str):
        write_parquet(tmp_path / folder / "imdb")
        assert local(tmp_path / folder / "imdb").load_unlabelled() == texts("unsupervised")

    @pytest.mark.parametrize("below", ["aclImdb", "."])
    def test_reads_the_unlabelled_folder_of_the_training_split(self, tmp_path: Path, below: str):
        write_tree(tmp_path / "aclImdb")
        assert local(tmp_path / below).load_unlabelled() == ["train, unlabelled caf\u00e9"]

    @pytest.mark.parametrize("write", [write_parquet, write_tree])
    def test_unlabelled_reviews_have_a_fingerprint_of_their_own(self, tmp_path: Path, write: Any):
        here, there = write(tmp_path / "here"), write(tmp_path / "there")
        [unlabelled] = [*there.glob("unsup*.parquet"), *there.glob("train/unsup/*.txt")]
        before = local(there).fingerprint()
        assert local(here).fingerprint_unlabelled() == local(there).fingerprint_unlabelled()
        unlabelled.write_bytes(unlabelled.read_bytes() + b"!")
        assert local(here).fingerprint_unlabelled() != local(there).fingerprint_unlabelled()
        assert local(there).fingerprint() == before

    @pytest.mark.parametrize("write", [write_parquet, write_tree])
    def test_missing_unlabelled_reviews_are_an_error_that_says_what_helps(self, tmp_path: Path, write: Any):
        folder = write(tmp_path / "imdb")
        for file in [*folder.glob("unsup*.parquet"), *folder.glob("train/unsup/*.txt")]:
            file.unlink()
        for read in (local(folder).fingerprint_unlabelled, local(folder).load_unlabelled):
            with pytest.raises(
                DataError, match=r"(?s)holds no unlabelled reviews, .*unsup.*leave pretrain and trainer\.teachers out"
            ):
                read()

    def test_the_real_reviews(self, real_imdb: Path):
        raw = local(real_imdb).load()
        for reviews in (raw.train, raw.test):
            assert np.bincount(reviews.labels).tolist() == [12_500, 12_500]
            assert any("<br />" in text for text in reviews.texts[:100])
        assert len(local(real_imdb).load_unlabelled()) == 50_000


@dataclass
class Client:
    """Loads from the Hub in a process of its own, with a Hugging Face cache of its own."""

    home: Path

    def load(self, endpoint: str, revision: str = REVISION, **environment: str) -> dict[str, Any]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE"))}
        no_proxy = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        ours = {"HF_HOME": str(self.home), "HF_ENDPOINT": endpoint, "PYTHONPATH": str(PROJECT_DIR)}
        process = subprocess.run(
            [sys.executable, "-c", CLIENT, revision],
            env={**inherited, **no_proxy, **ours, **environment},
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        assert "%|" not in process.stderr, "a progress bar where there is no terminal"
        answer: dict[str, Any] = json.loads(process.stdout)
        return answer


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    files = {f"plain_text/{name}": content for name, content in parquet_files().items()}
    with serve_hub(REPOSITORY, REVISION, {**files, "README.md": imdb_card(SIZES)}) as server:
        yield server


@pytest.fixture(scope="module")
def gone() -> str:
    """An endpoint at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def download(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Client, dict[str, Any]]:
    """A client that starts with an empty cache, and what it got."""
    client = Client(tmp_path_factory.mktemp("hf"))
    return client, client.load(hub.endpoint)


@pytest.fixture(scope="module")
def filled(download: tuple[Client, dict[str, Any]]) -> Client:
    """A client whose cache holds the reviews of an earlier download."""
    return download[0]


@pytest.mark.slow
class TestHub:
    def test_downloads_the_pinned_revision(self, hub: HubServer, download: tuple[Client, dict[str, Any]]):
        answer = download[1]
        assert (answer["train"], answer["test"]) == (texts("train"), texts("test"))
        assert answer["labels"] == labels("train")
        assert answer["unlabelled"] == texts("unsupervised")
        assert answer["light"], "the fingerprint must not need the network's libraries"
        assert f"GET /datasets/{REPOSITORY}/resolve/{REVISION}/plain_text/train-00000-of-00001.parquet" in hub.requests

    @pytest.mark.parametrize("environment", [{}, {"HF_HUB_OFFLINE": "1"}], ids=["gone", "offline"])
    def test_without_the_hub_reads_its_cache_within_seconds(
        self, filled: Client, gone: str, environment: dict[str, str]
    ):
        answer = filled.load(gone, **environment)
        assert (answer["train"], answer["test"]) == (texts("train"), texts("test"))
        assert answer["seconds"] < 10

    def test_without_hub_and_cache_one_error_within_seconds_names_the_remedies(self, gone: str, tmp_path: Path):
        answer = Client(tmp_path).load(gone)
        assert "cannot be reached" in answer["error"]
        assert "get online once" in answer["error"]
        assert "data.path=FOLDER" in answer["error"]
        assert answer["seconds"] < 10

    def test_a_name_that_is_not_known_is_an_error_within_seconds(self, tmp_path: Path):
        answer = Client(tmp_path).load("http://hub.invalid")
        assert "cannot be reached" in answer["error"]
        assert answer["seconds"] < 10

    def test_a_hub_that_does_not_answer_is_an_error_within_seconds(self, tmp_path: Path):
        with socket.socket() as listener:  # takes connections and stays silent
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            answer = Client(tmp_path).load(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert "cannot be reached" in answer["error"]
        assert answer["seconds"] < 15

    def test_another_cached_revision_is_no_substitute(self, filled: Client, gone: str):
        answer = filled.load(gone, revision="b" * 40)
        assert f"at revision {'b' * 40} cannot be reached, and the cache holds another one" in answer["error"]
        assert REVISION in answer["error"]

    def test_an_unknown_revision_is_an_error(self, hub: HubServer, tmp_path: Path):
        answer = Client(tmp_path).load(hub.endpoint, revision="a" * 40)
        assert "do not exist on the Hub; check data.revision" in answer["error"]


def test_a_second_start_is_fast_and_imports_nothing_heavy(tmp_path: Path):
    folder = write_parquet(tmp_path / "imdb")
    code = f"""
import sys, time
from pathlib import Path
from sentiment.data.corpus import prepare_corpus
from sentiment.data.imdb import ImdbSource
started = time.perf_counter()
prepare_corpus(
    ImdbSource(Path({str(folder)!r}), "", ""),
    dict(kind="word", vocabulary_size=1000, min_frequency=1, lowercase=True),
    dict(validation_fraction=0.1, split_seed=0, train_limit=None), Path({str(tmp_path / "cache")!r}),
)
print(time.perf_counter() - started, *sorted({{"datasets", "pandas", "pyarrow", "torch"}} & set(sys.modules)))
"""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PROJECT_DIR)},
            capture_output=True, text=True, check=True, timeout=60,
        ).stdout.split()
        for _ in range(2)
    ]  # fmt: skip
    assert "pyarrow" in outputs[0][1:]
    assert outputs[1][1:] == []
    assert float(outputs[1][0]) < 1

"""What comes from others: texts, planted links, databases, environments."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import pytest

from sentiment import checkout
from sentiment.data.batching import Cut
from sentiment.data.files.records import LONGEST_TEXT, find_text_fault
from sentiment.data.tokenizer import train_tokenizer
from sentiment.errors import DataError
from sentiment.format import write_csv_cell
from sentiment.search.storage.address import StorageError
from sentiment.search.storage.lease import FOLDER_PREFIX, Lease
from sentiment.search.storage.opening import open_storage


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", " =1", "=HYPERLINK('x')"])
def test_no_cell_begins_a_formula(text: str):
    assert write_csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("cell", ["-0.5", "+3e-5", "good", "", 1, -2.5, None, True])
def test_other_cells_stay_as_they_are(cell: object):
    assert write_csv_cell(cell) == cell


def test_a_word_of_ten_million_characters_is_refused_where_all_of_it_is_read():
    tokenizer = train_tokenizer(["a good film", "a bad film"] * 5, "word", 100, 1, True)
    text = "x" * 10_000_000
    with pytest.raises(DataError, match="10,000,000 characters"):
        tokenizer.encode([text])
    assert "10,000,000" in str(find_text_fault(text))
    assert find_text_fault("x" * LONGEST_TEXT) is None


@pytest.mark.parametrize("keep", ["head", "tail", "head_tail"])
def test_a_long_text_is_cut_to_what_a_model_reads_before_it_is_tokenised(keep):
    words = [f"w{number}" for number in range(200_000)]
    short = Cut(10, keep, 0.5).cut_text(" ".join(words)).split()
    assert len(short) < 1000
    head, tail = {"head": (10, 0), "tail": (0, 10), "head_tail": (5, 5)}[keep]
    assert short[:head] == words[:head]
    assert short[len(short) - tail :] == words[len(words) - tail :]
    assert Cut(None, keep, 0.5).cut_text("x" * 10_000_000) == "x" * 10_000_000


@pytest.mark.parametrize("plant", ["link", "file"])
def test_a_planted_name_in_the_temporary_folder_blocks_nothing(tmp_path: Path, monkeypatch, plant: str):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    name = tmp_path / f"{FOLDER_PREFIX}{os.getuid()}"
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "old.lock").touch()
    os.utime(tmp_path / "victim" / "old.lock", (0, 0))
    if plant == "link":
        name.symlink_to(tmp_path / "victim")
    else:
        name.touch()
    with Lease.take("controller"):
        assert [file.name for file in (tmp_path / "victim").iterdir()] == ["old.lock"]
        assert len(list((tmp_path / f"{name.name}-1").iterdir())) == 1


def test_a_database_of_another_program_is_refused_and_nothing_is_left_beside_it(tmp_path: Path):
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE orders (id)")
    with pytest.raises(StorageError, match="another program: it has the tables orders"):
        open_storage(f"sqlite:///{tmp_path}/a.db", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]


def test_git_runs_nothing_that_the_environment_or_the_checkout_names(tmp_path: Path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", str(tmp_path), *identity, "commit", "-q", "--allow-empty", "-m", "a"], check=True)
    program = f"touch {tmp_path}/ran; false"
    subprocess.run(["git", "-C", str(tmp_path), "config", "core.fsmonitor", program], check=True)
    for name, value in {"COUNT": "1", "KEY_0": "core.fsmonitor", "VALUE_0": program}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert checkout.read_commit(tmp_path) is not None
    assert not (tmp_path / "ran").exists()

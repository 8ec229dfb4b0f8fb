"""Learned words on disk: whole or made again, by one process at a time."""

from __future__ import annotations

import threading

import pytest
import torch
from filelock import FileLock

from sentiment.data import cache
from sentiment.errors import ModelFileError
from sentiment.pretraining import artifact
from sentiment.pretraining.artifact import FACTS_FILE, WEIGHTS_FILE, open_words, read_words, save_words
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.result_file import RESULT_FILE, ResultRecord, write_result
from sentiment.training.start import hash_weights

FACTS = {
    "settings": {"seed": "0"}, "texts": "abc", "code": "def", "curve": [{"step": 1, "epoch": 1.0, "val/loss": 2.0}],
    "loss": 2.0, "seconds": 60.0,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "pretrained" / "0123"


@pytest.fixture
def made(folder):
    """Open the folder's words, and count how often they were made."""
    times = []

    def make():
        times.append(1)
        save_words(folder, {"a.weight": torch.arange(3.0)}, **FACTS)

    def open_made():
        return open_words(folder, make, lambda note: None), len(times)

    return open_made


def test_words_are_made_once_and_come_back(made):
    first, _ = made()
    second, times = made()
    assert times == 1
    assert second.facts == first.facts
    assert second.facts.curve == FACTS["curve"]
    assert second.weights["a.weight"].tolist() == [0, 1, 2]


def test_the_same_words_have_the_same_hash_each_time_that_they_are_read(folder):
    """By it a run knows the checkpoint from which it goes on."""
    weights = {f"layers.{number}.weight": torch.full((2,), float(number)) for number in range(12)}
    save_words(folder, weights, **FACTS)
    assert len({hash_weights(read_words(folder).weights) for _ in range(8)}) == 1


@pytest.mark.parametrize("file", [WEIGHTS_FILE, FACTS_FILE])
@pytest.mark.parametrize("damage", [lambda _: b"", lambda content: content[:-9], lambda c: c.replace(b"a", b"b")])
def test_damaged_words_are_named_and_made_again(made, folder, caplog, file, damage):
    made()
    (folder / file).write_bytes(damage((folder / file).read_bytes()))
    words, times = made()
    assert times == 2
    assert f"learned words in {folder} is damaged" in caplog.text
    assert words.weights["a.weight"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("is_damaged", [True, False])
def test_what_mlflow_is_to_have_of_the_attempt_before_is_kept(made, folder, is_damaged):
    """Whether it was cut off before its first checkpoint, or what it made is damaged."""
    if is_damaged:
        made()
        (folder / WEIGHTS_FILE).write_bytes(b"")
    Outbox(folder).note("tags", tags={"a": "1"})
    made()
    assert [note["tags"] for _, note in Outbox(folder).read()] == [{"a": "1"}]


def test_words_without_their_weights_or_under_another_name_are_not_used(made, folder):
    made()
    (folder / WEIGHTS_FILE).unlink()
    assert made()[1] == 2
    folder.rename(folder.with_name("4567"))
    with pytest.raises(cache.DamagedError, match=f"{FACTS_FILE} is of 0123"):
        artifact.read_words(folder.with_name("4567"))


def test_whoever_waits_says_so_once_and_takes_what_the_other_made(made, folder, caplog, monkeypatch):
    monkeypatch.setattr(cache, "WAIT_SECONDS", 0.01)
    caplog.set_level("INFO")
    folder.parent.mkdir()
    notes, waited = [], threading.Event()

    def tell(note):
        notes.append(note)
        if len(notes) == 3:
            waited.set()

    with FileLock(folder.with_name("0123.lock")):
        waiting = threading.Thread(target=lambda: notes.append(open_words(folder, None, tell)))
        waiting.start()
        assert waited.wait(30)
        save_words(folder, {"a.weight": torch.arange(3.0)}, **FACTS)
    waiting.join(30)
    assert notes[-1].facts.loss == 2.0
    assert caplog.text.count("Another run builds the artifact of learned words") == 1


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match=r"cannot be kept in .*\n  -> .*pretrain\.cache_dir=FOLDER"):
        open_words(tmp_path / "file" / "0123", None, print)


def test_words_of_which_only_the_record_is_left_are_learned_anew(folder):
    """The recorder would refuse to write into the folder of a run that is over."""
    folder.mkdir(parents=True)
    write_result(
        folder, ResultRecord(name="words", model="rnn", status="FINISHED", started="2026-01-01T00:00:00+00:00")
    )
    open_words(folder, lambda: save_words(folder, {"a": torch.ones(1)}, **FACTS), lambda note: None)
    assert not (folder / RESULT_FILE).exists()

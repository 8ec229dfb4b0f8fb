from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from sentiment.config.home import PROJECT_DIR
from sentiment.data import cache
from sentiment.data.cache import SPLITS, Entry, open_entry
from sentiment.errors import DataError

BUILDER = """
import os, sys, time
from pathlib import Path
import numpy as np
from sentiment.data import cache

folder, behaviour = Path(sys.argv[1]), sys.argv[2]

def build():
    with (folder / "builds").open("a") as file:
        file.write("built\\n")
    time.sleep(0.3)  # both processes are at the door by now
    arrays = {split: dict.fromkeys(("ids", "offsets", "labels", "rows"), np.arange(1000)) for split in cache.SPLITS}
    return cache.Entry(arrays=arrays, tokenizer="{}", meta={"from": "a process"})

if behaviour == "hang":  # in mid-write: some arrays are on disk, the rest never comes
    save = np.save
    def save_some(path, array, **settings):
        save(path, array, **settings)
        if "validation" in path.name:
            print("writing", flush=True)
            time.sleep(60)
    np.save = save_some
else:
    print("ready", flush=True)
    sys.stdin.readline()
entry = cache.open_entry(folder / "cache", "key", build)
print(entry.arrays["train"]["ids"].sum(), entry.meta["from"])
"""


def start(folder: Path, behaviour: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_DIR)}
    command = [sys.executable, "-c", BUILDER, str(folder), behaviour]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def make_entry() -> Entry:
    arrays = {
        split: dict.fromkeys(("ids", "offsets", "labels", "rows"), np.arange(100, dtype=np.uint16)) for split in SPLITS
    }
    return Entry(arrays=arrays, tokenizer='{"a": 1}', meta={"answer": 42})


def never() -> Entry:
    raise AssertionError("built although the entry was there")


def test_gives_back_what_was_built_and_builds_once(tmp_path: Path):
    for build in (make_entry, never):
        entry = open_entry(tmp_path, "key", build)
        assert (entry.meta["answer"], entry.tokenizer) == (42, '{"a": 1}')
        np.testing.assert_array_equal(entry.arrays["test"]["ids"], np.arange(100))


def test_arrays_are_mapped_and_read_only(tmp_path: Path):
    ids = open_entry(tmp_path, "key", make_entry).arrays["train"]["ids"]
    assert isinstance(ids.base, np.memmap)
    assert ids.dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 1


def test_keys_are_kept_apart(tmp_path: Path):
    open_entry(tmp_path, "one", make_entry)
    with pytest.raises(AssertionError, match="built although"):
        open_entry(tmp_path, "two", never)


def test_leaves_nothing_but_entry_and_lock(tmp_path: Path):
    open_entry(tmp_path, "key", make_entry)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.lock"]


def test_a_reader_needs_no_lock_and_no_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    open_entry(tmp_path, "key", make_entry)
    monkeypatch.setattr(cache, "FileLock", never)
    assert open_entry(tmp_path, "key", never).meta["answer"] == 42


def cut_short(folder: Path) -> None:
    with (folder / "test.ids.npy").open("r+b") as file:
        file.truncate(150)


def cut_tokenizer_short(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"a"')


def remove_array(folder: Path) -> None:
    (folder / "train.labels.npy").unlink()


def empty_meta(folder: Path) -> None:
    (folder / "meta.json").write_text("")


def other_meta(folder: Path) -> None:
    (folder / "meta.json").write_text("[]")


def age(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps({**meta, "format_version": 0}))


def spoil_header(folder: Path) -> None:
    size = (folder / "train.ids.npy").stat().st_size
    (folder / "train.ids.npy").write_bytes(b"\0" * size)


@pytest.mark.parametrize(
    "damage", [cut_short, cut_tokenizer_short, remove_array, empty_meta, other_meta, age, spoil_header]
)
def test_a_damaged_entry_is_built_again_with_a_warning(tmp_path: Path, damage, caplog: pytest.LogCaptureFixture):
    open_entry(tmp_path, "key", make_entry)
    damage(tmp_path / "key")
    with caplog.at_level(logging.WARNING):
        assert open_entry(tmp_path, "key", make_entry).meta["answer"] == 42
    (record,) = caplog.records
    assert "is damaged" in record.message
    assert "built again" in record.message
    assert open_entry(tmp_path, "key", never).meta["answer"] == 42


def test_an_open_entry_outlives_its_rebuilding(tmp_path: Path):
    ids = open_entry(tmp_path, "key", make_entry).arrays["train"]["ids"]
    empty_meta(tmp_path / "key")
    open_entry(tmp_path, "key", make_entry)
    np.testing.assert_array_equal(ids, np.arange(100))


def test_a_build_that_fails_leaves_nothing(tmp_path: Path):
    def fail() -> Entry:
        raise DataError("no such data")

    with pytest.raises(DataError, match="no such data") as error:
        open_entry(tmp_path, "key", fail)
    assert error.tb is not None, "the traceback keeps the frame alive, and the lock must be free nevertheless"
    with FileLock(tmp_path / "key.lock").acquire(timeout=0):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["key.lock"]
    assert open_entry(tmp_path, "key", make_entry).meta["answer"] == 42


def test_an_error_of_the_source_is_not_taken_for_one_of_the_cache(tmp_path: Path):
    def fail() -> Entry:
        raise PermissionError("the source")

    with pytest.raises(PermissionError, match="the source"):
        open_entry(tmp_path, "key", fail)


def test_a_full_disk_is_explained_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_space(*arguments: object, **settings: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", no_space)
    with pytest.raises(DataError, match=r"cannot be written: .*No space left.*\n  -> .* set data.cache_dir"):
        open_entry(tmp_path, "key", make_entry)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.lock"]


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written: .*\n  -> .* set data.cache_dir"):
        open_entry(tmp_path / "file" / "cache", "key", make_entry)


def test_two_processes_that_start_at_once_build_once(tmp_path: Path):
    processes = [start(tmp_path, "wait") for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == ["499500 a process\n"] * 2
    assert (tmp_path / "builds").read_text() == "built\n"
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["key", "key.lock"]


def test_a_builder_killed_in_mid_write_is_no_obstacle(tmp_path: Path):
    process = start(tmp_path, "hang")
    assert process.stdout.readline() == "writing\n"
    left = list((tmp_path / "cache").glob("key.partial-*"))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert len(left) == 1
    assert list(left[0].iterdir())
    assert not (tmp_path / "cache" / "key").exists()
    started = time.monotonic()
    entry = open_entry(tmp_path / "cache", "key", make_entry)
    assert time.monotonic() - started < 5
    assert entry.meta["answer"] == 42
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["key", "key.lock"]


@pytest.mark.parametrize("name", ["train.labels.npy", "test.ids.npy", "tokenizer.json", "meta.json"])
def test_one_flipped_bit_is_found_and_the_entry_built_again(tmp_path, caplog, name):
    open_entry(tmp_path, "key", make_entry)
    file = tmp_path / "key" / name
    content = bytearray(file.read_bytes())
    position = content.index(b"42") if name == "meta.json" else len(content) - 2
    content[position] ^= 1
    file.write_bytes(content)
    assert open_entry(tmp_path, "key", make_entry).meta["answer"] == 42
    assert f"{name} differs" in caplog.text
    assert open_entry(tmp_path, "key", never).meta["answer"] == 42

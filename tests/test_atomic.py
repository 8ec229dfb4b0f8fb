"""A reader sees the old file or the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentiment.atomic import replacing, write_text
from sentiment.json_file import write_json


def test_folder_and_file_are_made(tmp_path: Path):
    write_text(tmp_path / "a" / "b.txt", "é\r\n")
    assert (tmp_path / "a" / "b.txt").read_bytes() == "é\r\n".encode()


def test_a_failure_leaves_the_old_file_and_no_remains(tmp_path: Path):
    file = tmp_path / "a.json"
    write_json(file, {"old": float("nan")})

    def stop_in_the_middle() -> None:
        with replacing(file) as unfinished:
            unfinished.write_text("{")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stop_in_the_middle()
    assert file.read_text() == '{\n "old": NaN\n}\n'
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_of_that_name_is_told_before_anything_is_written(tmp_path: Path):
    with pytest.raises(IsADirectoryError, match=str(tmp_path)), replacing(tmp_path):
        pytest.fail("all was written")


def test_what_cannot_be_written_is_an_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_text(tmp_path / "file" / "inner.txt", "text")


def test_a_link_is_replaced_and_what_it_leads_to_stays(tmp_path: Path):
    (tmp_path / "file").write_text("of another run")
    link = tmp_path / "link"
    link.symlink_to("file")
    write_text(link, "own")
    assert not link.is_symlink()
    assert ((tmp_path / "file").read_text(), link.read_text()) == ("of another run", "own")


def test_a_file_that_output_goes_to_keeps_what_it_has(tmp_path: Path):
    with (tmp_path / "log").open("a") as log:
        log.write("before\n")
        log.flush()
        with pytest.raises(OSError, match="Stands for a file that is open"):
            write_text(Path(f"/proc/self/fd/{log.fileno()}"), "table")
        log.write("after\n")
    assert (tmp_path / "log").read_text() == "before\nafter\n"


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    (tmp_path / "stdout").symlink_to(f"/proc/self/fd/{reader}")
    try:
        for name in ("pipe", "stdout"):
            write_text(tmp_path / name, "text")
            assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert (tmp_path / "stdout").is_symlink()

from __future__ import annotations

from pathlib import Path

from sentiment.data.fingerprint import BLOCK_BYTES, hash_contents


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_moved_file_keeps_its_hash(tmp_path: Path):
    content = b"x" * (BLOCK_BYTES + 1)
    here, there = write(tmp_path / "here", content), write(tmp_path / "far" / "there", content)
    assert hash_contents([("train", here)]) == hash_contents([("train", there)])


def test_every_byte_and_every_name_counts(tmp_path: Path):
    content = b"x" * (BLOCK_BYTES + 1)
    same, changed = write(tmp_path / "a", content), write(tmp_path / "b", content[:-1] + b"y")
    hashes = {hash_contents([("train", same)]), hash_contents([("train", changed)]), hash_contents([("test", same)])}
    assert len(hashes) == 3


def test_content_cannot_move_between_files(tmp_path: Path):
    one = [("n", write(tmp_path / "1", b"ab")), ("n", write(tmp_path / "2", b"c"))]
    other = [("n", write(tmp_path / "3", b"a")), ("n", write(tmp_path / "4", b"bc"))]
    assert hash_contents(one) != hash_contents(other)

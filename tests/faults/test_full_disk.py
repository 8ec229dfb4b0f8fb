"""A disk that is really full: whatever writes says so, and leaves what was there and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sentiment import atomic
from sentiment.data.batching import Cut
from sentiment.data.cache import SPLITS, Entry, open_entry
from sentiment.data.tokenizer import train_tokenizer
from sentiment.errors import describe_failure
from sentiment.json_file import write_json
from sentiment.models.build import build_model
from sentiment.models.bundle import save_bundle
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.result_file import ResultRecord, write_result
from tests.end_to_end.conftest import TINY, make_checkout
from tests.faults.disk import fill, small_disk

__all__ = ["small_disk"]


def list_files(folder: Path) -> dict[str, int]:
    return {
        str(file.relative_to(folder)): file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and file.stat().st_size
    }


def write_bundle(folder: Path) -> None:
    from hydra import compose, initialize_config_dir

    from sentiment.config.home import PROJECT_DIR
    from sentiment.config.reading import read_settings

    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        model = read_settings(compose("config", ["model=rnn", "model.embedding_size=8"]), folder).model
    tokenizer = train_tokenizer(["a film"], "word", 16, 1, lowercase=True)
    network = build_model(model, vocabulary_size=tokenizer.vocabulary_size, classes=2, max_tokens=8)
    save_bundle(folder / "model", network, model, tokenizer.to_json(), ("a", "b"), Cut(8, "head", 0.5))


def write_record(folder: Path) -> None:
    write_result(folder, ResultRecord("x" * 100_000, "rnn", "RUNNING", "2026-01-01T00:00:00+00:00"))


def write_cache(folder: Path) -> None:
    arrays = {
        split: dict.fromkeys(("ids", "offsets", "labels", "rows"), np.zeros(10_000, dtype=np.uint16))
        for split in SPLITS
    }
    open_entry(folder / "cache", "key", lambda: Entry(arrays, "{}", {}))


def write_report(folder: Path) -> None:
    from sentiment.report.sweep.collect import collect_records
    from sentiment.report.sweep.page import report_sweep

    record = ResultRecord("rnn", "rnn", "FINISHED", "2026-01-01T00:00:00+00:00", metrics={"val/accuracy": 0.5})
    report_sweep(collect_records([record], "sweep", ["val/accuracy"]), folder)


WRITERS: dict[str, Callable[[Path], object]] = {
    "text": lambda folder: atomic.write_text(folder / "a.txt", "x" * 100_000),
    "JSON": lambda folder: write_json(folder / "a.json", ["x"] * 100_000),
    "a record": write_record,
    "a bundle": write_bundle,
    "the token cache": write_cache,
    "a report": write_report,
    "a note": lambda folder: Outbox(folder).note("validated", text="x" * 100_000),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_does_not_fit_is_said_and_leaves_nothing(writer: str, small_disk: Path):
    folder = small_disk / "run"
    folder.mkdir()
    (folder / "a.txt").write_text("old")
    fill(small_disk / "filler")
    before = list_files(small_disk)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - what each says follows
        WRITERS[writer](folder)
    assert "disk is full" in describe_failure(raised.value).reason or "No space left" in str(raised.value)
    assert list_files(small_disk) == before
    assert not [file for file in small_disk.rglob("*") if "partial" in file.name]


@pytest.mark.slow
def test_a_run_on_a_disk_that_fills_up_ends_in_a_screen_and_leaves_no_temporary_file(small_disk: Path, tmp_path: Path):
    checkout = make_checkout(tmp_path / "checkout")
    (tmp_path / "temporary").mkdir()
    run_dir = small_disk / "run"
    process = checkout.start(
        *TINY, "trainer.max_epochs=1000", f"hydra.run.dir={run_dir}", TMPDIR=str(tmp_path / "temporary")
    )
    deadline = time.monotonic() + 120
    while not list(run_dir.glob("checkpoints/*.ckpt")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    fill(small_disk / "filler")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "disk is full" in errors or "No space left on device\n  -> free space" in errors  # whoever writes first
    assert "Traceback" not in errors
    assert len(errors.splitlines()) <= 24, errors
    names = [file.name for file in small_disk.rglob("*") if file.is_file()]
    assert not [name for name in names if name.startswith(".") and name[-1].isdigit()], names
    assert not [name for name in names if "partial" in name or name.endswith(".tmp")], names
    assert [file for file in (tmp_path / "temporary").rglob("*") if file.is_file()] == []  # torch makes a folder there

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentiment.search.storage.lease import LITTER_SECONDS, Heartbeat, Lease, LeaseError, Watch, looks_alive

HOLD_A_LEASE = """
import json, os, sys, time
from sentiment.search.storage.lease import Lease

lease = Lease.take("worker")
print(json.dumps(lease.record()), flush=True)
if sys.argv[1] == "fork" and os.fork() == 0:
    os.close(1)  # nobody shall wait for its output
    time.sleep(5)
    os._exit(0)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield
    monkeypatch.undo()
    tempfile.tempdir = None


@pytest.fixture
def record() -> dict[str, Any]:
    """The record of a lease on another machine."""
    return {"kind": "job", "id": "a1", "host": "elsewhere", "pid": 1, "lock_path": "/nowhere/a1.lock", "beat": 0}


def test_a_record_is_plain_json_for_people_and_machines():
    with Lease.take("controller") as lease:
        record = json.loads(json.dumps(lease.record()))
    assert record["kind"] == "controller"
    assert record["pid"] == os.getpid()
    assert record["beat"] == 0


def test_the_holders_own_process_sees_it_alive_until_it_is_released():
    watch = Watch()
    lease = Lease.take("job")
    assert not watch.is_dead(lease.record())
    lease.release()
    assert watch.is_dead(lease.record())
    assert watch.is_dead(lease.record())  # still, though its file is gone now


def test_a_killed_holder_is_dead_at_once(start_python):
    holder = start_python(HOLD_A_LEASE, "alone")
    record = json.loads(holder.stdout.readline())
    watch = Watch(grace_seconds=1e9)
    assert not watch.is_dead(record)
    assert not watch.is_dead(record, now_seconds=1e12)  # a process stopped for ever so long is alive
    holder.kill()
    holder.wait()
    assert Path(record["lock_path"]).exists()
    assert watch.is_dead(record)
    assert Watch().is_dead(record), "the next command's watch sees it as well"
    Path(record["lock_path"]).unlink()
    assert watch.is_dead(record), "for good"


def test_a_dead_holder_with_a_living_child_is_dead(start_python):
    holder = start_python(HOLD_A_LEASE, "fork")
    record = json.loads(holder.stdout.readline())
    time.sleep(0.3)  # until it has forked
    holder.kill()
    holder.wait()
    assert Watch(grace_seconds=1e9).is_dead(record)


def test_another_machine_is_judged_by_its_beats(record: dict[str, Any]):
    watch = Watch(grace_seconds=60)
    assert not watch.is_dead(record, now_seconds=1000)
    assert not watch.is_dead(record, now_seconds=1059)
    record["beat"] = 1
    assert not watch.is_dead(record, now_seconds=1119)
    assert not watch.is_dead(record, now_seconds=1178)
    assert watch.is_dead(record, now_seconds=1179)
    record["beat"] = 2  # it was asleep
    assert not watch.is_dead(record, now_seconds=1300)
    assert watch.is_dead(record, now_seconds=1360)


def test_a_new_watch_gives_a_full_grace_whatever_the_clocks_say(record: dict[str, Any]):
    record["started"] = "1970-01-01T00:00:00+00:00"
    assert not Watch(grace_seconds=60).is_dead(record, now_seconds=1e9)


@pytest.mark.parametrize("apart_seconds", [-600, 600])
def test_who_looks_twice_sees_who_lives_though_clocks_are_apart(record: dict[str, Any], apart_seconds: float):
    record |= {"id": f"apart{apart_seconds}"}
    looks = [looks_alive({**record, "until": time.time() + apart_seconds, "beat": beat}) for beat in (3, 4, 4)]
    assert looks == [False, True, True]
    assert looks_alive({**record, "id": "b2", "until": time.time() - 20})


def test_a_lost_lock_file_leaves_the_beats_to_judge():
    lease = Lease.take("job")
    record = {**lease.record(), "id": "b2"}  # as another process would see it
    Path(record["lock_path"]).unlink()
    lease.beat()
    assert not Path(record["lock_path"]).exists()  # an unlocked file would call a living holder dead
    watch = Watch(grace_seconds=60)
    assert not watch.is_dead(record, now_seconds=0)
    assert watch.is_dead(record, now_seconds=60)
    lease.release()


def test_a_record_cannot_name_a_file_that_is_no_lease(tmp_path: Path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    with Lease.take("job") as lease:
        record = {**lease.record(), "id": "c3", "lock_path": str(precious)}
    assert not Watch().is_dead(record)
    assert precious.read_text() == "mine"


def test_old_litter_is_removed_and_old_leases_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where no other test has had it removed already
    ended, living = Lease.take("job"), Lease.take("job")
    ended.release()
    paths = [Path(lease.record()["lock_path"]) for lease in (ended, living)]
    long_ago = time.time() - LITTER_SECONDS - 60
    for path in paths:
        os.utime(path, (long_ago, long_ago))
    with Lease.take("controller"):
        assert [path.exists() for path in paths] == [False, True]
    living.release()


def test_a_lease_whose_holder_told_how_it_ended_leaves_no_file():
    lease = Lease.take("job")
    path = Path(lease.record()["lock_path"])
    lease.release(forget=True)
    assert not path.exists()


def test_a_folder_that_cannot_be_written(unprivileged_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(unprivileged_dir))
    unprivileged_dir.chmod(0o500)
    with pytest.raises(LeaseError, match="set TMPDIR"):
        Lease.take("job")


def test_a_heartbeat_writes_the_record_first_and_then_every_beat():
    beats: list[int] = []
    enough = threading.Event()

    def write(record: dict[str, Any]) -> None:
        beats.append(record["beat"])
        if len(beats) == 4:
            enough.set()

    with Lease.take("worker") as lease, Heartbeat(write, lease, every_seconds=0.01):
        assert beats[0] == 0
        assert enough.wait(10)
    assert beats[:4] == [0, 1, 2, 3]


def test_a_write_that_fails_for_good_reaches_the_owner():
    failed = threading.Event()

    def write(record: dict[str, Any]) -> None:
        if record["beat"] > 0:
            if record["beat"] > 1:
                failed.set()
            raise OSError("gone")

    with Lease.take("worker") as lease:
        heartbeat = Heartbeat(write, lease, every_seconds=0.01).start()
        assert failed.wait(10)
        with pytest.raises(OSError, match="gone"):
            heartbeat.stop()


def test_a_write_that_fails_once_is_made_good():
    recovered = threading.Event()

    def write(record: dict[str, Any]) -> None:
        if record["beat"] == 1:
            raise OSError("busy")
        if record["beat"] > 2:
            recovered.set()

    with Lease.take("worker") as lease:
        heartbeat = Heartbeat(write, lease, every_seconds=0.01).start()
        assert recovered.wait(10)
        heartbeat.stop()


def test_the_owners_exception_goes_first():
    failed = threading.Event()

    def write(record: dict[str, Any]) -> None:
        if record["beat"] > 0:
            failed.set()
            raise OSError("gone")

    def work() -> None:
        with Lease.take("worker") as lease, Heartbeat(write, lease, every_seconds=0.01):
            assert failed.wait(10)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        work()


def test_a_write_that_hangs_is_said():
    release = threading.Event()
    entered = threading.Event()

    def write(record: dict[str, Any]) -> None:
        if record["beat"] > 0:
            entered.set()
            release.wait(10)

    with Lease.take("worker") as lease:
        heartbeat = Heartbeat(write, lease, every_seconds=0.01).start()
        assert entered.wait(10)
        with pytest.raises(LeaseError, match="has not ended"):
            heartbeat.stop(timeout_seconds=0.05)
        release.set()
        heartbeat.stop()

"""For how long a job may take, and for how long it may not get on."""

from __future__ import annotations

from sentiment.search.workers.executor import Patience


def test_without_limits_nothing_is_ended():
    assert not Patience()
    assert Patience().judge(0, "a", 1e9) is None


def test_the_whole_time_of_a_job():
    patience = Patience(timeout_seconds=100.0)
    assert [patience.judge(0, now, now) for now in (5.0, 104.9)] == [None, None]
    assert patience.judge(0, "on", 105.0) == "it took longer than trial_timeout=1 min 40 s"
    assert patience.judge(1, "other", 105.0) is None  # each has its own time
    patience.forget(0)
    assert patience.judge(0, "again", 200.0) is None


def test_the_time_without_progress_begins_anew_with_every_sign():
    patience = Patience(progress_seconds=10.0)
    for now in range(0, 100, 9):
        assert patience.judge(0, f"sign {now}", float(now)) is None
    assert patience.judge(0, "sign 99", 108.9) is None
    assert patience.judge(0, "sign 99", 109.0) == "it did not get on for progress_timeout=10.0 s"


def test_what_a_job_ran_before_its_pause_is_a_part_of_its_time():
    patience = Patience(timeout_seconds=100.0, progress_seconds=50.0)
    assert patience.judge(0, "a", 1000.0, 60.0) is None, "it has told nothing yet, and had no time to"
    assert patience.judge(0, "b", 1039.0, 60.0) is None
    assert patience.judge(0, "c", 1040.0, 60.0) == "it took longer than trial_timeout=1 min 40 s"

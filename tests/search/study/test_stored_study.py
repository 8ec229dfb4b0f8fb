"""A study in its storage: claims, results, and what becomes of the trials of dead processes."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState

from sentiment.search.storage.lease import Lease
from sentiment.search.storage.opening import open_storage
from sentiment.search.study.address_file import write_study_address
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome
from sentiment.search.study.promotion import PromotionPruner
from sentiment.search.study.stop import request_stop
from sentiment.search.study.stored import claims, endings
from sentiment.search.study.stored.endings import give_up_paused, keep_outcome
from sentiment.search.study.stored.store import TrialStore
from sentiment.search.study.stored.study import StoredStudy
from sentiment.search.study.trial import JOB_KEY, OWNER_KEY, read_seconds


@pytest.fixture
def open_study(study_dir, make_search):
    """Opens the one study of this test, as another command would: same storage, same lock."""
    storage = open_storage(None, study_dir)
    with contextlib.ExitStack() as stack:

        def open_one(total=4, repeats=1, direction="minimize", pruner=None, **options):
            search = make_search(n_trials=total, repeats=repeats, direction=direction, **options)
            search.pruner = pruner or search.pruner
            return stack.enter_context(StoredStudy(TrialStore(storage, None, search), search))

        yield open_one


def die(study):
    """Do what the kernel does when a process dies: its lease ends, and it says nothing more."""
    study.__exit__(None, None, None)


def list_states(study):
    return [trial.state.name.lower() for trial in study.trials()]


def test_a_stop_ends_the_commands_at_work_and_none_that_joins_later(open_study, study_dir):
    asked = open_study()
    write_study_address(study_dir, asked.name, None, None)
    request_stop(study_dir)
    joined = open_study()
    assert (asked.claim(), joined.claim().number) == (None, 0)


def test_who_has_its_own_total_does_not_wait_for_another_command_s(open_study):
    small, large = open_study(total=2), open_study(total=6)
    for number in range(2):
        assert not small.is_served, "the other one runs what counts here, too"
        claimed = large.claim()
        assert not small.is_served
        large.settle(claimed.trial_id, Outcome("complete", values=(float(number),)))
    assert large.claim().number == 2
    assert small.claim() is None
    assert small.is_served
    assert not large.is_served


def pause_next(study):
    """Claim a trial, and let it wait at its first rung."""
    claimed, outcome = study.claim(), Outcome("paused", steps=1)
    study.store.storage.set_trial_intermediate_value(claimed.trial_id, 0, 0.5)
    study.store.write(claimed.trial_id, OUTCOME_KEY.format(repeat=0), outcome.to_json())
    study.settle(claimed.trial_id, outcome)
    return study.store.read(claimed.trial_id)


def test_the_last_command_at_work_ends_what_is_paused_and_no_other(open_study):
    """To the others it may yet be of use."""
    one, other = (open_study(total=4, pruner=PromotionPruner()) for _ in range(2))
    pause_next(one)
    for study, given_up in ((one, []), (other, [0])):
        agenda = SimpleNamespace(follow=study.look, is_done=lambda trials: True, leave_to_others=list)
        found = give_up_paused(study.store, study.search, agenda, is_over=True)
        assert [trial.number for trial in found] == given_up


def test_a_dead_command_leaves_the_end_of_what_is_paused_to_the_next(open_study):
    one, other = open_study(), open_study()
    assert not one.store.is_last()
    other.store.lease.release()
    assert one.store.is_last()


def test_no_more_trials_are_claimed_than_there_are_in_total(open_study):
    one, other = open_study(total=3), open_study(total=3)
    claims = [one.claim(), other.claim(), one.claim()]
    assert [claim.number for claim in claims] == [0, 1, 2]
    assert one.claim() is other.claim() is None
    assert not one.is_served
    for study, claim in zip((one, other, one), claims, strict=True):
        study.settle(claim.trial_id, Outcome("complete", (1.0,)))
    assert one.is_served
    assert other.is_served


def test_claims_of_many_threads_are_never_too_many(open_study):
    studies = [open_study(total=20) for _ in range(4)]
    numbers = []

    def claim_all(study):
        while (claim := study.claim()) is not None:
            numbers.append(claim.number)

    threads = [threading.Thread(target=claim_all, args=(study,)) for study in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(20))


def test_a_trial_of_a_dead_process_is_run_again_with_its_parameters(open_study):
    dead, living = open_study(), open_study()
    lost = dead.claim()
    die(dead)
    found = living.claim()
    assert (found.number, found.values) == (lost.number, lost.values)
    assert len(living.trials()) == 1


def test_a_trial_of_a_living_process_is_left_alone(open_study):
    one, other = open_study(), open_study()
    assert one.claim().number == 0
    assert other.claim().number == 1


def test_a_trial_that_takes_its_command_with_it_fails_after_so_many(open_study, caplog):
    """As where a job takes all the memory of a machine, whose whole command is then killed."""
    for _ in range(2):
        dead = open_study(total=2, max_attempts=2)
        claim = dead.claim()
        assert claim.number == 0
        with Lease.take("job") as lease:
            dead.store.write(claim.trial_id, "study:job", lease.record())
        die(dead)
    assert open_study(total=2, max_attempts=2).claim().number == 1  # the study is not stopped for ever
    failed = dead.trials()[0]
    assert failed.state == TrialState.FAIL
    assert failed.user_attrs["failure.kind"] == "worker_died"
    assert failed.user_attrs["failure.reason"] == "2 commands died while they ran it (hydra.sweeper.max_attempts=2)"


def test_a_trial_that_never_began_keeps_its_attempts(open_study):
    """As where a cluster's login node is restarted again and again, while jobs stand in the queue."""
    for _ in range(5):
        dead = open_study(total=1, max_attempts=2)
        assert dead.claim().number == 0
        die(dead)


def test_a_trial_between_two_repeats_keeps_its_attempts(open_study):
    """As where Ctrl-C ends a command whose jobs stay with Slurm, and each comes to its end."""
    for repeat in range(4):
        dead = open_study(total=1, repeats=5, max_attempts=2)
        claim = dead.claim()
        assert (claim.number, len(claim.outcomes)) == (0, repeat)
        with Lease.take("job") as lease:
            dead.store.write(claim.trial_id, JOB_KEY, {**lease.record(), "repeat": repeat})
        keep_outcome(dead.store, claim.trial_id, repeat, Outcome("complete", values=(1.0,)))
        die(dead)


def test_a_trial_that_was_stopped_politely_keeps_its_attempts(open_study):
    for _ in range(5):
        study = open_study(total=1, max_attempts=2)
        claim = study.claim()
        assert claim.number == 0
        study.release(claim.trial_id)


def test_a_trial_whose_job_lives_on_is_left_alone_though_its_command_is_dead(open_study):
    dead, living = open_study(), open_study()
    orphan = dead.claim()
    with Lease.take("job") as lease:
        living.store.write(orphan.trial_id, "study:job", lease.record())
        die(dead)
        assert living.claim().number == 1
    assert living.claim().number == 0  # the job has died as well


def test_the_lease_of_an_earlier_job_does_not_speak_for_the_next(open_study):
    first = open_study()
    claim = first.claim()
    lease = Lease.take("job")
    first.store.write(claim.trial_id, JOB_KEY, lease.record())
    lease.release()
    die(first)
    second = open_study()
    assert second.claim().number == 0
    die(second)  # before its job has begun
    Path(lease.record()["lock_path"]).unlink()  # so nobody can tell at once any more that the first job is dead
    assert open_study().claim().number == 0


def test_the_time_of_a_job_that_is_killed_is_known_by_its_heartbeats(open_study, study_dir, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("sentiment.search.study.trial.time.monotonic", lambda: now[0])
    for earlier in (0.0, 100.0):
        study = open_study(total=1)
        claim = study.claim()
        assert read_seconds(study.store.read(claim.trial_id), 0) == earlier
        job = study.address_of(claim, 0).find()
        job.begin(study_dir, None)
        now[0] += 100
        with Lease.take("job") as lease:
            job.write_lease(lease.record())
        now[0] += 9  # and it is killed, with its command
        die(study)
    assert read_seconds(open_study(total=1).store.read(claim.trial_id), 0) == 200


def test_a_claim_that_was_cut_off_is_run_again(open_study):
    study = open_study()
    study.store.study.ask()  # a power cut before the claim had its owner
    assert study.claim().number == 0
    assert study.claim().number == 1


def cut_off(*arguments):
    raise EOFError


@pytest.fixture
def two_commands(open_study):
    """Two commands on a study of one trial, which the first one has paused."""
    one, other = (open_study(total=1, pruner=PromotionPruner()) for _ in range(2))
    return one, other, pause_next(one)


def test_nobody_waits_for_a_paused_trial_that_another_command_promoted_when_it_died(two_commands, monkeypatch):
    one, other, paused = two_commands
    with monkeypatch.context() as patch:
        patch.setattr(claims, "_note_claim", cut_off)
        with pytest.raises(EOFError):
            other.claim()
    die(other)
    assert one.claim().number == paused.number


def test_nobody_waits_for_a_paused_trial_that_another_command_gave_up_when_it_died(two_commands, monkeypatch):
    one, other, paused = two_commands
    with monkeypatch.context() as patch:
        patch.setattr(endings, "end", cut_off)
        with pytest.raises(EOFError):
            endings.give_up(other.store, other.search, paused, Outcome("pruned"))
    die(other)
    assert one.claim() is None
    assert list_states(one) == ["pruned"]
    assert one.is_served


def test_a_result_that_was_kept_but_not_told_counts(open_study):
    dead, living = open_study(total=1), open_study(total=1)
    claim = dead.claim()
    dead.store.write(claim.trial_id, OUTCOME_KEY.format(repeat=0), Outcome("complete", (0.25,)).to_json())
    die(dead)
    assert living.claim() is None
    assert living.look().best[0].value == 0.25


def test_finished_repeats_come_with_the_claim(open_study):
    dead, living = open_study(repeats=3), open_study(repeats=3)
    claim = dead.claim()
    kept = Outcome("complete", (1.0,))
    dead.store.write(claim.trial_id, OUTCOME_KEY.format(repeat=0), kept.to_json())
    die(dead)
    assert living.claim().outcomes == {0: kept}


def test_a_result_of_a_trial_that_another_took_over_is_dropped(open_study, caplog):
    slow, quick = open_study(), open_study()
    claim = slow.claim()
    slow.store.write(claim.trial_id, OWNER_KEY, quick.store.owner)
    slow.settle(claim.trial_id, Outcome("complete", (1.0,)))
    assert list_states(slow) == ["running"]
    assert "taken over by another process" in caplog.text


def test_a_settled_trial_stays_as_it_is(open_study):
    study = open_study()
    trial_id = study.claim().trial_id
    study.settle(trial_id, Outcome("complete", (1.0,)))
    study.settle(trial_id, Outcome("failed", reason="late"))
    assert list_states(study) == ["complete"]


def test_a_released_trial_waits_for_the_next_claim(open_study):
    one, other = open_study(), open_study()
    claim = one.claim()
    one.release(claim.trial_id)
    assert list_states(one) == ["waiting"]
    assert other.claim().values == claim.values


def test_a_released_trial_whose_job_had_just_ended_is_settled(open_study):
    study = open_study()
    trial_id = study.claim().trial_id
    study.store.write(trial_id, OUTCOME_KEY.format(repeat=0), Outcome("complete", (2.0,)).to_json())
    study.release(trial_id)
    assert study.look().best[0].value == 2.0


def test_a_failure_keeps_kind_reason_and_traceback(open_study):
    study = open_study()
    outcome = Outcome("failed", kind="out_of_memory", reason="too large", traceback="line 1")
    study.settle(study.claim().trial_id, outcome)
    attributes = study.trials()[0].user_attrs
    assert attributes == {"failure.kind": "out_of_memory", "failure.reason": "too large", "failure.traceback": "line 1"}
    assert study.trials()[0].state == TrialState.FAIL


def test_a_pruned_trial_is_pruned_and_no_failure(open_study):
    study = open_study()
    study.settle(study.claim().trial_id, Outcome("pruned", reason="hopeless"))
    assert (list_states(study), study.trials()[0].user_attrs) == (["pruned"], {})


@pytest.mark.parametrize(("direction", "best"), [("minimize", 0), ("maximize", 2)])
def test_the_best_is_the_best_of_the_complete(open_study, direction, best):
    study = open_study(direction=direction)
    assert study.look().best == []
    for value in (1.0, 2.0, 3.0):
        study.settle(study.claim().trial_id, Outcome("complete", (value,)))
    study.settle(study.claim().trial_id, Outcome("failed", reason="no"))
    assert [trial.number for trial in study.look().best] == [best]
    assert study.look().counts == {"complete": 3, "failed": 1}


def test_a_point_that_cannot_be_drawn_is_a_failed_trial_and_an_error(study_dir, make_search):
    def refuse(trial):
        raise ValueError("nothing left to draw")

    storage, search = open_storage(None, study_dir), make_search(suggest=refuse)
    with (
        StoredStudy(TrialStore(storage, None, search), search) as study,
        pytest.raises(ValueError, match="nothing left"),
    ):
        study.claim()
    (trial,) = optuna.load_study(study_name="study", storage=storage).trials
    assert (trial.state, trial.user_attrs["failure.reason"]) == (
        TrialState.FAIL,
        "no point drawn: nothing left to draw",
    )

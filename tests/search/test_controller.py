"""The loop over a study's trials, with an executor that a test controls."""

from __future__ import annotations

import errno
import signal
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from sentiment.search.budget import UNLIMITED
from sentiment.search.controller import Controller, PlanError, StudyFailedError
from sentiment.search.progress import Observer
from sentiment.search.space.points import TARGET_KEY
from sentiment.search.storage.opening import open_storage
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome, failed, find_pruned_reason
from sentiment.search.study.population import PopulationPruner
from sentiment.search.study.stored.store import TrialStore
from sentiment.search.study.stored.study import StoredStudy
from sentiment.search.study.trial import OVER, OWNER_KEY, STOP_KEY
from sentiment.search.workers.job import Finished, Job


class Slots:
    """An executor of two slots, in which jobs end in the order that a test says."""

    blocking = False

    def __init__(self, ends, capacity=2):
        self.capacity = capacity
        self.running = []
        self.events = []
        self._ends = ends

    def submit(self, job):
        assert len(self.running) < self.capacity
        self.running.append(job)
        self.events.append(f"start {job.number}")

    def wait(self, timeout_seconds):
        position, outcome = self._ends(self.running)
        job = self.running.pop(position)
        self.events.append(f"end {job.number}")
        return [Finished(job, outcome)]

    def name_slot(self, job):
        return "here"

    def end(self, job):
        self.events.append(f"end {job.number}, please")

    def stop(self):
        stopped, self.running = self.running, []
        return stopped


class Planner:
    """Plans jobs without composing anything; knows the outcomes of some."""

    def __init__(self, repeats, known=None, misfits=()):
        self.repeats = repeats
        self.known = known or {}
        self.misfits = misfits

    def plan(self, claimed, repeat):
        if claimed.number in self.misfits:
            raise PlanError("cannot be composed")
        address = SimpleNamespace(number=claimed.number, repeat=repeat)
        return Job(claimed.number * self.repeats + repeat, (), OmegaConf.create(), address)

    def keep(self, job, trial, outcome):
        pass

    def find_equal(self, job, trials):
        return self.known.get(job.address.number)


class Recording(Observer):
    """An observer that writes into the executor's list of events."""

    def __init__(self, events):
        self.events = events

    def trial_ended(self, trial, state):
        self.events.append(f"told {trial.number} {trial.state.name.lower()}")

    def trial_paused(self, trial, state):
        self.events.append(f"told {trial.number} paused, {state.count()['paused']} are")

    def study_ended(self, state):
        self.events.append("told end")


@pytest.fixture
def run_study(study_dir, make_search):
    storage = open_storage(None, study_dir)

    def run(
        executor, total=4, repeats=1, known=None, failures_allowed=0, misfits=(), retry="none", pruner=None, **options
    ):
        rate = failures_allowed / total
        search = make_search(n_trials=total, repeats=repeats, max_failure_rate=rate, retry=retry, **options)
        search.pruner = pruner or search.pruner
        with StoredStudy(TrialStore(storage, None, search), search) as study:
            try:
                Controller(study, executor, Planner(repeats, known, misfits), [Recording(executor.events)]).run()
            finally:
                executor.trials = study.trials()
        return executor

    return run


def succeed(running):
    return 0, Outcome("complete", (1.0,))


def list_states(executor):
    return [trial.state.name.lower() for trial in executor.trials]


def test_a_slot_takes_the_next_trial_at_once_and_before_anybody_is_told(run_study):
    def slow_first(running):
        """The first trial outlasts all others: with batches they would wait for it."""
        return len(running) - 1, Outcome("complete", (1.0,))

    executor = run_study(Slots(slow_first))
    assert executor.events == [
        *("start 0", "start 1", "end 1", "start 2", "told 1 complete"),
        *("end 2", "start 3", "told 2 complete", "end 3", "told 3 complete"),
        *("end 0", "told 0 complete", "told end"),
    ]


def test_a_pruned_trial_frees_its_slot_like_any_other(run_study):
    def prune_second(running):
        is_second = running[-1].number == 1
        return len(running) - 1, Outcome("pruned") if is_second else Outcome("complete", (1.0,))

    executor = run_study(Slots(prune_second), total=3)
    assert executor.events[:5] == ["start 0", "start 1", "end 1", "start 2", "told 1 pruned"]
    assert list_states(executor) == ["complete", "pruned", "complete"]


def test_repeats_of_a_trial_go_before_new_trials(run_study):
    executor = run_study(Slots(succeed, capacity=1), total=2, repeats=2)
    assert [event for event in executor.events if "start" in event] == ["start 0", "start 1", "start 2", "start 3"]
    assert [event for event in executor.events if "told" in event] == ["told 0 complete", "told 1 complete", "told end"]


def test_known_outcomes_take_no_slot(run_study):
    known = {1: Outcome("complete", (1.0,), reused_from=0)}
    executor = run_study(Slots(succeed), total=3, known=known)
    assert [event for event in executor.events if "start" in event] == ["start 0", "start 2"]
    assert [trial.value for trial in executor.trials] == [1.0] * 3


class Known:
    """Outcomes that all trials but the first have; a test looks on when one is asked for."""

    def __init__(self, look=lambda number: None):
        self.look = look

    def get(self, number):
        self.look(number)
        return Outcome("complete", (1.0,), reused_from=0) if number else None


def test_known_outcomes_keep_no_other_slot_waiting(run_study):
    executor = run_study(Slots(succeed), total=50, known=Known())
    assert executor.events.index("end 0") < executor.events.index("told 3 complete")
    assert list_states(executor) == ["complete"] * 50


@pytest.mark.timeout(60)
def test_a_study_of_known_outcomes_ends_at_the_first_interruption(run_study):
    executor = Slots(succeed)
    with pytest.raises(KeyboardInterrupt):
        run_study(executor, total=1000, known=Known(lambda number: number == 3 and signal.raise_signal(signal.SIGINT)))
    assert list_states(executor) == ["complete"] * 4


@pytest.mark.timeout(60)
def test_a_budget_ends_where_no_job_can_be_made_of_what_is_drawn(run_study, monkeypatch):
    monkeypatch.setattr("sentiment.search.study.agenda.MOST_FREE", 25)
    executor, most = Slots(succeed), UNLIMITED
    with pytest.raises(StudyFailedError, match=r"No trial .* finished: 25 failed"):
        run_study(executor, total=most, failures_allowed=most, misfits=range(most), full_trials=5)
    assert executor.events.count("told end") == 1


def test_one_failure_too_many_starts_nothing_more_but_is_told(run_study):
    executor = Slots(lambda running: (0, Outcome("failed", kind="exception", reason="bad luck")))
    with pytest.raises(StudyFailedError, match=r"1 trial .* 0 may:\n  trial 0: bad luck"):
        run_study(executor)
    assert executor.events == ["start 0", "start 1", "end 0", "told 0 fail", "told end"]
    assert list_states(executor) == ["fail", "waiting"]  # what was in flight is given back


def test_failures_within_the_allowance_do_not_stop_a_study(run_study):
    def fail_even(running):
        failed = Outcome("failed", reason="even")
        return 0, failed if running[0].number % 2 == 0 else Outcome("complete", (1.0,))

    assert list_states(run_study(Slots(fail_even), failures_allowed=2)) == ["fail", "complete"] * 2


def test_a_trial_that_cannot_be_composed_fails_and_is_not_met_again(run_study):
    executor = Slots(succeed)
    run_study(executor, misfits=[1], failures_allowed=1)
    assert list_states(executor) == ["complete", "fail", "complete", "complete"]
    assert executor.trials[1].user_attrs["failure.reason"] == "PlanError: cannot be composed"
    assert "start 1" not in executor.events


def test_too_many_trials_that_cannot_be_composed_end_the_study(run_study):
    with pytest.raises(StudyFailedError, match="cannot be composed"):
        run_study(Slots(succeed), misfits=range(4))


def test_a_study_without_a_complete_trial_is_a_failure(run_study):
    executor = Slots(lambda running: (0, Outcome("pruned")))
    with pytest.raises(StudyFailedError, match="0 failed, 4 were pruned"):
        run_study(executor)


def test_a_long_list_of_failures_is_cut(run_study):
    executor = Slots(lambda running: (0, Outcome("failed", reason="bad luck")))
    with pytest.raises(StudyFailedError, match=r"trial 4: bad luck\n  \.\.\. and 3 more"):
        run_study(executor, total=8, failures_allowed=8)


def test_an_interruption_gives_back_what_was_in_flight_and_the_next_command_runs_it(run_study):
    def interrupt(running):
        raise KeyboardInterrupt

    stopped = Slots(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_study(stopped)
    assert list_states(stopped) == ["waiting", "waiting"]
    points = [trial.params for trial in stopped.trials]
    executor = run_study(Slots(succeed))
    assert [trial.params for trial in executor.trials][:2] == points
    assert list_states(executor) == ["complete"] * 4


def test_a_job_that_hangs_is_ended_and_its_trial_fails_with_the_reason(run_study, monkeypatch):
    """Its worker is asked to end once, however long that takes; the others go on."""
    now = [0.0]
    monkeypatch.setattr("sentiment.search.controller.time.monotonic", lambda: now[0])

    class Hanging(Slots):
        def wait(self, timeout_seconds):
            now[0] += 60
            hung = [job for job in self.running if job.number == 0]
            if hung and self.events.count("end 0, please") == 1 and now[0] >= 300:
                self._ends = lambda running: (running.index(hung[0]), Outcome("failed", kind="worker_died"))
                return super().wait(timeout_seconds)
            others = [job for job in self.running if job.number != 0]
            self._ends = lambda running: (running.index(others[0]), Outcome("complete", (1.0,)))
            return super().wait(timeout_seconds) if others else []

    executor = run_study(Hanging(succeed), failures_allowed=1, progress_timeout="130s")
    assert executor.events.count("end 0, please") == 1
    failed = executor.trials[0].user_attrs
    assert failed["failure.kind"] == "timed_out"
    assert failed["failure.reason"] == "it did not get on for progress_timeout=2 min 10 s"
    assert list_states(executor) == ["fail", "complete", "complete", "complete"]


def test_a_trial_that_was_paused_is_ended_by_the_time_of_all_its_parts(run_study, study_dir, monkeypatch):
    def interrupt(running):
        raise KeyboardInterrupt

    stopped = Slots(interrupt, capacity=1)
    with pytest.raises(KeyboardInterrupt):
        run_study(stopped, total=1)
    storage, trial_id = open_storage(None, study_dir), stopped.trials[0]._trial_id
    paused = Outcome("paused", steps=1, seconds=100.0)
    storage.set_trial_system_attr(trial_id, OUTCOME_KEY.format(repeat=0), paused.to_json())
    storage.set_trial_system_attr(trial_id, TARGET_KEY, 2)
    now = [0.0]
    monkeypatch.setattr("sentiment.search.controller.time.monotonic", lambda: now[0])

    class Slow(Slots):
        def wait(self, timeout_seconds):
            now[0] += 60
            return super().wait(timeout_seconds) if "end 0, please" in self.events else []

    executor = Slow(lambda running: (0, Outcome("failed", kind="worker_died")), capacity=1)
    with pytest.raises(StudyFailedError, match="it took longer than trial_timeout=2 min 10 s"):
        run_study(executor, total=1, trial_timeout="130s")
    assert now[0] == 180, "ended at 120, when it had run for 100 and 60 seconds, and gone by then"


def test_a_pause_is_told_before_the_trial_goes_on(run_study, study_dir):
    storage = open_storage(None, study_dir)

    def report(running):
        (study,) = storage.get_all_studies()
        (trial,) = storage.get_all_trials(study._study_id)
        steps = len(trial.intermediate_values) + 1
        storage.set_trial_intermediate_value(trial._trial_id, steps - 1, 0.5)
        return 0, Outcome("complete", (0.5,)) if steps == 2 else Outcome("paused", steps=steps)

    executor = run_study(Slots(report), total=1, pruner=PopulationPruner())
    parts = ["start 0", "end 0", "told 0 paused, 1 are", "start 0", "end 0", "told 0 complete", "told end"]
    assert executor.events == parts


def test_a_trial_that_could_not_be_stored_waits_and_the_same_command_finishes_it(run_study):
    def fill_disk(running):
        return 0, failed(OSError(errno.ENOSPC, "No space left on device", "/data/result.json"))

    executor = Slots(fill_disk)
    with pytest.raises(StudyFailedError, match=r"Trial 0 waits to be stored: The disk is full: /data/result.json "):
        run_study(executor)
    assert list_states(executor) == ["waiting", "waiting"]
    assert list_states(run_study(Slots(succeed))) == ["complete"] * 4


def test_a_study_that_is_finished_runs_nothing(run_study):
    run_study(Slots(succeed))
    assert run_study(Slots(succeed)).events == ["told end"]


def test_a_new_slot_is_filled_by_more_trials_in_a_later_command(run_study):
    run_study(Slots(succeed))
    executor = run_study(Slots(succeed), total=6)
    assert [event for event in executor.events if "start" in event] == ["start 4", "start 5"]


def test_jobs_that_run_when_the_budget_of_time_is_over_are_asked_to_end_and_later_go_on(run_study, monkeypatch):
    ends = iter([(0, Outcome("complete", (1.0,))), KeyboardInterrupt])

    def end(running):
        found = next(ends)
        if found is KeyboardInterrupt:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(StoredStudy, "seconds_left", lambda study: -1.0)
    executor = Slots(end)
    with pytest.raises(KeyboardInterrupt):
        run_study(executor, total=2)
    assert list_states(executor) == ["complete", "waiting"]
    assert [trial.system_attrs.get(STOP_KEY) for trial in executor.trials] == [None, OVER]
    monkeypatch.setattr(StoredStudy, "seconds_left", lambda study: None)
    again = run_study(Slots(succeed), total=2)
    assert list_states(again) == ["complete", "complete"]
    assert [trial.system_attrs.get(STOP_KEY) for trial in again.trials] == [None, False]


def test_a_job_that_ended_just_before_it_was_stopped_over_time_keeps_its_result(run_study, monkeypatch):
    def read_outcomes_of(trial):
        return {0: Outcome("complete", (1.0,))} if trial.number == 0 else {}

    monkeypatch.setattr(StoredStudy, "is_overdue", True)
    monkeypatch.setattr("sentiment.search.controller.read_outcomes_of", read_outcomes_of)
    executor = Slots(succeed)
    monkeypatch.setattr(executor, "wait", lambda timeout_seconds: [])
    assert list_states(run_study(executor, total=2)) == ["complete", "pruned"]
    assert find_pruned_reason(executor.trials[1]) == "the study's budget of time was over, and the trial did not report"


def test_jobs_that_only_their_launcher_could_end_are_let_go_once(run_study, monkeypatch):
    class Launched(Slots):
        def stop(self):
            self.events.append(f"let go of {len(self.running)}")
            return []

        def wait(self, timeout_seconds):
            return super().wait(timeout_seconds) if self.events.count("let go of 2") and self._polls() > 3 else []

        def _polls(self):
            self.polls = getattr(self, "polls", 0) + 1
            return self.polls

    monkeypatch.setattr(StoredStudy, "is_overdue", True)
    executor = Launched(lambda running: (0, Outcome("pruned") if len(running) == 1 else Outcome("complete", (1.0,))))
    run_study(executor, total=2)
    assert [event for event in executor.events if event.startswith("let go")] == ["let go of 2", "let go of 0"]


def test_a_trial_that_runs_on_for_a_larger_budget_is_no_failure_of_this_command(
    run_study, study_dir, make_search, monkeypatch
):
    monkeypatch.setattr(StoredStudy, "is_overdue", True)
    search = make_search(n_trials=1)
    with StoredStudy(TrialStore(open_storage(None, study_dir), None, search), search) as other:
        other.claim()
        assert list_states(run_study(Slots(succeed), total=1)) == ["running"]


def test_a_share_of_trials_that_may_fail_is_rounded_as_people_do(run_study):
    def fail(running):
        return 0, Outcome("failed", reason="bad luck") if running[0].number < 29 else Outcome("complete", (1.0,))

    executor = run_study(Slots(fail), total=100, failures_allowed=29)
    assert list_states(executor).count("fail") == 29


def test_a_trial_that_another_command_has_taken_over_is_no_failure_of_this_one(run_study, study_dir):
    storage, owners = open_storage(None, study_dir), ["another command, which is dead by now"]

    def lose_first(running):
        if not owners:
            return 0, Outcome("complete", (1.0,))
        storage.set_trial_system_attr(0, OWNER_KEY, owners.pop())
        return 0, Outcome("failed", reason="Trial 0 was taken over by another command.")

    executor = run_study(Slots(lose_first, capacity=1), total=2)
    assert list_states(executor) == ["complete", "complete"]
    assert executor.events[:4] == ["start 0", "end 0", "start 0", "end 0"]


def end_elsewhere(storage):
    """End trial 0 as another command does that took it over while this one's machine was asleep."""
    storage.set_trial_system_attr(0, OWNER_KEY, "another command")
    storage.set_trial_state_values(0, TrialState.COMPLETE, [0.5])


@pytest.mark.parametrize("outcome", [Outcome("complete", (1.0,)), Outcome("failed", kind="not_stored", reason="ended")])
def test_a_trial_that_another_command_has_ended_gets_no_further_repeat(run_study, study_dir, outcome):
    def lose(running):
        end_elsewhere(open_storage(None, study_dir))
        return 0, outcome

    executor = run_study(Slots(lose, capacity=1), total=1, repeats=2)
    assert executor.trials[0].value == 0.5
    assert executor.events == ["start 0", "end 0", "told end"]


def test_a_trial_that_another_command_has_ended_is_not_asked_to_end(run_study, study_dir, monkeypatch):
    def sleep(timeout_seconds):
        end_elsewhere(open_storage(None, study_dir))
        monkeypatch.setattr(StoredStudy, "seconds_left", lambda study: -1.0)
        monkeypatch.delattr(executor, "wait")  # it is that of the class again
        return []

    executor = Slots(succeed, capacity=1)
    monkeypatch.setattr(executor, "wait", sleep)
    run_study(executor, total=1)
    assert executor.trials[0].value == 0.5
    assert STOP_KEY not in executor.trials[0].system_attrs

"""What a study does next: which trial goes on, is tried again, is promoted or begins, and whether anything is left.

Decisions only, from the trials as they stand: claims are made by `sentiment.search.study.stored.claims`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from sentiment.search.budget import UNLIMITED, Spending
from sentiment.search.space.grid import list_values
from sentiment.search.space.points import REPLACES_KEY, Changes, PointReader, TakenPoints, make_key
from sentiment.search.study.definition import Searched
from sentiment.search.study.limits import choose_best
from sentiment.search.study.outcome import name_state, read_repeats
from sentiment.search.study.population import find_copied, find_origin
from sentiment.search.study.rungs import Scheduler, Swap, count_steps
from sentiment.search.study.spending import count_committed, count_jobs
from sentiment.search.study.trial import ATTEMPT_KEY

MOST_FREE = 500
"""Trials in a row that ran no job, after which a command begins no more where its budget alone would end the study."""

MOST_LISTED = 1_000
"""Points of a space that are listed, to see whether all have a result; constraints may take some milliseconds each."""


@dataclass(frozen=True)
class Step:
    """What a worker does next."""

    # ``resume``: a trial that was interrupted, or waits to be tried first; ``promote``: one that was paused; ``retry``:
    # one that failed before; ``begin``: a new one; ``swap``: a copy of one in the place of another.
    kind: Literal["resume", "promote", "retry", "begin", "swap"]
    trial: FrozenTrial | None = None  # the trial; None for a new one
    swap: Swap | None = None  # which trial is copied in the place of which


class Ledger:
    """How the trials of a study stand, counted on from what changed: a large study is as quickly looked at as a small.

    Args:
        directions: ``minimize`` or ``maximize``, for every objective.
        reader: Tells which trials are points of the space as it is now; None: nobody asks.

    Attributes:
        counts: Standing trials by state, as `name_state` names it.
        copies: Standing trials that took the place of others.
        best: The best trial, or the Pareto front; see `choose_best`.
        last_run: Number of the last trial that ran a job; -1: none has.
    """

    def __init__(self, directions: Sequence[str], reader: PointReader | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.copies = 0
        self.best: list[FrozenTrial] = []
        self.last_run = -1
        self._directions = directions
        self._reader = reader
        self._outside: set[int] = set()
        self._changes = Changes()
        self._trials: Sequence[FrozenTrial] = ()
        self._states: dict[int, str] = {}
        self._open: dict[str, dict[int, FrozenTrial]] = {}  # by state; those that are complete or pruned are many
        self._replaced: set[int] = set()

    def follow(self, trials: Sequence[FrozenTrial]) -> Ledger:
        """Take all trials as they are now."""
        self._trials = trials
        complete = []
        for trial in self._changes.take(trials):
            earlier = trial.user_attrs.get(REPLACES_KEY)
            if earlier is not None:
                self._replaced.add(earlier)
                self._remove(trials[earlier])
            self._remove(trial)
            if trial.number > self.last_run and read_repeats(trial, ATTEMPT_KEY):
                self.last_run = trial.number
            state = name_state(trial)
            if state == "complete":
                complete.append(trial)
            if self._is_outside(trial, state):
                self._outside.add(trial.number)
            if trial.number not in self._replaced:
                self._states[trial.number] = state
                self.counts[state] += 1
                self.copies += find_origin(trial) is not None
                if state not in ("complete", "pruned"):
                    self._open.setdefault(state, {})[trial.number] = trial
        if complete:  # one that has ended never changes, and who is beaten once stays beaten
            self.best = choose_best(sorted([*self.best, *complete], key=lambda one: one.number), self._directions)
        return self

    def _is_outside(self, trial: FrozenTrial, state: str) -> bool:
        """Return whether the space has changed, and a trial that has ended or waits at a rung is none of it."""
        if self._reader is None or state not in ("complete", "pruned", "paused"):
            return False
        return self._reader.is_left_behind(trial) if state == "paused" else self._reader.read(trial) is None

    def _remove(self, trial: FrozenTrial) -> None:
        state = self._states.pop(trial.number, None)
        if state is not None:
            self.counts[state] -= 1
            self.copies -= find_origin(trial) is not None
            self._open.get(state, {}).pop(trial.number, None)
            self.counts += Counter()  # without those that are at 0

    @property
    def standing(self) -> Sequence[FrozenTrial]:
        """The trials whose point no later trial has tried again."""
        if not self._replaced:
            return self._trials
        return [trial for trial in self._trials if trial.number not in self._replaced]

    @property
    def compared(self) -> Sequence[FrozenTrial]:
        """The standing trials that are ranked together: history of another space would keep its places for ever."""
        if not self._outside:
            return self.standing
        return [trial for trial in self.standing if trial.number not in self._outside]

    def list_left_behind(self) -> list[FrozenTrial]:
        """List the paused trials of an earlier space, which cannot go on; not those that a copy is to begin from."""
        left = [trial for trial in self.list_open("paused") if trial.number in self._outside]
        copied = find_copied(self._trials) if left else ()
        return [trial for trial in left if trial.number not in copied]

    @property
    def replaced(self) -> list[FrozenTrial]:
        """The trials whose point a later trial has tried again."""
        return [self._trials[number] for number in sorted(self._replaced)]

    def __len__(self) -> int:
        return len(self._states)

    def list_open(self, state: str) -> list[FrozenTrial]:
        """List the standing trials of a state other than complete and pruned, by number."""
        return [trial for _, trial in sorted(self._open.get(state, {}).items())]

    def list_first(self) -> list[FrozenTrial]:
        """List the standing trials that wait and never began: their points are to be tried first."""
        return [trial for trial in self.list_open("waiting") if trial.datetime_start is None]


class Agenda:
    """Decides what comes next in a study.

    Args:
        search: What is searched.
        failed_before: Numbers of the trials that had failed when this command began.
        measure: Measures what trials have cost.
        is_redefined: Tells whether a command that joined the study later has changed its space.
    """

    def __init__(
        self,
        search: Searched,
        failed_before: Collection[int],
        measure: Callable[[Sequence[FrozenTrial]], Spending],
        is_redefined: Callable[[], bool] = lambda: False,
    ) -> None:
        self._search = search
        self._budget = search.options.limit
        self._failed_before = failed_before
        self._measure = measure
        self._is_redefined = is_redefined
        self._repeats = search.repeats.count
        self._scheduler = search.pruner if isinstance(search.pruner, Scheduler) else None
        self._ledger = Ledger(search.options.direction, search.reader if self._scheduler is not None else None)
        self._taken = None if search.grid is None else TakenPoints(search.reader, search.grid)
        self._began: int | None = None  # trials that were there when this command began

    def follow(self, trials: Sequence[FrozenTrial]) -> Ledger:
        """Return how the trials stand."""
        if self._began is None:
            self._began = len(trials)
        return self._ledger.follow(trials)

    def choose(self, trials: Sequence[FrozenTrial]) -> Step | None:
        """Choose the next step; None where there is none now: all is done, or in the hands of others."""
        ledger = self.follow(trials)
        waiting = self._find_waiting(ledger, trials)
        if waiting is not None:
            return Step("resume", waiting)
        promoted = self._find_promoted(ledger, trials, is_closing=False)
        if promoted is not None:
            return Step("promote", promoted)
        failed = self._list_failed_before(ledger) if self._may_begin(trials) else []
        if failed:
            return Step("retry", failed[0])
        if self.count_free(trials) > 0:
            return Step("begin")
        swap = self._find_swap(ledger, trials)
        if swap is not None:
            return Step("swap", swap=swap)
        promoted = self._find_promoted(ledger, trials, is_closing=True)
        return None if promoted is None else Step("promote", promoted)

    def is_done(self, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether nothing runs and nothing is left to run."""
        return not self.follow(trials).list_open("running") and self.choose(trials) is None

    def is_served(self, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether nothing is left to run, and nothing runs that this command's number of trials counts.

        Another command may go on to more trials: its own.
        """
        return not self._has_awaited(trials) and self.choose(trials) is None

    def _has_awaited(self, trials: Sequence[FrozenTrial]) -> bool:
        ledger, grid, place = self.follow(trials), self._search.grid, 0
        if not ledger.list_open("running"):
            return False
        for trial in ledger.standing:
            is_counted = find_origin(trial) is None  # a copy takes another's place
            if grid is not None:
                point = self._search.reader.read(trial)
                is_counted = not trial.params if point is None else make_key(point) in grid
            place += is_counted
            if place > self._search.total:
                return False
            if trial.state == TrialState.RUNNING and (is_counted or grid is None):
                return True
        return False

    def count_open(self, trials: Sequence[FrozenTrial]) -> int:
        """Count the trials that the study is still to begin, whatever they cost."""
        ledger = self.follow(trials)
        if self._taken is None or self._search.grid is None:
            room = self._search.total - (len(ledger) - ledger.copies)  # a copy takes another's place
            return 0 if self.explain_end(trials) else max(0, room)
        return max(0, min(self._search.total, len(self._search.grid)) - len(self._taken.follow(trials)))

    def explain_end(self, trials: Sequence[FrozenTrial]) -> str:
        """Return why no more trials begin in a study that its budget alone ends; empty: nothing but the budget ends it.

        Trials that run no job cost nothing, so that no budget would ever end them. As long as the last one did run a
        job, though each point has a result (seeds may differ from job to job), the budget counts. One of an earlier
        command tells nothing: settings or code may have changed since, so that no trial is equal to an earlier one.
        """
        first = max(self.follow(trials).last_run + 1, self._began or 0)
        free = sum(trial.state.is_finished() for trial in trials[first:])
        if self._search.total != UNLIMITED or not free:
            return ""
        points = self._points
        if self._search.options.reuse != "none" and points is not None and points.follow(trials).are_all:
            return f"All points of the space ({len(points)}) have a complete trial, and equal ones cost nothing"
        if free >= MOST_FREE:
            problem = "they were equal to earlier ones, or no job could be made of them"
            return f"None of the last {MOST_FREE} trials ran a job, as {problem}; another sampler may draw others"
        return ""

    @cached_property
    def _points(self) -> TakenPoints | None:
        """The points of the space that have a complete trial; None: they are too many, or a part of what is drawn."""
        reader = self._search.reader
        count = reader.space.count_points()
        if count is None or count > MOST_LISTED or self._search.options.custom_search_space is not None:
            return None
        valid = filter(reader.is_valid, reader.space.list_points(list_values))
        return TakenPoints(reader, frozenset(map(make_key, valid)), only_complete=True)

    def count_free(self, trials: Sequence[FrozenTrial]) -> int:
        """Count the trials that the study is still to begin, within its budget."""
        free = self.count_open(trials)
        if not free or not self._budget:
            return free
        first = len(self.follow(trials).list_first())
        return min(free, max(0, self._budget.count_starts(self._measure(trials), self._repeats) - first))

    def count_total(self, trials: Sequence[FrozenTrial]) -> int | None:
        """Return the trials of the study in the end, those of an earlier space included; None: its budget decides."""
        free, ledger = self.count_free(trials), self.follow(trials)
        beyond = len(ledger.list_first()) - self.count_first(trials)
        return None if free > UNLIMITED // 2 else len(ledger) - beyond + free

    def count_first(self, trials: Sequence[FrozenTrial]) -> int:
        """Count the points to be tried first that the number of trials has room for, whatever they cost."""
        ledger = self.follow(trials)
        first = len(ledger.list_first())
        return min(first, max(0, self._search.total - (len(ledger) - ledger.copies - first)))

    def list_failed(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """List the trials without a result that the study is to have one of, and that may be tried again."""
        return [trial for trial in self.follow(trials).list_open("failed") if self._may_run_again(trial)]

    def _may_run_again(self, trial: FrozenTrial) -> bool:
        """Return whether a trial, which failed, did so at a point of the space as it is now."""
        if self._search.options.retry == "none":
            return False
        return self._search.reader.read(trial) is not None or (self._search.grid is None and not trial.params)

    def _list_failed_before(self, ledger: Ledger) -> list[FrozenTrial]:
        """List what failed before this command began: one that fails again waits for the next command."""
        if not self._failed_before:
            return []
        failed = ledger.list_open("failed")
        return [trial for trial in failed if trial.number in self._failed_before and self._may_run_again(trial)]

    def _may_begin(self, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether the budget has room for one more trial."""
        return not self._budget or self._budget.count_starts(self._measure(trials), self._repeats) > 0

    def _find_waiting(self, ledger: Ledger, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
        """Find a trial that was interrupted, or else one that is to be tried first, within number and budget."""
        waiting = self.leave_to_others(ledger.list_open("waiting"))
        for trial in waiting:
            if trial.datetime_start is not None and self._may_resume(trial, trials):
                return trial
        first = [trial for trial in waiting if trial.datetime_start is None]
        return first[0] if first and self.count_first(trials) and self._may_begin(trials) else None

    def leave_to_others(self, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Return trials that have not ended without those that belong to the changed space of a later command.

        They are points of what the study searches now, though of nothing that this command knows.
        """
        if not trials or not self._is_redefined():
            return trials
        return [trial for trial in trials if not self._search.reader.is_left_behind(trial)]

    def _may_resume(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
        """Return whether there is time for the rest of an interrupted trial, up to its pause; its work is counted."""
        if self._budget.seconds is None:
            return True
        spent = self._measure(trials)
        done = count_jobs(trial, spent.steps_per_job)
        rest = count_committed(trial, done, self._repeats, spent.steps_per_job) - done
        return self._budget.has_time(spent, max(0.0, rest))

    def _find_promoted(self, ledger: Ledger, trials: Sequence[FrozenTrial], *, is_closing: bool) -> FrozenTrial | None:
        """Find the paused trial that is to go on, within the budget; at first one that cannot, and ends for that."""
        if self._scheduler is None:  # the pruner of an earlier command has paused them
            paused = self.leave_to_others(ledger.list_open("paused"))
            return paused[0] if paused and self._may_begin(trials) else None
        if left_behind := self.leave_to_others(ledger.list_left_behind()):
            return left_behind[0]
        maximize = self._search.repeats.maximize
        promotable = self._scheduler.list_promotable(ledger.compared, maximize=maximize, is_closing=is_closing)
        if not self._budget:
            return next(iter(promotable), None)
        spent = self._measure(trials)  # once, for all candidates
        return next((trial for trial in promotable if self._fits(trial, spent)), None)

    def _find_swap(self, ledger: Ledger, trials: Sequence[FrozenTrial]) -> Swap | None:
        """Find the trial that gives its place to a copy of a better one, within the budget."""
        if self._scheduler is None:
            return None
        swap = self._scheduler.find_swap(ledger.compared, maximize=self._search.repeats.maximize)
        if swap is not None and self._search.reader.read(swap.origin) is None:  # what it had of a key is not known
            inside = [trial for trial in ledger.compared if self._search.reader.read(trial) is not None]
            swap = self._scheduler.find_swap(inside, maximize=self._search.repeats.maximize)
        return swap if swap is not None and self._fits(swap.origin, self._measure(trials)) else None

    def _fits(self, trial: FrozenTrial, spent: Spending) -> bool:
        """Return whether the budget lets a paused trial come to its next rung, and one trial to its end."""
        if not self._budget or self._scheduler is None:
            return True
        steps = count_steps(trial)
        whole, target = spent.steps_per_job or steps, self._scheduler.find_target(steps)
        goal = target / whole if target < whole else self._repeats  # who comes to the end is repeated
        kept = 0.0 if spent.is_any_promoted else self._repeats - max(spent.furthest_jobs, goal)
        return self._budget.fits(spent, goal - min(1.0, steps / whole) + kept)

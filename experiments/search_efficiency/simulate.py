"""Simulated studies: the engine's own controller, sampler and pruner; only the training is looked up, under a clock.

A study is simulated by `simulate`: workers take trials from the engine's `Controller`, the clock jumps from one
validation to the next, and every job ends as its recorded curve says. A study sees the accuracy on 300 of the recorded
validation reviews, drawn anew per seed; what it has found is judged on all the others, which it never saw.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import optuna
from curves import Curves, Landscape
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from sentiment.errors import RunPaused, RunPruned
from sentiment.search.budget import UNLIMITED
from sentiment.search.controller import Controller
from sentiment.search.options import StudyOptions, read_options
from sentiment.search.plugin.registration import read_sweeper_defaults
from sentiment.search.space.parameters import Space
from sentiment.search.space.points import PointReader
from sentiment.search.space.reading import read_space
from sentiment.search.space.sampling import FreshSampler
from sentiment.search.study.outcome import Outcome, RepeatPlan, complete
from sentiment.search.study.stored.claims import ClaimedTrial
from sentiment.search.study.stored.store import START_KEY, TrialStore
from sentiment.search.study.stored.study import StoredStudy
from sentiment.search.study.trial import StoredTrial, TrialAddress
from sentiment.search.workers.job import Finished, Job

OBSERVED_REVIEWS = 300
"""Reviews that a study validates on: one standard error is 2.3 points at an accuracy of 80 %."""

START_SECONDS = 1.0
"""What it takes a running worker to begin or to take up a job: composing, batches, the network, a checkpoint."""

OTHER_DRAWS = 1_000_000
"""Added to the seed of a control's sampler."""

CHANCE = 0.5
"""Value of a study that has found nothing yet."""


TPE = {
    "_target_": "optuna.samplers.TPESampler", "multivariate": True, "group": True, "constant_liar": True,
    "n_startup_trials": 10, "seed": 0,
}  # fmt: skip
"""``hydra/sweeper/sampler=multivariate_tpe``, the engine's default."""


@dataclass(frozen=True)
class Policy:
    """A way to search."""

    name: str  # for tables and pictures
    pruner: BasePruner = field(default_factory=NopPruner)  # what ends trials early
    sampler: Mapping[str, Any] = field(default_factory=lambda: TPE)  # the ``hydra.sweeper.sampler`` node
    starts_at_defaults: bool = True  # whether the configuration's own values are the first trial
    has_yardstick: bool = False  # whether that trial runs to its end in a piece, as ``hydra.sweeper.start`` has it
    n_trials: int | None = None  # trials at most; None: as many as the time allows
    margin: float = 0.0  # standard errors by which a trial has to be behind before it is pruned
    # The stock sweeper: trials are drawn in batches of all workers, and a batch ends with its last trial.
    in_batches: bool = False
    draws_again: bool = False  # its sampler has other random numbers, on the same reviews: a control
    # Trials end at this validation, counted from 1, unless their end, which an oracle knows, is the best so far; None:
    # there is no oracle.
    oracle_from: int | None = None


@dataclass(frozen=True)
class Problem:
    """A search space with its recorded trainings, as one study sees them."""

    space: Space  # the space
    landscape: Landscape  # finds the nearest recorded training
    observed: npt.NDArray[np.float64]  # (N, V) accuracy that the study sees
    true: npt.NDArray[np.float64]  # (N, V) accuracy on the other reviews
    seconds: npt.NDArray[np.float64]  # (N, V) time from the start of a training to each validation
    default: int = 0

    @classmethod
    def draw(cls, curves: Curves, params: Mapping[str, str], seed: int) -> Problem:
        """Draw which reviews a study validates on."""
        space = read_space([], params, {}, None)
        reviews = curves.hits.shape[-1]
        chosen = np.zeros(reviews, bool)
        chosen[np.random.default_rng(seed).choice(reviews, OBSERVED_REVIEWS, replace=False)] = True
        validating = np.cumsum(curves.validation_seconds, axis=1) * OBSERVED_REVIEWS / reviews
        distributions = {parameter.name: parameter.distribution for parameter in space.parameters}
        return cls(
            space,
            make_landscape(curves, distributions),
            curves.hits[..., chosen].mean(axis=-1),
            curves.hits[..., ~chosen].mean(axis=-1),
            (curves.train_seconds + validating).astype(float),
        )

    def select(self, index: int) -> tuple[float, float]:
        """Return the observed and the true accuracy of the checkpoint that a whole training selects."""
        best = int(np.argmax(self.observed[index]))
        return float(self.observed[index, best]), float(self.true[index, best])


_landscapes: WeakKeyDictionary[Curves, Landscape] = WeakKeyDictionary()


def make_landscape(curves: Curves, distributions: Mapping[str, Any]) -> Landscape:
    """Make the landscape of a table once: it remembers what it has looked up."""
    if curves not in _landscapes:
        _landscapes[curves] = Landscape(curves, distributions)
    return _landscapes[curves]


Progress = list[tuple[float, float, float]]
"""What a study had found and when: seconds, the observed and the true accuracy of its best whole training. A line for
each time that it found something better: the last one is not the end of the study."""


class TimeOver(Exception):  # noqa: N818 - the simulated time, no error
    """The horizon is reached."""


@dataclass
class SimulatedSearch:
    """What the engine has to know of a search."""

    options: StudyOptions
    space: Space
    sampler: FreshSampler
    pruner: BasePruner
    study_dir: Path
    starts: Sequence[Any] = ()
    grid: None = None

    @property
    def total(self) -> int:
        return self.options.n_trials or UNLIMITED

    @property
    def repeats(self) -> RepeatPlan:
        return RepeatPlan(maximize=(True,))

    @functools.cached_property
    def reader(self) -> PointReader:
        return PointReader(self.space)

    def suggest(self, trial: optuna.Trial) -> Mapping[str, Any]:
        return self.space.suggest(trial)


class Oracle(BasePruner):
    """Knows how every training ends: the ceiling of what ending trials early can bring."""

    def __init__(self, problem: Problem, validation: int) -> None:
        self._problem, self._validation = problem, validation

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Prune what will not be the best, from a validation on."""
        if trial.last_step is None or trial.last_step + 1 < self._validation:
            return False
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = max((float(one.values[0]) for one in complete), default=0.0)
        return self._problem.select(self._problem.landscape.find(trial.params))[0] <= best


class UnlockedStore(TrialStore):
    """A study in the memory of one process, which nobody else claims trials of."""

    def lock(self, name: str | None = None) -> AbstractContextManager[None]:
        return nullcontext()


class Lookup:
    """Plans jobs; nothing is composed, and equal points train again."""

    def __init__(self, study: StoredStudy) -> None:
        self._study = study

    def plan(self, claimed: ClaimedTrial, repeat: int) -> Job:
        config: Any = dict(claimed.values)
        return Job(claimed.number, (), config, self._study.address_of(claimed, repeat))

    def find_equal(self, job: Job, trials: Sequence[FrozenTrial]) -> None:
        return None

    def keep(self, job: Job, trial: FrozenTrial, outcome: Outcome) -> None:
        return None


class SimulatedWorkers:
    """Runs jobs under a clock that jumps from one validation to the next."""

    blocking = False

    def __init__(self, capacity: int, problem: Problem, study: optuna.Study, horizon_seconds: float) -> None:
        self.capacity = capacity
        self.now = 0.0
        self.progress: Progress = []
        self._problem = problem
        self._study = study
        self._horizon = horizon_seconds
        self._events: list[tuple[float, int, Job, StoredTrial, int, int]] = []
        self._order = itertools.count()
        self._running: dict[int, Job] = {}

    @property
    def running(self) -> list[Job]:
        return list(self._running.values())

    def submit(self, job: Job) -> None:
        assert isinstance(job.address, TrialAddress)
        self._running[job.number] = job
        self._study.pruner = job.address.pruner
        trial = StoredTrial(self._study, job.address)
        index = self._problem.landscape.find(dict(job.config))
        frozen = self._study._storage.get_trial(job.address.trial_id)
        done = 0 if frozen.last_step is None else frozen.last_step + 1
        self._schedule(job, trial, index, done, START_SECONDS)

    def wait(self, timeout_seconds: float) -> list[Finished]:
        """Take the next validation; the jobs that end with it come back."""
        self.now, _, job, trial, index, step = heapq.heappop(self._events)
        if self.now > self._horizon:
            raise TimeOver
        validations = self._problem.observed.shape[1]
        try:
            trial.progress((step + 1) / validations)
            value = float(self._problem.observed[index, step])
            trial.report(value, step=step, error=math.sqrt(value * (1 - value) / OBSERVED_REVIEWS))
            if step + 1 < validations:
                trial.saved()
        except RunPruned as error:
            return [self._finish(job, Outcome("pruned", reason=str(error)), trial)]
        except RunPaused as error:
            return [self._finish(job, Outcome("paused", reason=str(error), steps=error.steps), trial)]
        if step + 1 < validations:
            self._schedule(job, trial, index, step + 1, 0.0)
            return []
        observed, true = self._problem.select(index)
        if not self.progress or observed > self.progress[-1][1]:
            self.progress.append((self.now, observed, true))
        return [self._finish(job, complete(observed, 1), trial)]

    def name_slot(self, job: Job) -> str:
        return "simulated"

    def end(self, job: Job) -> None:
        raise AssertionError("a simulated job has no timeout and is not asked to end")

    def stop(self) -> list[Job]:
        stopped = self.running
        self._running.clear()
        return stopped

    def _schedule(self, job: Job, trial: StoredTrial, index: int, step: int, delay: float) -> None:
        times = self._problem.seconds[index]
        seconds = times[step] - (times[step - 1] if step else 0.0)
        heapq.heappush(self._events, (self.now + delay + seconds, next(self._order), job, trial, index, step))

    def _finish(self, job: Job, outcome: Outcome, trial: StoredTrial) -> Finished:
        trial.write_outcome(outcome)
        del self._running[job.number]
        return Finished(job, outcome)


def simulate(
    policy: Policy, curves: Curves, params: Mapping[str, str], *, workers: int, seconds: float, seed: int
) -> tuple[Progress, float]:
    """Simulate one study; return what it had found and when, and at which second it ended."""
    problem = Problem.draw(curves, params, seed)
    if policy.in_batches:
        other = seed + OTHER_DRAWS if policy.draws_again else seed
        return _simulate_stock(policy, problem, workers=workers, seconds=seconds, seed=other)
    options = {**read_sweeper_defaults(), "sampler": {}, "pruner": None, "direction": "maximize"}
    options |= {"n_trials": policy.n_trials, "n_jobs": workers, "study_name": "simulated"}
    options["margin"] = policy.margin
    sampler = FreshSampler({**policy.sampler, "seed": seed}, problem.space)
    pruner = policy.pruner if policy.oracle_from is None else Oracle(problem, policy.oracle_from)
    search = SimulatedSearch(read_options(options), problem.space, sampler, pruner, Path("simulated"))
    store = UnlockedStore(InMemoryStorage(), None, search)
    study = StoredStudy(store, search)
    if policy.starts_at_defaults:
        noted = {START_KEY: "defaults"} if policy.has_yardstick else None
        store.study.enqueue_trial(curves.points[problem.default], user_attrs=noted)
    executor = SimulatedWorkers(workers, problem, store.study, seconds)
    with suppress(TimeOver):
        Controller(study, executor, Lookup(study), []).run()
    return executor.progress, min(executor.now, seconds)


def _simulate_stock(
    policy: Policy, problem: Problem, *, workers: int, seconds: float, seed: int
) -> tuple[Progress, float]:
    """Simulate the stock sweeper's algorithm: batches of univariate TPE, whole trainings."""
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, multivariate=False, constant_liar=False)
    )
    progress: Progress = []
    now, asked = 0.0, 0
    while now < seconds and (policy.n_trials is None or asked < policy.n_trials):
        size = workers if policy.n_trials is None else min(workers, policy.n_trials - asked)
        batch = [study.ask() for _ in range(size)]
        asked += size
        found = [problem.landscape.find(problem.space.suggest(trial)) for trial in batch]
        ends = [now + START_SECONDS + float(problem.seconds[index, -1]) for index in found]
        for end, index in sorted(zip(ends, found, strict=True)):
            observed, true = problem.select(index)
            if end <= seconds and (not progress or observed > progress[-1][1]):
                progress.append((end, observed, true))
        for trial, index in zip(batch, found, strict=True):
            study.tell(trial, problem.select(index)[0])
        now = max(ends)
    return progress, min(now, seconds)


def sample(progress: Progress, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the true accuracy of what a study had found by each time."""
    values = np.full(len(times), CHANCE)
    for moment, _, true in progress:
        values[times >= moment] = true
    return values

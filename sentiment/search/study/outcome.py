"""How one job of a trial ended, as plain data that travels between processes and into the storage."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from sentiment.errors import FailureKind, describe_failure
from sentiment.search.space.points import REPLACES_KEY, TARGET_KEY

State = Literal["complete", "pruned", "paused", "failed"]

OUTCOME_KEY = "study:outcome:{repeat}"
"""System attribute of a trial: how its job ended, written by the job itself, so that a result survives the process
that waits for it."""

DESCRIBED_KEY = "study:described:{repeat}"
"""System attribute of a trial: the numbers that the job of one repeat described beside its objectives."""

TRACEBACK_LENGTH = 20_000
"""Characters kept of a traceback, its end: a storage is no log file."""


@dataclass(frozen=True)
class Outcome:
    """The end of one job."""

    state: State  # complete, pruned, paused or failed
    values: tuple[float, ...] = ()  # the objectives, where complete
    kind: FailureKind | None = None  # kind of failure
    reason: str | None = None  # one line for people, where not complete
    traceback: str | None = None  # where failed
    # Number of the equal job of this study whose result this is; None where the job ran itself.
    reused_from: int | None = None
    adopted_from: str | None = None  # folder of the job of another study whose result this is; None otherwise
    steps: int = 0  # reports that it has made, where paused
    seconds: float = 0.0  # time that it ran, over all its attempts
    share: float = 1.0  # share of its epochs that it trained, where complete: below 1 where it stopped early

    @property
    def has_run(self) -> bool:
        """Whether the job itself came to this end: it is not the result of an equal one."""
        return self.reused_from is None and self.adopted_from is None

    def to_json(self) -> dict[str, Any]:
        """Return what a storage keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Outcome:
        """Read what a storage kept."""
        return cls(**{**content, "values": tuple(content["values"])})


def complete(returned: Any, objectives: int) -> Outcome:
    """Read what a task returned: a number, or as many as there are objectives.

    A number that is no number is a failure: Optuna could not learn from it.
    """
    try:
        values = tuple(float(value) for value in (returned if objectives > 1 else [returned]))
    except (TypeError, ValueError):
        expected = "float-castable" if objectives == 1 else "a list or tuple of float-castable values"
        return Outcome("failed", kind="exception", reason=f"Return value must be {expected}. Got '{returned}'.")
    if len(values) != objectives:
        reason = (
            "The number of the values and the number of the objectives are mismatched. "
            f"Expect {objectives}, but actually {len(values)}."
        )
        return Outcome("failed", kind="exception", reason=reason)
    if any(math.isnan(value) for value in values):
        return Outcome("failed", kind="non_finite_loss", reason=f"the objective is {list(values)}")
    return Outcome("complete", values)


def failed(error: BaseException) -> Outcome:
    """Classify what a job raised."""
    failure = describe_failure(error)
    return Outcome("failed", (), failure.kind, failure.reason, failure.traceback[-TRACEBACK_LENGTH:])


@dataclass(frozen=True)
class RepeatPlan:
    """Several seeds for every point, and how their values become one."""

    count: int = 1  # jobs of a trial, k
    # ``mean``, or ``bound``: the mean less one standard error where more is better, plus one where less is.
    value: str = "mean"
    maximize: tuple[bool, ...] = field(default=(False,))  # for every objective, whether more is better

    def combine(self, outcomes: Sequence[Outcome]) -> tuple[float, ...]:
        """Combine the values of all repeats, objective by objective."""
        columns = zip(*(outcome.values for outcome in outcomes), strict=True)
        return tuple(self._combine(column, up) for column, up in zip(columns, self.maximize, strict=True))

    def _combine(self, values: Sequence[float], maximize: bool) -> float:
        mean = statistics.fmean(values)
        if self.value == "mean" or len(values) < 2 or math.isinf(mean):
            return mean
        error = statistics.stdev(values, mean) / math.sqrt(len(values))
        return mean - error if maximize else mean + error


def finish(outcomes: Mapping[int, Outcome], repeats: RepeatPlan) -> Outcome | None:
    """Make one outcome of a trial's repeats: the first that did not complete decides; None while some are missing."""
    for outcome in outcomes.values():
        if outcome.state != "complete":
            return outcome
    if len(outcomes) < repeats.count:
        return None
    ordered = [outcomes[repeat] for repeat in sorted(outcomes)]
    adopted = [outcome.adopted_from for outcome in ordered if outcome.adopted_from is not None]
    origin = ", ".join(adopted) if len(adopted) == len(ordered) else None
    return Outcome("complete", repeats.combine(ordered), adopted_from=origin)


def read_repeats(trial: FrozenTrial, key: str) -> dict[int, Any]:
    """Return by repeat what a system attribute of a trial, of which each repeat has its own, is."""
    prefix = key.format(repeat="")
    names = [name for name in trial.system_attrs if name.startswith(prefix)]
    return {int(name.removeprefix(prefix)): trial.system_attrs[name] for name in names}


def read_described(trial: FrozenTrial, repeat: int | None = None) -> dict[str, float]:
    """Return the numbers that the job of a repeat described beside its objectives; None: their means over all repeats.

    A trial of an earlier version has them of the repeat alone that described them last.
    """
    known = {
        name: float(value)
        for name, value in trial.user_attrs.items()
        if name not in ("reused_from", REPLACES_KEY) and isinstance(value, int | float) and not isinstance(value, bool)
    }
    found = dict[str, list[float]]()
    for one, numbers in read_repeats(trial, DESCRIBED_KEY).items():
        if repeat in (None, one):
            for name, value in numbers.items():
                found.setdefault(name, []).append(value)
    return known | {name: math.fsum(values) / len(values) for name, values in found.items()}


def write_described(storage: BaseStorage, trial_id: int, repeat: int, numbers: Mapping[str, float]) -> None:
    """Note what the job of a repeat described beside its objectives.

    The trial's own attributes, which Optuna's dashboard shows, have the means only when the trial ends: other repeats
    may describe them at the same time.
    """
    key = DESCRIBED_KEY.format(repeat=repeat)
    numbers = {name: float(value) for name, value in numbers.items()}
    earlier = storage.get_trial(trial_id).system_attrs.get(key, {})
    storage.set_trial_system_attr(trial_id, key, {**earlier, **numbers})
    for name, value in numbers.items():
        storage.set_trial_user_attr(trial_id, name, value)


def read_outcomes_of(trial: FrozenTrial) -> dict[int, Outcome]:
    """Return what the jobs of a trial have kept, by repeat; not a pause that is over."""
    told, target = read_repeats(trial, OUTCOME_KEY), trial.system_attrs.get(TARGET_KEY, 0)
    kept = {repeat: Outcome.from_json(content) for repeat, content in told.items() if content is not None}
    return {repeat: outcome for repeat, outcome in kept.items() if outcome.state != "paused" or outcome.steps >= target}


def find_pruned_reason(trial: FrozenTrial) -> str | None:
    """Return why the job that ended a trial early did so; None where no job did, or none knows."""
    return next((one.reason for one in read_outcomes_of(trial).values() if one.state == "pruned"), None)


def list_jobs(trial: FrozenTrial, repeats: int) -> tuple[int, ...]:
    """List the jobs whose results a trial has, by repeat: its own, or equal ones that ran before.

    An earlier version noted of a trial that ran no job no more than the trial whose result it shares.
    """
    kept, first = read_outcomes_of(trial), repeats * int(trial.user_attrs.get("reused_from", trial.number))
    taken = {repeat: outcome.reused_from for repeat, outcome in kept.items() if outcome.reused_from is not None}
    return tuple(taken.get(repeat, first + repeat) for repeat in range(repeats))


STATE_NAMES = {state: "failed" if state == TrialState.FAIL else state.name.lower() for state in TrialState}


def name_state(trial: FrozenTrial) -> str:
    """Return the state of a trial in a word: complete, pruned, failed, running, waiting or paused."""
    return "paused" if is_paused(trial) else STATE_NAMES[trial.state]


def count_states(trials: Sequence[FrozenTrial]) -> Counter[str]:
    """Count trials by state, as `name_state` names it."""
    return Counter(map(name_state, trials))


def is_paused(trial: FrozenTrial) -> bool:
    """Return whether a trial waits at a checkpoint for its promotion; its first repeat alone is ever paused."""
    if trial.state != TrialState.WAITING:
        return False
    attributes = trial.system_attrs
    kept = attributes.get(OUTCOME_KEY.format(repeat=0))
    return kept is not None and kept["state"] == "paused" and kept["steps"] >= attributes.get(TARGET_KEY, 0)

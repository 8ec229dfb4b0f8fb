"""Trials of an earlier study from which the sampler of this one learns; they do not count as trials of this one.

It helps where the same settings are good in both: other data of the same kind, fewer epochs, a part of the reviews. It
misleads where a parameter means something else by now, or where another objective decides.
"""

from __future__ import annotations

import math

from optuna.trial import FrozenTrial, TrialState, create_trial

from sentiment.errors import ConfigError, Fault
from sentiment.search.options import StudyOptions
from sentiment.search.space.constraints import Validity
from sentiment.search.space.parameters import Space
from sentiment.search.space.points import ReadSettings, find_other_point, write_told
from sentiment.search.study.history import StudyHistory
from sentiment.search.study.limits import CONSTRAINT_KEY

KEY = "hydra.sweeper.prior"

LEARNERS = ("TPESampler", "GPSampler")
"""Samplers that learn from any trial that they are shown; others keep notes of their own on each."""


def list_trials(
    history: StudyHistory, space: Space, is_valid: Validity, read_defaults: ReadSettings, options: StudyOptions
) -> list[FrozenTrial]:
    """List the complete trials of another study that are points of a space, less copies in a population.

    Args:
        history: The other study.
        space: The space of the study that is to learn.
        is_valid: Whether a point satisfies its constraints.
        read_defaults: Reads what a trial has of keys that it did not draw.
        options: Options of that study: its limits are held against what the earlier trials described.

    Raises:
        ConfigError: Nothing can be learnt from it.
    """
    _require_comparable(history, options)
    trials, lacking, limits = [], set[str](), options.limits
    complete = [trial for trial in history.trials if trial.state == "complete"]
    copies = sum(trial.continues is not None for trial in complete)  # their points alone do not make what they have
    complete = [trial for trial in complete if trial.continues is None]
    for trial in complete:
        written = {key: write_told(value) for key, value in trial.parameters.items()}
        point = find_other_point(space, is_valid, written, read_defaults)
        unknown = {name for name in limits if math.isnan(trial.attributes.get(name, math.nan))}
        lacking |= unknown
        if point is not None and not unknown:
            excess = {name: trial.attributes[name] - bound for name, bound in sorted(limits.items())}
            distributions = {item.name: item.distribution for item in space.active(point)}
            trials.append(
                create_trial(
                    state=TrialState.COMPLETE,
                    params=point,
                    distributions=distributions,
                    values=list(trial.values),
                    system_attrs={CONSTRAINT_KEY.format(name=name): above for name, above in excess.items()},
                )
            )
    if not trials and lacking:
        problem = f"the trials of {history.name} did not describe {', '.join(sorted(lacking))}, which has a limit here"
        raise ConfigError([Fault(KEY, problem, "name a study that describes it, or leave out the prior or the limit")])
    if not trials:
        problem = f"none of the {len(complete)} complete trials of {history.name} is a point of this space"
        problem += f"; {copies} copies in its population teach nothing" if copies else ""
        raise ConfigError([Fault(KEY, problem, "name a study of an overlapping space")])
    return trials


def _require_comparable(history: StudyHistory, options: StudyOptions) -> None:
    sampler, directions, names = str(options.sampler.get("_target_")), options.direction, options.metric_names
    if not sampler.endswith(LEARNERS):
        problem = f"is set, and the sampler {sampler.rpartition('.')[2]} learns from no trials but its own"
        raise ConfigError([Fault(KEY, problem, "choose hydra/sweeper/sampler=multivariate_tpe, tpe or gp")])
    if list(history.directions) != directions:
        problem = f"the objectives of {history.name} are better by {list(history.directions)}, here {directions}"
        raise ConfigError([Fault(KEY, problem, "name a study of the same objectives")])
    if names is not None and history.objectives is not None and tuple(names) != history.objectives:
        problem = f"the objectives of {history.name} are {', '.join(history.objectives)}, here {', '.join(names)}"
        raise ConfigError([Fault(KEY, problem, "name a study of the same objectives")])

"""Makes jobs of trials: overrides, seeds, composed configurations, and what makes two jobs equal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from sentiment.search.compose.composer import Composer
from sentiment.search.controller import PlanError
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome, RepeatPlan
from sentiment.search.study.stored import Claim
from sentiment.search.study.trial import TrialAddress
from sentiment.search.workers.job import Job, number_job

IDENTITY_KEY = "study:identity:{repeat}"
"""System attribute of a trial: digest of all that determines the result of a job."""

IDENTITY_VERSION = 1
"""Raise it when the code changes what a configuration means: older results are then trained again."""


@dataclass(frozen=True)
class StudyPlace:
    """Where a study's jobs find it; see `TrialAddress`."""

    storage_url: str | None
    study_dir: Path
    study_name: str
    owner: str
    pruner: BasePruner


class JobPlanner:
    """Plans the jobs of a study.

    Args:
        composer: Composes them.
        place: Where they find the study.
        to_overrides: Turns a trial's values into overrides.
        repeats: Jobs of a trial.
        note: Writes a system attribute of a trial.
        reuse: Whether jobs that ran before are told again instead of run again.
        identify_data: Tells which data a configuration reads, so that changed data is not mistaken for the same.
    """

    def __init__(
        self,
        composer: Composer,
        place: StudyPlace,
        to_overrides: Callable[[Mapping[str, Any]], tuple[str, ...]],
        repeats: RepeatPlan,
        note: Callable[[int, str, Any], None],
        *,
        reuse: bool,
        identify_data: Callable[[DictConfig], str] | None,
    ) -> None:
        self._composer = composer
        self._place = place
        self._to_overrides = to_overrides
        self._repeats = repeats
        self._note = note
        self._reuse = reuse
        self._identify_data = identify_data

    def plan(self, claim: Claim, repeat: int) -> Job:
        """Compose one repeat of a trial.

        Raises:
            PlanError: The drawn values do not compose; the space was checked at its corners only, and what
                `custom_search_space` draws not at all.
        """
        try:
            return self._plan(claim, repeat)
        except (HydraException, OmegaConfBaseException) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            values = " ".join(self._to_overrides(claim.values))
            raise PlanError(f"cannot be composed ({reason}): {values}") from error

    def _plan(self, claim: Claim, repeat: int) -> Job:
        overrides = self._to_overrides(claim.values)
        config = self._composer.compose(overrides)
        if self._repeats.count > 1:
            base = OmegaConf.select(config, self._repeats.seed_key)
            overrides = (
                *(line for line in overrides if not line.startswith(f"{self._repeats.seed_key}=")),
                f"{self._repeats.seed_key}={int(base) + repeat}",
            )
            config = self._composer.compose(overrides)
        number = claim.trial.number * self._repeats.count + repeat
        identity = self._identify(config) if self._reuse else None
        if identity is not None:
            self._note(claim.trial._trial_id, IDENTITY_KEY.format(repeat=repeat), identity)
        return Job(number, overrides, number_job(config, number), self._address(claim, repeat), identity)

    def find_equal(self, job: Job, trials: Sequence[FrozenTrial]) -> Outcome | None:
        """Look for a job of a complete trial that had the same settings, seed and data."""
        if job.identity is None:
            return None
        for trial in trials:
            if trial.state != TrialState.COMPLETE or "reused_from" in trial.user_attrs:
                continue
            for repeat in range(self._repeats.count):
                content = trial.system_attrs.get(OUTCOME_KEY.format(repeat=repeat))
                if content and trial.system_attrs.get(IDENTITY_KEY.format(repeat=repeat)) == job.identity:
                    outcome = Outcome.from_json(content)
                    return Outcome("complete", outcome.values, reused_from=trial.number)
        return None

    def _identify(self, config: DictConfig) -> str:
        data = "" if self._identify_data is None else self._identify_data(config)
        content = [IDENTITY_VERSION, self._composer.resolve(config), data]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _address(self, claim: Claim, repeat: int) -> TrialAddress:
        place = self._place
        return TrialAddress(
            storage_url=place.storage_url,
            study_dir=place.study_dir,
            study_name=place.study_name,
            trial_id=claim.trial._trial_id,
            number=claim.trial.number,
            repeat=repeat,
            owner=place.owner,
            pruner=place.pruner,
        )

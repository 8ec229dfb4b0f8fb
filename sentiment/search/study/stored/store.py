"""A study's trials in its storage, as one command reads and writes them: under a lock that all commands share."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sentiment.private import get_study_id
from sentiment.search.storage.lease import Lease, Watch, looks_alive
from sentiment.search.study.definition import Searched
from sentiment.search.study.trial import OWNER_KEY, STOP_KEY, find_job, hold_study

CONTROLLER_KEY = "study:controller:{id}"

DEFINITION_KEY = "study:definition"
"""System attributes of a study: the lease record of each command that works on it, and what the study is about."""

COMMIT_KEY = "study:commit"
"""System attribute of a trial: which code ran it, as people read it."""

START_KEY = "start"
"""User attribute of a trial whose point was to be tried first: where it is from."""


def list_commands(attributes: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List the lease records of all commands that ever worked on a study, from its system attributes."""
    return [record for key, record in attributes.items() if key.startswith(CONTROLLER_KEY.format(id=""))]


class TrialStore:
    """Creates a study where it is new, and holds a lease by which other commands see that this one lives.

    Args:
        storage: The open storage.
        url: What was opened; None: the journal in the study's folder.
        search: What is searched.
        commit: The code that runs, as people read it; None where nobody knows.

    Attributes:
        study: Optuna's study.
        name: Its name.
        lease: The command's lease.
        owner: Its name, by which the command claims trials.
    """

    def __init__(self, storage: BaseStorage, url: str | None, search: Searched, commit: str | None = None) -> None:
        self.storage = storage
        self.url = url
        self.study_dir = search.study_dir
        self.commit = commit
        self.study = self._create(search)
        self.name = self.study.study_name
        self.lease = Lease.take("controller")
        self.owner = self.lease.lease_id
        self._watch = Watch(search.options.grace_seconds)
        self._definition: Any = None  # as this command stored it; None: it has stored none

    def _create(self, search: Searched) -> optuna.Study:
        options = search.options
        with self.lock(options.known_name or "unnamed"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # of samplers and pruners that people chose
            return optuna.create_study(
                storage=self.storage,
                study_name=options.known_name,
                directions=[StudyDirection[direction.upper()] for direction in options.direction],
                sampler=search.sampler,
                pruner=search.pruner,
                load_if_exists=True,
            )

    def name_objectives(self, names: Sequence[str]) -> None:
        """Let the study's objectives have names."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.study.set_metric_names(list(names))

    def lock(self, name: str | None = None) -> AbstractContextManager[None]:
        """Return the lock that all processes of the study share; `name`: where it has none yet."""
        return hold_study(self.url, self.study_dir, name or self.name)

    def trials(self) -> list[FrozenTrial]:
        """List all trials; they are the storage's own, not to be changed."""
        return self.study.get_trials(deepcopy=False)

    def read(self, trial_id: int) -> FrozenTrial:
        """Return one trial as it stands."""
        return self.storage.get_trial(trial_id)

    def write(self, trial_id: int, key: str, value: Any) -> None:
        """Write a system attribute of a trial."""
        self.storage.set_trial_system_attr(trial_id, key, value)

    def note(self, trial_id: int, key: str, value: Any) -> None:
        """Write a user attribute of a trial."""
        self.storage.set_trial_user_attr(trial_id, key, value)

    def find_own(self, trial_id: int) -> FrozenTrial | None:
        """Return a trial as it stands; None where it has ended, or is another command's by now.

        Others may have taken this command for dead, as it was silent for so long, and run its trial to the end.
        """
        stored = self.read(trial_id)
        is_own = not stored.state.is_finished() and stored.system_attrs.get(OWNER_KEY) == self.owner
        return stored if is_own else None

    def set_state(self, trial_id: int, state: TrialState) -> bool:
        """Let a trial run or wait; return whether this command has changed it: another may have let it run."""
        return self.storage.set_trial_state_values(trial_id, state)

    def take(self, trial_id: int) -> bool:
        """Let a trial that waits run as this command's, under the lock; return whether it did wait.

        Its owner comes first: another command, which paused it, would not take it for dead if this one died in between.
        """
        if self.read(trial_id).state != TrialState.WAITING:
            return False
        self.write(trial_id, OWNER_KEY, self.owner)
        return self.set_state(trial_id, TrialState.RUNNING)

    def read_attributes(self) -> dict[str, Any]:
        """Return the system attributes of the study."""
        return self.storage.get_study_system_attrs(get_study_id(self.study))

    def write_attribute(self, key: str, value: Any) -> None:
        """Write a system attribute of the study."""
        self.storage.set_study_system_attr(get_study_id(self.study), key, value)

    def define(self, definition: Mapping[str, Any]) -> None:
        """Store what the study is about, where that is new, under the lock."""
        if self.read_attributes().get(DEFINITION_KEY) != definition:
            self.write_attribute(DEFINITION_KEY, definition)
        self._definition = self.read_attributes()[DEFINITION_KEY]

    @property
    def is_redefined(self) -> bool:
        """Whether another command, which joined later, has changed what the study is about."""
        return self._definition is not None and self.read_attributes().get(DEFINITION_KEY) != self._definition

    def write_lease(self, record: Mapping[str, Any]) -> None:
        """Show that the command is at work, and until when it was."""
        self.write_attribute(CONTROLLER_KEY.format(id=record["id"]), dict(record))

    def is_last(self) -> bool:
        """Return whether no other command is at work on the study, and note that this one comes to its end.

        Under the lock: of two that come to their end at once one is the last.
        """
        self.lease.is_ending = True
        self.write_lease(self.lease.record())
        others = (record for record in list_commands(self.read_attributes()) if record["id"] != self.owner)
        return not any(looks_alive(record) for record in others if not record.get("ending"))

    @property
    def is_to_stop(self) -> bool:
        """Whether a person asked, since this command began, that no more trials start; see `study.stop`."""
        stopped = self.read_attributes().get(STOP_KEY)
        return isinstance(stopped, list) and self.owner in stopped  # an earlier version stored a flag

    def is_dead(self, trial: FrozenTrial) -> bool:
        """Return whether nobody works on a running trial.

        Claims write the owner under the lock, so a new trial without one belongs to a claim that was cut off.
        """
        owner = trial.system_attrs.get(OWNER_KEY)
        if owner == self.owner:
            return False
        job = find_job(trial)
        if job is not None and not self._watch.is_dead(job):
            return False
        controller = self.read_attributes().get(CONTROLLER_KEY.format(id=owner))
        return controller is None or self._watch.is_dead(controller)

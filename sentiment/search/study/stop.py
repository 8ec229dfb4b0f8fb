"""Ask from outside that a trial ends as pruned, or that a study starts no more trials: kept in the study's storage."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from sentiment.errors import SentimentError
from sentiment.private import get_storage, get_study_id, get_trial_id
from sentiment.search.storage.address import storage_errors
from sentiment.search.storage.lease import looks_alive
from sentiment.search.storage.opening import close_storage, load_study, open_storage
from sentiment.search.study.address_file import read_study_address
from sentiment.search.study.stored.store import list_commands
from sentiment.search.study.trial import STOP_KEY


class StopError(SentimentError):
    """There is nothing to stop."""


def request_stop(study_dir: Path, number: int | None = None) -> str:
    """Ask a study to end after its running jobs, or one of its running trials to end at its next report.

    The study is asked through the commands at work on it: one that is started later goes on with it.

    Returns:
        When it takes effect, for people.

    Raises:
        StopError: The folder holds no study, or the trial does not run.
        StorageError: Its storage cannot be read or written.
    """
    known = read_study_address(study_dir)
    if known is None:
        remedy = "name the folder of a study, or its name under multirun/; a plain multirun ends by Ctrl-C"
        raise StopError(f"{study_dir} holds no study.", remedy)
    with storage_errors(f"Writing the study in {study_dir}"):
        # Anew each time: what a server has kept open may be of a study that was removed and made again.
        opened = open_storage(known.storage, study_dir)
        try:
            return _request(load_study(opened, known.study_name), number)
        finally:
            close_storage(opened)


def _request(study: optuna.Study, number: int | None) -> str:
    storage, study_id = get_storage(study), get_study_id(study)
    if number is None:
        commands = list_commands(storage.get_study_system_attrs(study_id))
        storage.set_study_system_attr(study_id, STOP_KEY, [command["id"] for command in commands])
        if not any(map(looks_alive, commands)):
            return "No command works on the study now; its own command, started again, goes on."
        return "The study ends after its running jobs; its own command, started again, goes on."
    running = {trial.number: trial for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))}
    trial = running.pop(number, None)
    with suppress(UpdateFinishedTrialError):  # it ends at this moment
        if trial is not None:
            storage.set_trial_system_attr(get_trial_id(trial), STOP_KEY, True)
            return f"Trial {number} ends as pruned at its next report; one that makes none any more comes to its end."
    others = ", ".join(map(str, running)) or "none"
    raise StopError(f"Trial {number} of {study.study_name} does not run.", f"those that run: {others}")

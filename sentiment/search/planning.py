"""Makes jobs of trials: overrides, seeds, composed configurations, and what makes two jobs equal."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from omegaconf import DictConfig, OmegaConf
from optuna.trial import FrozenTrial

from sentiment.composing import COMPOSE_ERRORS, find_reason
from sentiment.errors import ConfigError, DataError, Fault, ModelFileError, SentimentError
from sentiment.format import join_names
from sentiment.json_file import digest_json
from sentiment.search.controller import PlanError
from sentiment.search.options import StudyOptions
from sentiment.search.search import Search
from sentiment.search.space.corners import list_corners
from sentiment.search.space.parameters import Point, name_key, show_values, write_value
from sentiment.search.space.points import Changes, Key, make_key
from sentiment.search.study.definition import refuse_other_data
from sentiment.search.study.limits import list_undescribed
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome, read_described, read_repeats
from sentiment.search.study.population import find_origin
from sentiment.search.study.shared_results import SharedResult, SharedResults
from sentiment.search.study.spending import EPOCHS_KEY
from sentiment.search.study.stored.claims import ClaimedTrial
from sentiment.search.study.stored.endings import give_result
from sentiment.search.study.stored.store import COMMIT_KEY, TrialStore
from sentiment.search.study.stored.study import StoredStudy
from sentiment.search.study.trial import ATTEMPT_KEY, CODE_KEY, DATA_KEY, IDENTITY_KEY, SEVERAL
from sentiment.search.workers.job import Job, number_job, read_subdir, resolving

log = logging.getLogger(__name__)

TIMED = "time/"
"""How the name of an objective or a limit begins that is a time, which belongs to the one run that was timed."""

REFUSALS = (ConfigError, DataError, ModelFileError)
"""What an application raises about a configuration that it does not take."""

IDENTITY_VERSION = 2
"""Raise it when what is compared changes: older results are then trained again."""


def read_epochs(config: DictConfig, options: StudyOptions) -> float | None:
    """Return how many epochs a job has; None where its configuration does not say.

    Raises:
        PlanError: It does not, and a budget counts them.
    """
    epochs = OmegaConf.select(config, options.epochs_key)
    if isinstance(epochs, int | float):
        return epochs
    if options.epochs is None:
        return None
    raise PlanError(
        f"hydra.sweeper.epochs needs a number of epochs, and {options.epochs_key} is {epochs!r}",
        "name the key that has it: hydra.sweeper.epochs_key=KEY",
    )


def require_same_data(search: Search, name: str, trials: Sequence[FrozenTrial]) -> None:
    """Insist that the trials which have a result read the data that is there now.

    One trial is asked of all that read the same data then and have the same choices: files and data sets are choices,
    not numbers.

    Args:
        search: What is searched, as the study knows it.
        name: The study's name.
        trials: Its standing trials.

    Raises:
        StudyChangedError: The data has changed, whatever changes are allowed.
    """
    asked, changed = set[tuple[str, Key]](), []
    for trial in trials:
        if DATA_KEY not in trial.system_attrs or not trial.values:
            continue
        point = search.reader.read(trial)
        if point is None:
            continue
        stored = str(trial.system_attrs[DATA_KEY])
        choices = make_key({name: value for name, value in point.items() if isinstance(value, str)})
        if (stored, choices) in asked:
            continue
        asked.add((stored, choices))
        try:
            data = search.application.identify_data(search.composer.compose(search.to_overrides(point)))
        except SentimentError:
            continue  # it is not there any more; a trial that needs it will say so
        if data not in (None, stored):
            changed.append(str(trial.number))
    if changed:
        raise refuse_other_data(name, changed)


def warn_of_changed_code(search: Search, store: TrialStore, trials: Sequence[FrozenTrial]) -> None:
    """Say which trials have a result of other code, and from which commits they are.

    Where the application identifies its code, that decides: a commit does not tell one uncommitted change from another,
    and may change nothing that a result depends on.
    """
    ended = [trial for trial in trials if trial.state.is_finished() and trial.values]
    if not ended:
        return
    code = search.application.identify_code(search.config)
    known = [trial for trial in ended if code is not None and CODE_KEY in trial.system_attrs]
    other = [str(trial.number) for trial in known if trial.system_attrs[CODE_KEY] != code]
    unequal = [trial for trial in ended if code is None or trial.system_attrs.get(CODE_KEY) != code]
    commits = Counter(trial.system_attrs.get(COMMIT_KEY) for trial in unequal)
    listed = [f"{count} at {commit}" for commit, count in commits.most_common() if commit not in (None, store.commit)]
    told = []
    if other:
        told.append(
            f"The code that results depend on has changed since {len(other)} of {len(known)} finished trials "
            f"({join_names(other)}); they count all the same. Another study runs them again: "
            "hydra.sweeper.study_name=NAME."
        )
    if listed and store.commit is not None:
        told.append(f"Trials of other code: {', '.join(listed)}; now it is {store.commit}.")
    if told:
        log.log(logging.WARNING if other else logging.INFO, "%s", " ".join(told))


def _list_reasons(error: Exception) -> list[str]:
    """Return why the values of a trial are refused, each reason on one line."""
    if isinstance(error, ConfigError):
        return [f"{fault.key}: {fault.problem}" for fault in error.faults]
    return [error.problem if isinstance(error, SentimentError) else find_reason(error)]


def _list_kinds(error: Exception) -> set[str]:
    """Return what is refused, by what does not depend on the values: which keys, else which kind of error it is."""
    return {fault.key for fault in error.faults} if isinstance(error, ConfigError) else {type(error).__name__}


class JobPlanner:
    """Plans the jobs of a study.

    Args:
        search: What is searched.
        study: The stored study.
    """

    def __init__(self, search: Search, study: StoredStudy) -> None:
        self._search = search
        self._study = study
        options = search.options
        is_timed = any(name.startswith(TIMED) for name in (*(options.metric_names or ()), *options.limits))
        self._is_reusing = options.reuse != "none" and not is_timed
        is_shared = self._is_reusing and options.reuse == "folder" and search.application.identifies_code
        self._shared = SharedResults(search.study_dir) if is_shared else None
        self._changes = Changes()
        self._known: dict[str, tuple[FrozenTrial, int]] = {}  # identity of a complete job to its trial and repeat

    def plan(self, claimed: ClaimedTrial, repeat: int) -> Job:
        """Compose one repeat of a trial.

        What is due to the moment ends the study instead, e.g. a server that is away (`TrackingError`), or data: trial
        after trial would fail in a second, and one that goes on would lose what it has trained.

        Raises:
            PlanError: The drawn values do not compose, or are refused, or name what is not there; the space was checked
                at its corners only, and what `custom_search_space` draws not at all.
            SentimentError: They are refused, and that is due to the moment.
        """
        try:
            return self._plan(claimed, repeat)
        except (*COMPOSE_ERRORS, *REFUSALS) as error:
            reason = "; ".join(_list_reasons(error))
            if isinstance(error, REFUSALS) and self._is_of_the_moment(claimed, repeat, error):
                # A ConfigError's own message says that nothing was started, and trials may have run for hours.
                faults = error.faults if isinstance(error, ConfigError) else [Fault.of("", error)]
                remedies = filter(None, dict.fromkeys(fault.remedy for fault in faults))
                goes_on = "the same command goes on afterwards"
                leave_out = f"or leave the point of trial {claimed.number} out by a line in hydra.sweeper.constraints"
                raise SentimentError(reason, "; ".join([*remedies, goes_on, leave_out])) from error
            values = " ".join(f"{key}={write_value(value)}" for key, value in show_values(claimed.values).items())
            # Not the remedies of faults, which are for values that somebody typed: these were drawn.
            told = error.remedy if isinstance(error, SentimentError) else ""
            remedy = told or "a line in hydra.sweeper.constraints leaves such points out"
            raise PlanError(f"{reason}: no job can be made of {values}", remedy) from error

    def _is_of_the_moment(self, claimed: ClaimedTrial, repeat: int, error: Exception) -> bool:
        """Return whether a refusal is not due to the drawn values.

        The job has begun before, or the corners, which were checked before the study, are all refused for that now.
        """
        if repeat in read_repeats(self._study.store.read(claimed.trial_id), ATTEMPT_KEY):
            return True
        search, kinds = self._search, _list_kinds(error)
        corners = list_corners(search.space, is_valid=search.is_valid)
        return bool(corners) and all(not kinds.isdisjoint(self._list_refused(corner)) for corner in corners)

    def _list_refused(self, point: Point) -> set[str]:
        """Return what of a point is refused, as `_list_kinds`; empty: nothing is."""
        try:
            self._search.application.identify_data(self._search.composer.compose(self._search.to_overrides(point)))
        except (*COMPOSE_ERRORS, *REFUSALS) as error:
            return _list_kinds(error)
        return set()

    def _plan(self, claimed: ClaimedTrial, repeat: int) -> Job:
        search, seed_key = self._search, self._search.options.seed_key
        overrides = search.to_overrides(claimed.values)
        config = search.composer.compose(overrides)
        if search.repeats.count > 1:
            seed = int(OmegaConf.select(config, seed_key)) + repeat
            others = (line for line in overrides if not line.startswith(f"{seed_key}="))
            overrides = (*others, f"{seed_key}={seed}")
            config = search.composer.compose(overrides)
        store, number = self._study.store, claimed.number * search.repeats.count + repeat
        stored = store.read(claimed.trial_id)
        data, code = search.application.identify_data(config), self._mark_code(claimed, stored, config)
        config = number_job(config, number)
        told = {DATA_KEY: data, EPOCHS_KEY: read_epochs(config, search.options)}
        for key, value in told.items():
            if value is not None and repeat == 0:  # all repeats have the same
                store.write(claimed.trial_id, key, value)
        identity = self._identify(claimed, stored, config, data, code)
        begun = stored.system_attrs.get(key := IDENTITY_KEY.format(repeat=repeat))
        if repeat in read_repeats(stored, ATTEMPT_KEY) and identity != begun:
            identity = None  # what it ends with is due to an attempt at other settings, too, now and later
        if identity != begun:
            store.write(claimed.trial_id, key, identity)
        address = replace(self._study.address_of(claimed, repeat), code=code, data=data)
        return Job(number, overrides, config, address, identity)

    def _mark_code(self, claimed: ClaimedTrial, stored: FrozenTrial, config: DictConfig) -> str | None:
        """Return the code that trains a trial, which is noted; `SEVERAL` where an earlier attempt was by another."""
        code = self._search.application.identify_code(config)
        known = stored.system_attrs.get(CODE_KEY) if read_repeats(stored, ATTEMPT_KEY) else None
        marked = code if known in (None, code) else SEVERAL
        if marked != known:
            self._study.store.write(claimed.trial_id, CODE_KEY, marked)
        return marked

    def _identify(
        self, claimed: ClaimedTrial, stored: FrozenTrial, config: DictConfig, data: str | None, code: str | None
    ) -> str | None:
        """Return the digest of all that determines a job's result; None where no other job can have an equal one."""
        # What a trial ends with is due to what it goes on from, too: as a copy, or from an attempt of earlier code.
        if not self._is_reusing or find_origin(stored) is not None or code == SEVERAL:
            return None
        groups = self._search.settings.keys_of_groups
        drawn = [one for key in map(name_key, claimed.values) for one in groups.get(key, [key])]
        with resolving(config):  # a setting that follows from the job's number makes every job another
            settings = self._search.composer.resolve(config, drawn)
        return digest_json([IDENTITY_VERSION, settings, data, code])

    def find_equal(self, job: Job, trials: Sequence[FrozenTrial]) -> Outcome | None:
        """Look for a complete job that had the same settings, seed and data.

        A job that has begun goes on itself: its folder has its record, which nobody else would close, and what it goes
        on from.
        """
        begun = read_repeats(self._study.store.read(job.address.trial_id), ATTEMPT_KEY)
        if job.identity is None or job.address.repeat in begun:
            return None
        for one in self._changes.take(trials):
            if one.state.is_finished():
                self._note_complete(one)
        known = self._known.get(job.identity)
        if known is None:
            return self._adopt(job, job.identity)
        trial, repeat = known
        values = Outcome.from_json(trial.system_attrs[OUTCOME_KEY.format(repeat=repeat)]).values
        outcome = Outcome("complete", values, reused_from=trial.number * self._search.repeats.count + repeat)
        return self._give(job, outcome, read_described(trial, repeat))

    def _note_complete(self, trial: FrozenTrial) -> None:
        """Note the jobs of a trial that ran to their end; of equal ones, that of the first trial counts.

        One that did not describe what a limit is on has no result to take over: its trial could never be mended.
        """
        attributes, limits = trial.system_attrs, self._search.options.limits
        for repeat in range(self._search.repeats.count):
            identity = attributes.get(IDENTITY_KEY.format(repeat=repeat))
            kept = attributes.get(OUTCOME_KEY.format(repeat=repeat))
            if identity is None or kept is None or kept["state"] != "complete" or kept.get("reused_from") is not None:
                continue
            if list_undescribed(read_described(trial, repeat), limits):
                continue
            known = self._known.get(identity)
            if known is None or trial.number < known[0].number:
                self._known[identity] = trial, repeat

    def keep(self, job: Job, trial: FrozenTrial, outcome: Outcome) -> None:
        """Share the result of a job that ran, with the studies in folders beside this one's."""
        repeat = job.address.repeat
        attempt = trial.system_attrs.get(ATTEMPT_KEY.format(repeat=repeat), {})
        if self._shared is None or job.identity is None or outcome.state != "complete" or "folder" not in attempt:
            return
        if trial.system_attrs.get(IDENTITY_KEY.format(repeat=repeat)) != job.identity:  # the job has found it wrong
            return
        folder = self._shared.relate(self._search.study_dir / attempt["folder"])
        self._shared.keep(job.identity, SharedResult(folder, outcome.values, read_described(trial, repeat)))

    def _adopt(self, job: Job, identity: str) -> Outcome | None:
        """Take over the result of an equal job of another study."""
        result, options = None if self._shared is None else self._shared.find(identity), self._search.options
        if self._shared is None or result is None or len(result.values) != len(options.direction):
            return None
        if list_undescribed(result.described, options.limits):
            return None
        folder = self._search.study_dir / read_subdir(job.config)
        try:
            with self._shared.taking_over(result, folder):
                if self._search.application.adopt is not None:
                    self._search.application.adopt(folder, job.number)
        except (OSError, SentimentError) as error:
            log.warning("%s is run again: the equal %s cannot be taken over (%s).", folder, result.folder, error)
            return None
        outcome = Outcome("complete", tuple(result.values), adopted_from=result.folder)
        return self._give(job, outcome, result.described)

    def _give(self, job: Job, outcome: Outcome, described: Mapping[str, float]) -> Outcome:
        trial_id, repeat = job.address.trial_id, job.address.repeat
        return give_result(self._study.store, self._search, trial_id, repeat, outcome, described)

"""Wires a multirun to its parent run and its report; with `run.py`, the edge where Hydra's objects are known."""

from __future__ import annotations

import logging
import math
import os
import re
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from sentiment.composing import list_values, read_words, without_hydra
from sentiment.config.home import PROJECT_DIR, name_study
from sentiment.config.objective import find_directions, list_objectives
from sentiment.config.run_context import take_answer_file, write_multirun_command
from sentiment.credentials import anchor_store
from sentiment.errors import SentimentError, TrackingError
from sentiment.format import mask_passwords
from sentiment.paths import expand_home
from sentiment.report.sweep.closing import (
    KILLED,
    close_ended,
    close_jobs,
    close_killed_beside,
    describe_parent,
    passing_over,
    tell_parent,
)
from sentiment.search.application import freeze_loader
from sentiment.search.plugin.sweeper import STUDY_SWEEPER
from sentiment.tracking.alive import ALIVE_FILE, RUN_FILE, Alive, is_alive
from sentiment.tracking.ending import FINAL, FINISHED, Ending, ending_of
from sentiment.tracking.parent_file import note_standing, note_sweep_end

if TYPE_CHECKING:
    from sentiment.report.sweep.collect import RunningStudy
    from sentiment.report.sweep.table import SweepTable
    from sentiment.search.progress import StudyState
    from sentiment.search.workers.job import Finished
    from sentiment.tracking.mlflow.delivery import Deliverer
    from sentiment.tracking.parent_file import Parent
    from sentiment.tracking.result_file import ResultRecord

log = logging.getLogger(__name__)


JOB_NUMBER = re.compile(r"\$\{hydra[:.]job\.num\}")
"""How the folder of a job has its number."""

STUDY_STOPPED = "Stopped. What has ended is kept; the same command goes on."

MULTIRUN_STOPPED = (
    "Stopped. What has ended is kept, and the same command starts anew, in another folder: with search=grid it would "
    "go on (docs/search.md)."
)


class SweepCallback(Callback):
    """Starts the parent run before the first job; reports and ends it after the last one.

    Hydra turns every `Exception` of a callback into a warning and goes on, so a multirun whose store cannot be
    opened would train for hours and record nothing. `SystemExit` is no `Exception`: it gets through and ends it.
    """

    def __init__(self) -> None:
        self._parent: Parent | None = None
        self._study: RunningStudy | None = None
        self._ended: StudyState | None = None
        self._deliverer: Deliverer | None = None
        self._alive: Alive | None = None
        self._answer: Path | None = None
        self._started = False
        self._leaves_jobs = False

    def __reduce__(self) -> tuple[type[SweepCallback], tuple[()]]:
        """Launchers send it to their jobs, along with Hydra's other callbacks; the sweep stays with the command."""
        return SweepCallback, ()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Start the parent run, where MLflow records; refuse what a Ray cluster would never run."""
        try:
            self._answer = take_answer_file("sweep")
            if _is_study(config):
                return  # not before the study has checked its space: see on_study_start
            freeze_loader(GlobalHydra.instance().config_loader())  # as a study is: an edit changes no later job
            self._leaves_jobs = _prepare_launcher(config)
            self._start(config)
        except Exception as error:
            if self._alive is not None:
                self._alive.end()
            _give_up(error)

    def on_study_start(self, config: DictConfig, state: StudyState) -> None:
        """Start the parent run of a study, or take it up again, once its space is checked; say how to watch it run."""
        self._start(config)
        if config.hydra.sweeper.progress != "none" and not state.is_full:
            log.info("%s", explain_watching(config, state.study_dir))

    def on_trial_job_end(self, config: DictConfig, finished: Finished) -> None:
        """Close the record of a job whose process died: it could not do so itself."""
        outcome = finished.outcome
        if outcome.kind in ("worker_died", "timed_out", "out_of_memory"):
            from sentiment.search.workers.job import read_subdir
            from sentiment.tracking.recorder import close_abandoned

            folder = _sweep_dir(config) / read_subdir(finished.job.config)
            if not is_alive(folder, RUN_FILE):  # it may have waited for the one that works there
                close_abandoned(folder, outcome.kind, outcome.reason or "")

    def on_trial_end(self, config: DictConfig, trial: Any, state: StudyState) -> None:
        """Close the record of a trial that was paused and is given up; tag a failed trial that this one replaces."""
        close_ended(trial, state.study_dir, state.repeats)
        if self._parent is not None:
            _note_successors([trial], state)

    def on_study_end(self, config: DictConfig, state: StudyState) -> None:
        """Keep the study: `_report` closes what ended unheard, with the records at hand, and can be interrupted."""
        self._ended = state

    def close_unheard(self, records: Sequence[ResultRecord]) -> bool:
        """Do as `on_trial_end` for the trials that ended unheard, as those of commands that were killed.

        Args:
            records: All that can be read of the study; one that tells an end is not read again.

        Returns:
            Whether any of them was closed.
        """
        if self._ended is None:
            return False
        state, closed = self._ended, {one.folder for one in records if one.status in ("FINISHED", "PRUNED", "FAILED")}
        trials = (*state.trials, *state.replaced)
        found = [close_ended(trial, state.study_dir, state.repeats, closed) for trial in trials]
        if self._parent is not None:
            _note_successors(trials, state)
        return any(found)

    def on_study_change(self, config: DictConfig, state: StudyState) -> None:
        """Show on the parent run how the study stands."""
        if self._parent is None:
            return
        table = self._follow(config, state).collect(state)
        try:
            note_standing(_sweep_dir(config), *describe_parent(table))
        except TrackingError as error:
            # The trials are safe; the next change notes all of it anew, and the end of the study insists.
            log.warning("The parent run could not be updated: %s", error)

    def _follow(self, config: DictConfig, state: StudyState) -> RunningStudy:
        from sentiment.report.sweep.collect import RunningStudy

        if self._study is None:
            objectives = dict(zip(list_objectives(config.objective), find_directions(config.objective), strict=True))
            self._study = RunningStudy(state.name, _sweep_dir(config), objectives, config.hydra.sweeper.repeats)
        return self._study

    def _start(self, config: DictConfig) -> None:
        sweep_dir = _sweep_dir(config)
        if not _is_study(config):  # a study is taken up again by its own command, and notes it itself
            if not is_alive(sweep_dir, ALIVE_FILE):  # before the sign is taken by which a killed command is closed
                _refuse_ended(config)
            self._alive = Alive(sweep_dir, ALIVE_FILE)  # before anything is written: what another command writes stays
            if self._alive.is_heir:
                close_jobs(sweep_dir, KILLED)
            write_multirun_command(sweep_dir)
            close_killed_beside(sweep_dir, _tracking_uri(config))
        if self._answer is not None:
            self._answer.write_text(str(sweep_dir), encoding="utf-8")
        if config.tracking.mlflow:
            self._parent = _start_parent(config)
            from sentiment.tracking.mlflow.delivery import Deliverer

            self._deliverer = Deliverer(sweep_dir, [_tracking_uri(config)]).start()
        self._started = True

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print and write the report, end the parent run. Hydra calls this however the multirun ended."""
        if not self._started:
            return  # it was refused before it began
        interruption = sys.exc_info()[1]  # what is on its way out while Hydra's `finally` calls us
        try:
            self._report(config, interruption)
        except Exception as error:
            if interruption is None:
                _give_up(error)
            _complain(error)  # the first error is the one that people should see last
        if isinstance(interruption, KeyboardInterrupt | SystemExit):
            log.info("\n%s", STUDY_STOPPED if _is_study(config) else MULTIRUN_STOPPED)

    def _report(self, config: DictConfig, interruption: BaseException | None) -> None:
        files: list[Path] = []
        texts: dict[str, str] = {}
        ending = Ending("FAILED", "exception", "the report could not be made")
        is_cut = interruption is not None and not isinstance(interruption, Exception)
        is_over = not (is_cut and self._leaves_jobs)
        if self._alive is not None and is_over:
            close_jobs(_sweep_dir(config), "its process ended without a word")
        seconds = 0.0
        try:
            seconds = self._settle(is_cut=is_cut)
            table = _collect(config, is_over=is_over)
            if self.close_unheard(table.records):
                table = _collect(config, is_over=is_over)
            ending = _ending(table, interruption)
            if self._parent is not None:
                tell_parent(_sweep_dir(config), table, self._parent)
                texts = _describe_study(config) if table.is_study else {}
            if table.rows:
                from sentiment.report.sweep.page import report_sweep  # what draws takes a second or two to import

                files = report_sweep(table, _sweep_dir(config))
        finally:
            if self._alive is not None:
                self._alive.end()
            if self._deliverer is not None:
                note_sweep_end(_sweep_dir(config), ending, files, texts)
                self._deliverer.finish(seconds)

    def _settle(self, *, is_cut: bool) -> float:
        """Deliver what the jobs noted, so that the report can name their runs; return for how long to wait later."""
        if self._deliverer is None:
            return 0.0
        from sentiment.tracking.mlflow.delivery import FINAL_SECONDS, HURRIED_SECONDS

        seconds = HURRIED_SECONDS if is_cut else FINAL_SECONDS
        self._deliverer.settle(seconds)
        return seconds


def _note_successors(trials: Sequence[Any], state: StudyState) -> None:
    """Tag the runs of the failed trials that trials stand for, but not those whose results a trial has taken over."""
    from sentiment.search.space.points import REPLACES_KEY
    from sentiment.search.study.outcome import list_jobs
    from sentiment.search.study.trial import read_folder
    from sentiment.tracking.recorder import note_successor

    replaced = {one.number: one for one in state.replaced}
    later = {trial.user_attrs.get(REPLACES_KEY): trial.number for trial in trials}
    if replaced.keys().isdisjoint(later):
        return  # before all trials are looked at, of which there may be thousands
    named = {job for one in state.trials for job in list_jobs(one, state.repeats)}
    for earlier in replaced.keys() & later.keys():
        for repeat, job in enumerate(list_jobs(replaced[earlier], state.repeats)):
            folder = None if job in named else read_folder(replaced[earlier], state.study_dir, repeat)
            if folder is not None:
                with passing_over(folder):
                    note_successor(folder, later[earlier])


def explain_watching(config: DictConfig, study_dir: Path) -> str:
    """Return the commands that show a study while it runs, a password in its storage left out."""
    from sentiment.report.run_summary import name_folder
    from sentiment.search.storage.address import read_address

    address = read_address(config.hydra.sweeper.storage, study_dir)
    storage = str(address.path if address.dialect == "journal" else address)
    install = "" if find_spec("optuna_dashboard") else "  (pip install optuna-dashboard)"
    return (
        f"Watch it: {shlex.join(['python', '-m', 'sentiment', 'watch', name_folder(study_dir)])}\n"
        f"          {shlex.join(['optuna-dashboard', storage])}{install}\n"
        "Ctrl-C stops it; the same command goes on."
    )


def _prepare_launcher(config: DictConfig) -> bool:
    """Make a launcher ready for a grid, as a study does by itself.

    Returns:
        Whether an interruption leaves jobs to their cluster; any other end of the launcher is that of its jobs.

    Raises:
        LauncherError: There is no Slurm on this machine, or the Ray cluster cannot be reached, or cannot run the jobs.
    """
    target = str(config.hydra.launcher._target_)
    if target.endswith(".BasicLauncher"):
        return False
    from sentiment.search.workers import launchers, slurm

    launchers.prepare(config)
    if ".hydra_submitit_launcher." not in target:
        return False
    slurm.collect_losses()
    return True


def _refuse_ended(config: DictConfig) -> None:
    """Refuse a multirun one of whose jobs has ended in its folder before what is there is told to be this one's.

    Jobs of one folder that are named by their overrides, too, may be of several multiruns: each sees to its own.

    Raises:
        TrackingError: That job would be overwritten.
    """
    from sentiment.tracking.result_file import read_result_of, refuse_overwriting

    sweep_dir, written = _sweep_dir(config), cast(dict[str, Any], OmegaConf.to_container(config.hydra.sweep))
    subdir = str(written["subdir"])
    if "${" in JOB_NUMBER.sub("", subdir) or not sweep_dir.exists():
        return
    for number in range(_count_jobs(config)):
        folder = sweep_dir / JOB_NUMBER.sub(str(number), subdir)
        record = None
        with suppress(TrackingError):  # a damaged record is told by the job that meets it
            record = read_result_of(folder)
        if record is not None and record.status in FINAL:
            raise refuse_overwriting(folder, record)


def _count_jobs(config: DictConfig) -> int:
    """Return how many jobs a multirun has: those of its grid, or the first one, which every other sweeper has."""
    if not str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
        return 1
    params = cast(dict[str, Any], OmegaConf.to_container(config.hydra.sweeper))["params"] or {}
    words = [*(f"{key}={value}" for key, value in params.items()), *read_words(config.hydra.overrides.task)]
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())  # of the options of glob(*)
    overrides = {one.get_key_element(): one for one in parser.parse_overrides(words)}
    return math.prod(len(list_values(one)) for one in overrides.values())


def _describe_study(config: DictConfig) -> dict[str, str]:
    """Return what the parent run keeps of the study, for reports that reach neither its folder nor its storage."""
    from sentiment.search.study.history import read_study, write_history
    from sentiment.tracking.mlflow.parent import HISTORY_ARTIFACT

    return {HISTORY_ARTIFACT: write_history(read_study(config.hydra.sweeper.storage, _sweep_dir(config)))}


def _collect(config: DictConfig, *, is_over: bool) -> SweepTable:
    """Collect the table of the sweep whose command ends; it has no rows where no job began."""
    from sentiment.report.sweep.collect import SweepMissingError, collect_records, collect_sweep

    sweep_dir, objectives = _sweep_dir(config), list_objectives(config.objective)
    storage = config.hydra.sweeper.storage if _is_study(config) else None
    try:
        return collect_sweep(sweep_dir, objectives, storage_url=storage, is_over=is_over)
    except SweepMissingError:
        return collect_records([], sweep_dir.name, objectives)


def _start_parent(config: DictConfig) -> Parent:
    from sentiment.tracking.mlflow.parent import start_sweep  # takes seconds, which a multirun without MLflow saves

    return start_sweep(
        uri=_tracking_uri(config),
        experiment=config.tracking.experiment,
        artifact_dir=str((Path(config.hydra.runtime.cwd) / expand_home(config.tracking.artifact_dir)).resolve()),
        sweep_dir=_sweep_dir(config),
        project_dir=PROJECT_DIR,
        overrides=read_words(config.hydra.overrides.task),
        base_yaml=OmegaConf.to_yaml(without_hydra(config)),
        study=name_own(config) if _is_study(config) else None,
    )


def name_own(config: DictConfig) -> str | None:
    """Return the name that a study was given; None where its command names it."""
    name = config.hydra.sweeper.study_name
    default = name_study(str(config.hydra.runtime.choices.get("search")), config.hydra.overrides.task)
    return None if name in (None, default) else str(name)


def _sweep_dir(config: DictConfig) -> Path:
    return (Path(config.hydra.runtime.cwd) / str(config.hydra.sweep.dir)).resolve()


def _tracking_uri(config: DictConfig) -> str:
    return anchor_store(config.tracking.uri, Path(config.hydra.runtime.cwd))


def _is_study(config: DictConfig) -> bool:
    return bool(config.hydra.sweeper._target_ == STUDY_SWEEPER)


def _ending(table: SweepTable, interruption: BaseException | None) -> Ending:
    """Tell how the sweep ended: interrupted, with jobs that failed, or well.

    Failures of a study within its allowed rate are no failure of the study; beyond it, the study raises.
    """
    states = Counter(row.state for row in table.rows if row.state not in ("complete", "pruned"))
    if states and not table.is_study and (interruption is None or isinstance(interruption, Exception)):
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        return Ending("FAILED", "exception", f"{states.total()} of {len(table.rows)} jobs: {counts}")
    return FINISHED if interruption is None else ending_of(interruption)


def _give_up(error: Exception) -> None:
    _complain(error)
    raise SystemExit(1) from error


def _complain(error: Exception) -> None:
    if isinstance(error, SentimentError) and os.environ.get("HYDRA_FULL_ERROR") != "1":
        print(f"\n{mask_passwords(str(error))}", file=sys.stderr)
    else:
        sys.excepthook(type(error), error, error.__traceback__)  # that of `sentiment.exits` explains a full disk

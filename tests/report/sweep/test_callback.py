"""A multirun's parent run and report, called as Hydra calls them."""

from __future__ import annotations

import pickle
import re
import shlex
import shutil
import socket
import subprocess
import sys
import warnings

import cloudpickle
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from mlflow import MlflowClient
from optuna.trial import TrialState, create_trial

from sentiment.__main__ import main
from sentiment.config.home import PROJECT_DIR
from sentiment.config.run_context import CALLER
from sentiment.report.sweep.callback import SweepCallback, explain_watching, name_own
from sentiment.report.sweep.closing import close_ended, close_killed
from sentiment.report.sweep.collect import collect_sweep
from sentiment.search.progress import StudyState
from sentiment.search.space.points import REPLACES_KEY
from sentiment.search.study.outcome import OUTCOME_KEY, Outcome
from sentiment.search.study.trial import ATTEMPT_KEY
from sentiment.tracking import runs
from sentiment.tracking.alive import ALIVE_FILE, RUN_FILE, Alive
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.parent_file import Parent, read_parent
from sentiment.tracking.result_file import read_result, read_result_of, read_results, write_result


@pytest.fixture
def store(empty_store, tmp_path):
    shutil.copy(empty_store, tmp_path / "mlflow.db")


@pytest.fixture
def make_config(tmp_path, project_dir):
    """Compose the configuration of a multirun below `tmp_path`, as Hydra hands it to a callback."""

    def make(*overrides):
        places = [
            f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
            f"tracking.artifact_dir={tmp_path}/mlartifacts",
            f"hydra.sweep.dir={tmp_path}/sweep",
            f"hydra.runtime.cwd={tmp_path}",
            "hydra.overrides.task=['seed=0,1']",
        ]
        with initialize_config_dir(str(project_dir / "conf")):
            return compose("config", [*places, *overrides], return_hydra_config=True)

    return make


@pytest.fixture
def run_sweep(make_record, tmp_path):
    """Run a multirun of two jobs as Hydra does: start, jobs, and the end from a `finally`."""

    def run(config, error=None, **second):
        callback = SweepCallback()
        with initialize_config_dir(str(PROJECT_DIR / "conf")):  # Hydra is there when it calls
            callback.on_multirun_start(config)
        assert cloudpickle.loads(cloudpickle.dumps(callback)), "launchers take it along to their jobs"
        try:
            write_result(tmp_path / "sweep/0", make_record(0, "rnn", "seed=0", accuracy=0.7))
            write_result(tmp_path / "sweep/1", make_record(1, "rnn", "seed=1", accuracy=0.9, **second))
            if error is not None:
                raise error
        finally:
            callback.on_multirun_end(config)

    return run


def parent_of(tmp_path):
    parent = read_parent(tmp_path / "sweep")
    return MlflowClient(tracking_uri=parent.uri).get_run(parent.run_id)


@pytest.mark.usefixtures("store")
def test_a_multirun_from_start_to_end(make_config, run_sweep, tmp_path, capsys):
    run_sweep(make_config())
    parent = parent_of(tmp_path)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "sweep seed=0,1"
    assert (parent.data.tags["trials"], parent.data.tags["best.run_id"]) == ("2", "run1")
    assert "2 finished, ranked by val/accuracy" in capsys.readouterr().out
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert files == {"config", "ranking.csv", "comparison.png", "report"}
    report = {file.path for file in client.list_artifacts(parent.info.run_id, "report")}
    assert {"report/report.html", "report/plots", "report/ranking.csv"} <= report


@pytest.mark.usefixtures("store")
def test_a_multirun_in_the_folder_of_one_that_has_ended_takes_nothing_of_it(make_config, run_sweep, tmp_path, capsys):
    run_sweep(make_config())
    command, parent = tmp_path / "sweep/command.txt", read_parent(tmp_path / "sweep")
    written = command.read_text()
    for subdir in ("${hydra.job.num}", "${hydra:job.num}"):
        config = make_config("optimizer.lr=0.5", f"hydra.sweep.subdir={subdir}")
        with initialize_config_dir(str(PROJECT_DIR / "conf")), pytest.raises(SystemExit):
            SweepCallback().on_multirun_start(config)
        assert "0/result.json holds a run that is FINISHED" in capsys.readouterr().err
    assert command.read_text() == written
    assert read_parent(tmp_path / "sweep") == parent
    assert parent_of(tmp_path).info.status == "FINISHED"
    (tmp_path / "sweep/0/result.json").write_text("{")  # damaged: told by its job; another one has ended, too
    (tmp_path / "sweep" / ALIVE_FILE).touch()  # and its command was killed
    same, again = make_config(), make_config()
    with initialize_config_dir(str(PROJECT_DIR / "conf")), pytest.raises(SystemExit):
        SweepCallback().on_multirun_start(same)
    assert "1/result.json holds a run that is FINISHED" in capsys.readouterr().err
    assert (tmp_path / "sweep" / ALIVE_FILE).exists()  # by which it will be closed
    again.hydra.overrides.task = ["seed=0"]
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        (first := SweepCallback()).on_multirun_start(again)  # the first job alone, which has no result
    first._alive.end()
    own = make_config("hydra.sweep.subdir=${hydra.job.override_dirname}")
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        SweepCallback().on_multirun_start(own)  # its jobs have folders of their own


def test_a_parent_is_called_by_the_name_that_its_study_was_given(make_config):
    assert name_own(make_config("search=rnn")) is None
    assert name_own(make_config("search=rnn", "hydra.sweeper.study_name=mine")) == "mine"


def test_a_multirun_tells_who_asked_where_it_is_and_refuses_to_be_a_single_run(
    make_config, tmp_path, monkeypatch, capsys
):
    config = make_config("tracking=none")
    monkeypatch.setenv(CALLER, f"sweep:{tmp_path}/answer")
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        SweepCallback().on_multirun_start(config)
    assert (tmp_path / "answer").read_text() == str(tmp_path / "sweep")
    monkeypatch.setenv(CALLER, f"run:{tmp_path}/other")
    for study in ([], ["search=rnn"]):
        with pytest.raises(SystemExit):
            SweepCallback().on_multirun_start(make_config("tracking=none", *study))
        monkeypatch.setenv(CALLER, f"run:{tmp_path}/other")
        assert "api.run is for a run" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_failed_trial_is_noted_as_replaced_in_the_folder_that_it_had(make_config, tmp_path):
    folder = tmp_path / "sweep/seed3"
    Outbox(folder).note("tags", tags={})
    earlier = create_trial(state=TrialState.FAIL, system_attrs={ATTEMPT_KEY.format(repeat=0): {"folder": "seed3"}})
    later = create_trial(value=0.5, user_attrs={REPLACES_KEY: 0})
    earlier.number, later.number = 0, 1
    callback = SweepCallback()
    callback._parent = Parent("sqlite:///none.db", "1", "e" * 32)
    state = StudyState("mine", tmp_path / "sweep", ["maximize"], 2, [later], [], [], 0.0, replaced=[earlier])
    callback.on_trial_end(make_config("tracking=none"), later, state)
    callback.on_study_end(make_config("tracking=none"), state)
    callback.close_unheard([])
    assert [note["tags"] for _, note in Outbox(folder).read()] == [{}, {"trial.replaced_by": "1"}]


@pytest.fixture
def short_report(monkeypatch):
    """Put a page of a word in the place of the real one, which takes seconds to draw."""

    def write(table, folder, sweep_dir):
        folder.mkdir()
        (folder / "report.html").write_text("a word", encoding="utf-8")
        return [folder / "report.html"]

    monkeypatch.setattr("sentiment.report.sweep.page.write_report", write)


@pytest.mark.usefixtures("store", "short_report")
def test_a_failed_job_fails_the_parent_with_a_count(make_config, run_sweep, tmp_path):
    config = make_config()
    with pytest.raises(ValueError, match="job"):
        run_sweep(config, ValueError("job 1"), status="FAILED", reason="ValueError: job 1")
    parent = parent_of(tmp_path)
    assert parent.info.status == "FAILED"
    assert parent.data.tags["failure.reason"] == "1 of 2 jobs: 1 failed"


@pytest.mark.usefixtures("store")
def test_ctrl_c_kills_the_parent_and_still_reports(make_config, run_sweep, tmp_path, capsys):
    config = make_config()
    with pytest.raises(KeyboardInterrupt):
        run_sweep(config, KeyboardInterrupt(), status="KILLED", reason="interrupted (Ctrl-C)")
    assert parent_of(tmp_path).info.status == "KILLED"
    assert (tmp_path / "sweep/report/report.html").exists()
    assert "job 1: rnn seed=1: KILLED: interrupted (Ctrl-C)" in capsys.readouterr().out


@pytest.mark.usefixtures("short_report")
@pytest.mark.parametrize("tracking", ["none", "tensorboard"])
def test_without_mlflow_there_is_a_report_and_no_store(make_config, run_sweep, tmp_path, capsys, tracking):
    run_sweep(make_config(f"tracking={tracking}"))
    assert "2 finished" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"sweep"}
    written = {path.name for path in (tmp_path / "sweep").iterdir()}
    assert written == {"0", "1", "command.txt", "ranking.csv", "comparison.png", "report"}


def test_a_store_that_cannot_be_opened_ends_the_multirun_through_hydras_net(make_config, tmp_path, capsys):
    (tmp_path / "mlflow.db").write_text("no database " * 100, encoding="utf-8")
    config = make_config()
    callbacks = Callbacks()  # turns an exception of a callback into a warning, but not SystemExit
    callbacks.callbacks.append(SweepCallback())
    with initialize_config_dir(str(PROJECT_DIR / "conf")), pytest.raises(SystemExit) as caught:
        callbacks.on_multirun_start(config=config)
    assert caught.value.code == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        callbacks.on_multirun_end(config=config)  # Hydra calls it all the same: nothing to report
    printed = capsys.readouterr()
    assert "not a database" in printed.err
    assert "tracking=none" in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.usefixtures("store")
def test_a_report_that_fails_is_told_and_the_parent_ended(make_config, run_sweep, tmp_path, capsys):
    config = make_config()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/report").touch()  # where the folder should be
    with pytest.raises(SystemExit):
        run_sweep(config)
    assert "report" in capsys.readouterr().err
    assert parent_of(tmp_path).info.status == "FINISHED"


@pytest.mark.usefixtures("store")
def test_a_report_that_fails_does_not_hide_the_first_error(make_config, run_sweep, tmp_path, capsys):
    config = make_config()
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/report").touch()  # where the folder should be
    with pytest.raises(KeyboardInterrupt):
        run_sweep(config, KeyboardInterrupt())
    assert "report" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_an_emptied_result_is_named_and_costs_no_report(make_config, run_sweep, tmp_path):
    config = make_config()
    (tmp_path / "sweep/9").mkdir(parents=True)
    (tmp_path / "sweep/9/result.json").touch()
    run_sweep(config)
    table = collect_sweep(tmp_path / "sweep")
    assert [row.number for row in table.rows] == [1, 0]
    assert "9/result.json cannot be read" in table.notes[0]
    assert parent_of(tmp_path).info.status == "FINISHED"


def test_the_callback_imports_nothing_heavy(project_dir):
    code = (
        "import sys, sentiment.report.sweep.callback; print({'mlflow', 'torch', 'matplotlib', 'rich'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project_dir, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "set()\n"


def test_a_study_says_how_to_watch_it(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path)
    text = explain_watching(make_config("search=study"), tmp_path / "mine")
    assert "python -m sentiment watch mine" in text
    assert f"optuna-dashboard {tmp_path}/mine/journal.log" in text
    config = make_config("search=study", "hydra.sweeper.storage=postgresql://me:secret@host/studies")
    text = explain_watching(config, tmp_path / "mine")
    assert "optuna-dashboard postgresql+psycopg://me@host/studies" in text
    assert "secret" not in text


@pytest.mark.usefixtures("store")
def test_a_stopped_multirun_says_how_it_goes_on(make_config, run_sweep, caplog):
    caplog.set_level("INFO")
    with pytest.raises(KeyboardInterrupt):
        run_sweep(make_config(), error=KeyboardInterrupt())
    assert "with search=grid it would go on" in caplog.text


KILLED = """
import os, signal, sys
from pathlib import Path
from sentiment.tracking.alive import ALIVE_FILE, Alive
alive = Alive(Path(sys.argv[1]), ALIVE_FILE)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.usefixtures("store", "short_report")
def test_a_multirun_that_was_killed_is_closed_by_the_next_one(
    make_config, run_sweep, make_record, tmp_path, project_dir
):
    """Its jobs, in their folders and for MLflow, and its parent run; one that lives is left alone."""
    config = make_config(f"hydra.sweep.dir={tmp_path}/killed")
    SweepCallback()._start(config)
    killed = tmp_path / "killed"
    (killed / ALIVE_FILE).unlink()
    write_result(killed / "0", make_record(0, "rnn", "seed=0", accuracy=0.7))
    write_result(killed / "1", make_record(1, "rnn", "seed=1", accuracy=0.9, status="RUNNING"))
    living = Alive(tmp_path / "living", ALIVE_FILE)
    write_result(tmp_path / "living/0", make_record(0, "rnn", "seed=0", accuracy=0.7, status="RUNNING"))
    subprocess.run([sys.executable, "-c", KILLED, str(killed)], cwd=project_dir, check=False, timeout=60)

    run_sweep(make_config())
    assert read_result(killed / "1/result.json").reason == "the command was killed"
    assert read_result(killed / "0/result.json").status == "FINISHED"
    assert read_result(tmp_path / "living/0/result.json").status == "RUNNING"
    assert [sign.parent.name for sign in tmp_path.glob(f"*/{ALIVE_FILE}")] == ["living"]
    main(["sync", str(killed)])
    parent = read_parent(killed)
    run = MlflowClient(tracking_uri=parent.uri).get_run(parent.run_id)
    assert (run.info.status, run.data.tags["failure.reason"]) == ("KILLED", "the command was killed")
    living.end()


@pytest.mark.usefixtures("store", "short_report")
def test_a_parent_names_the_runs_that_mlflow_was_given_after_the_sweep(make_config, run_sweep, tmp_path, capsys):
    run_sweep(make_config(), run_id=None)
    before = parent_of(tmp_path)
    assert "best.run_id" not in before.data.tags
    client, parent = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db"), read_parent(tmp_path / "sweep")
    run = client.create_run(parent.experiment_id)
    outbox = Outbox(tmp_path / "sweep" / "1")
    outbox.begin(run.info.run_id, parent.uri)
    outbox.note("tags", tags={"late": "yes"})

    main(["sync", str(tmp_path / "sweep")])
    assert capsys.readouterr().out.endswith("1 delivered.\n")
    after = parent_of(tmp_path)
    assert after.data.tags["best.run_id"] == run.info.run_id
    assert run.info.run_id in after.data.tags["mlflow.note.content"]
    assert (after.info.status, after.info.end_time) == (before.info.status, before.info.end_time)
    main(["sync", str(tmp_path / "sweep")])
    assert capsys.readouterr().out == "Everything is delivered.\n"


@pytest.mark.usefixtures("store", "short_report")
def test_a_relative_database_of_a_multirun_starts_where_the_command_was_started(
    make_config, run_sweep, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run_sweep(make_config("tracking.uri=sqlite:///mlflow.db"))
    assert read_parent(tmp_path / "sweep").uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert parent_of(tmp_path).info.status == "FINISHED"


def test_a_launcher_can_send_it_to_its_jobs_while_it_delivers(make_config, store):
    callback = SweepCallback()
    config = make_config()
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        callback.on_multirun_start(config)
    sent = pickle.loads(pickle.dumps(callback))
    sent.on_multirun_end(config)  # the sweep is not its own: it ends nothing
    assert (PROJECT_DIR / config.hydra.sweep.dir / ALIVE_FILE).exists()
    callback.on_multirun_end(config)


def test_a_study_that_has_all_its_trials_is_not_to_be_watched(make_config, tmp_path, caplog):
    config, trial = make_config("search=study", "tracking=none"), create_trial(value=0.5)
    with caplog.at_level("INFO"):
        for total, is_told in ((2, True), (1, False), (None, True)):
            caplog.clear()
            state = StudyState("mine", tmp_path, ["maximize"], total, [trial], [trial], [], 0.0)
            SweepCallback().on_study_start(config, state)
            assert ("Watch it" in caplog.text) is is_told


def start(callback, config):
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        callback.on_multirun_start(config)


def kill(sweep_dir):
    subprocess.run([sys.executable, "-c", KILLED, str(sweep_dir)], cwd=PROJECT_DIR, check=False, timeout=60)


def test_a_second_multirun_leaves_the_folder_of_a_living_one_as_it_is(make_config, tmp_path, capsys):
    first, config = SweepCallback(), make_config("tracking=none")
    start(first, config)
    (tmp_path / "sweep/command.txt").write_text("the first one's")
    with pytest.raises(SystemExit):
        start(SweepCallback(), config)
    assert f"Another command works in {tmp_path}/sweep, on {socket.gethostname()}.\n  -> " in capsys.readouterr().err
    assert (tmp_path / "sweep/command.txt").read_text() == "the first one's"
    first.on_multirun_end(config)


@pytest.mark.usefixtures("store", "short_report")
def test_the_next_multirun_in_the_folder_of_a_killed_one_closes_its_jobs_alone(
    make_config, run_sweep, make_record, tmp_path
):
    """And not its parent run, which is taken up again."""
    kill(tmp_path / "sweep")
    write_result(tmp_path / "sweep/2", make_record(2, "rnn", "seed=2", accuracy=0.9, status="RUNNING"))
    run_sweep(make_config())
    assert read_result(tmp_path / "sweep/2/result.json").reason == "the command was killed"
    notes = [note for _, note in Outbox(tmp_path / "sweep").read() if note["kind"] == "sweep_end"]
    assert [note["ending"]["reason"] for note in notes] == ["1 of 3 jobs: 1 failed"]


@pytest.mark.usefixtures("short_report")
def test_a_job_that_died_has_failed_in_the_report_of_its_own_command(make_config, run_sweep, tmp_path):
    run_sweep(make_config("tracking=none"), status="RUNNING")
    assert read_result(tmp_path / "sweep/1/result.json").status == "FAILED"
    table = collect_sweep(tmp_path / "sweep")
    assert [(row.state, row.reason) for row in table.rows if row.number == 1] == [
        ("failed", "its process ended without a word")
    ]


def test_a_killed_multirun_is_not_closed_while_a_job_goes_on_without_it(make_record, tmp_path):
    kill(tmp_path)
    write_result(tmp_path / "0", make_record(0, "rnn", "seed=0", accuracy=0.7, status="RUNNING"))
    job = Alive(tmp_path / "0", RUN_FILE)
    assert not close_killed(tmp_path)
    assert read_result(tmp_path / "0/result.json").status == "RUNNING"
    job.end()
    assert close_killed(tmp_path)
    assert read_result(tmp_path / "0/result.json").status == "FAILED"


def test_a_multirun_of_another_machine_is_not_closed_from_here_unless_a_person_says_that_it_was_killed(
    make_record, tmp_path, caplog
):
    """Its lock may not be seen from here: on some file systems locks end at the machine."""
    caplog.set_level("INFO")
    write_result(tmp_path / "0", make_record(0, "rnn", "seed=0", accuracy=0.7, status="RUNNING"))
    (tmp_path / ALIVE_FILE).write_text("node-17")
    assert not close_killed(tmp_path)
    assert read_result(tmp_path / "0/result.json").status == "RUNNING"
    assert "worked on node-17" in caplog.text
    [remedy] = re.findall("truncate .*(?=, then)", caplog.text)
    subprocess.run(shlex.split(remedy), check=True)
    assert close_killed(tmp_path)
    assert read_result(tmp_path / "0/result.json").status == "FAILED"


@pytest.fixture
def make_trial(make_record, tmp_path):
    """Make a trial that has ended, and the record of its run, which says otherwise."""

    def make(number, state, status, reason, kind=None, **attributes):
        folder = tmp_path / "sweep" / str(number)
        write_result(folder, make_record(number, status=status))
        (folder / "checkpoints").mkdir()
        Outbox(folder).note("tags", tags={})
        kept = {OUTCOME_KEY.format(repeat=0): Outcome("pruned", reason=reason).to_json()} if state == "PRUNED" else {}
        failure = {"failure.kind": kind, "failure.reason": reason} if state == "FAIL" else {}
        trial = create_trial(
            state=TrialState[state],
            values=[0.5] if state == "COMPLETE" else None,
            system_attrs={ATTEMPT_KEY.format(repeat=0): {"folder": str(number)}, **kept},
            user_attrs={**failure, **attributes},
        )
        trial.number = number
        return trial

    return make


def read_end(folder):
    record = read_result(folder / "result.json")
    return record.status, record.kind, record.reason


@pytest.mark.parametrize("status", ["PAUSED", "RUNNING", "KILLED"])
def test_records_of_trials_that_ended_unheard_are_closed_when_a_command_on_their_study_ends(
    make_config, make_trial, tmp_path, status
):
    """Their command was killed before it could say so, the space has changed, or they took it down once too often."""
    pruned = make_trial(0, "PRUNED", status, "its point is none of the space any more")
    failed = make_trial(1, "FAIL", status, "3 commands died while they ran it", "worker_died")
    stopped = make_trial(2, "FAIL", status, "Ctrl-C", "interrupted")
    elsewhere = make_trial(3, "PRUNED", status, "not promoted")
    alive = Alive(tmp_path / "sweep/3", RUN_FILE)
    again = make_trial(4, "COMPLETE", "FINISHED", None, **{REPLACES_KEY: 1})
    callback, trials = SweepCallback(), [pruned, stopped, elsewhere, again]
    callback._parent = Parent("sqlite:///none.db", "1", "e" * 32)
    state = StudyState("mine", tmp_path / "sweep", ["maximize"], 4, trials, [], [], 0.0, replaced=[failed])
    callback.on_study_end(make_config("tracking=none"), state)
    assert [callback.close_unheard(read_results(tmp_path / "sweep")[0]) for _ in range(2)] == [True, False]
    assert read_end(tmp_path / "sweep/0") == ("PRUNED", None, "its point is none of the space any more")
    assert not (tmp_path / "sweep/0/checkpoints").exists()
    assert read_end(tmp_path / "sweep/1") == ("FAILED", "worker_died", "3 commands died while they ran it")
    assert [note["kind"] for _, note in Outbox(tmp_path / "sweep/1").read()] == ["tags", "end", "tags"]
    assert read_end(tmp_path / "sweep/2")[0] == "KILLED"
    assert read_end(tmp_path / "sweep/3")[0] == status, "a process works there"
    assert read_end(tmp_path / "sweep/4")[0] == "FINISHED"
    alive.end()


def test_each_failed_trial_of_a_chain_is_tagged_with_the_one_that_stands_for_it(make_config, make_trial, tmp_path):
    """Also the first one where the command of the second was killed before it could tell."""
    first = make_trial(0, "FAIL", "FAILED", "too deep", "exception")
    second = make_trial(5, "FAIL", "FAILED", "too deep", "exception", **{REPLACES_KEY: 0})
    third = make_trial(9, "COMPLETE", "FINISHED", None, **{REPLACES_KEY: 5})
    callback = SweepCallback()
    callback._parent = Parent("sqlite:///none.db", "1", "e" * 32)
    state = StudyState("mine", tmp_path / "sweep", ["maximize"], 1, [third], [], [], 0.0, replaced=[first, second])
    callback.on_study_end(make_config("tracking=none"), state)
    callback.close_unheard([])
    told = [Outbox(tmp_path / f"sweep/{number}").read()[-1][1]["tags"] for number in (0, 5, 9)]
    assert told == [{"trial.replaced_by": "5"}, {"trial.replaced_by": "9"}, {}]


def test_records_that_cannot_be_amended_do_not_end_the_command(make_config, make_trial, tmp_path, monkeypatch, caplog):
    """Those of another person on the study, whose folders are closed to this one, or on a full disk."""
    closed = make_trial(0, "PRUNED", "PAUSED", "not promoted")
    full = make_trial(1, "FAIL", "FAILED", "too deep", "exception")
    (tmp_path / "sweep/1/mlflow.jsonl").unlink()
    (tmp_path / "sweep/1/mlflow.jsonl").mkdir()
    later = make_trial(2, "COMPLETE", "FINISHED", None, **{REPLACES_KEY: 1})
    left = make_trial(3, "PRUNED", "PAUSED", "not promoted")

    def read(folder):
        if folder.name == "0":
            raise PermissionError(f"[Errno 13] Permission denied: {folder}")
        return read_result_of(folder)

    monkeypatch.setattr("sentiment.tracking.recorder.read_result_of", read)
    callback, trials = SweepCallback(), [closed, later, left]
    callback._parent = Parent("sqlite:///none.db", "1", "e" * 32)
    state = StudyState("mine", tmp_path / "sweep", ["maximize"], 3, trials, [], [], 0.0, replaced=[full])
    callback.on_study_end(make_config("tracking=none"), state)
    callback.on_trial_end(make_config("tracking=none"), later, state)
    assert callback.close_unheard([])
    assert read_end(tmp_path / "sweep/3")[0] == "PRUNED"
    assert f"{tmp_path}/sweep/1 stays as it is" in caplog.text
    assert f"{tmp_path}/sweep/0" not in caplog.text, "each of its commands would say so of each of them"


def test_records_that_tell_an_end_are_not_read_again_when_a_study_ends(make_config, make_trial, tmp_path, monkeypatch):
    """A study may have thousands of pruned trials."""
    trials = [make_trial(0, "PRUNED", "PRUNED", "not promoted"), make_trial(1, "PRUNED", "PAUSED", "not promoted")]
    callback, looked_at = SweepCallback(), []
    state = StudyState("mine", tmp_path / "sweep", ["maximize"], 2, trials, [], [], 0.0)
    callback.on_study_end(make_config("tracking=none"), state)
    records = read_results(tmp_path / "sweep")[0]
    monkeypatch.setattr("sentiment.report.sweep.closing.is_alive", lambda folder, name: looked_at.append(folder.name))
    assert callback.close_unheard(records)
    assert looked_at == ["1"]


def test_the_record_of_another_trial_that_has_come_to_the_folder_stays(make_trial, make_record, tmp_path):
    failed = make_trial(1, "FAIL", "FAILED", "too deep", "exception")
    write_result(tmp_path / "sweep/1", make_record(4, status="PAUSED"))
    close_ended(failed, tmp_path / "sweep", 1)
    assert read_end(tmp_path / "sweep/1")[0] == "PAUSED"

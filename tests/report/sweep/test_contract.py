"""One truth: every form in which a sweep is told has the same winner, the same order and the same states.

Sweeps run as they do for people, through Hydra and the engine; only training is replaced: a job knows its result.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import execution_whitelist
from mlflow import MlflowClient
from omegaconf import OmegaConf
from optuna.trial import TrialState

from sentiment.errors import RunPruned, SentimentError
from sentiment.report.compare.comparison import keep_finished
from sentiment.report.record.store import collect_part, read_parts, store_part
from sentiment.report.sweep.best import choose_best
from sentiment.report.sweep.collect import collect_parent, collect_sweep
from sentiment.report.sweep.names import open_sweep
from sentiment.report.sweep.page import report_sweep
from sentiment.report.sweep.table import SweepTable
from sentiment.report.sweep.tables import explain_row
from sentiment.search import register
from sentiment.search.storage.opening import open_storage
from sentiment.search.study.current import current_trial
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.parent_file import read_parent
from sentiment.tracking.result_file import ResultRecord, read_results, write_result

ACCURACIES = {1: 0.70, 2: 0.80, 3: 0.90, 4: 0.95, 5: 0.60, 6: 0.50, 7: 0.55, 8: 0.40}
"""By depth. The size grows with it, 1,000 parameters per layer; 4 breaks the limit where there is one."""

FAILS, IS_PRUNED = 5, 6

LIMIT = "hydra.sweeper.limits={model/parameters: 3500}"


@dataclass(frozen=True)
class Told:
    """What a form tells: trials in its order; rank, state and front by trial."""

    order: tuple[int, ...]
    ranks: dict[int, int]
    states: dict[int, str]
    front: frozenset[int] | None


class Interruption:
    """Interrupts the jobs of some depths, once each."""

    def __init__(self, *depths: int) -> None:
        self.depths = set(depths)

    def strike(self, depth: int) -> None:
        if depth in self.depths:
            self.depths.remove(depth)
            raise KeyboardInterrupt


def train(config, interruption: Interruption) -> float | tuple[float, ...]:
    """Do what a job does, without training: leave a record, describe the trial, return the objectives."""
    hydra, depth = HydraConfig.get(), config.model.depth
    folder, number = Path(hydra.runtime.output_dir), hydra.job.num
    objectives = [config.objective] if isinstance(config.objective, str) else list(config.objective)
    accuracy = ACCURACIES[depth] + config.seed / 100
    record = ResultRecord(
        name=f"rnn {number}", model="rnn", status="RUNNING", started=datetime.now(timezone.utc).isoformat(),
        overrides=tuple(hydra.overrides.task), params={"objective": json.dumps(objectives)}, job_number=number,
        run_id=f"{number:032x}", parameters=1000 * depth, seconds=8.0,
    )  # fmt: skip
    reached = {"val/accuracy": accuracy, "val/loss": 1 - accuracy}
    write_result(folder, record)
    try:
        interruption.strike(depth)
    except KeyboardInterrupt:
        write_result(folder, replace(record, status="KILLED", kind="interrupted", reason="interrupted (Ctrl-C)"))
        raise
    if depth == FAILS:
        write_result(folder, replace(record, status="FAILED", kind="exception", reason="ValueError: too deep"))
        raise ValueError("too deep")
    if depth == IS_PRUNED:
        write_result(folder, replace(record, status="PRUNED", reason="below the median", metrics=reached))
        raise RunPruned("below the median")
    write_result(folder, replace(record, status="FINISHED", metrics=reached, epochs=1.0, best_epoch=1.0))
    outcome = {**reached, "model/parameters": 1000.0 * depth, "time/fit_seconds": 8.0}
    trial = current_trial()
    if trial is not None:
        trial.describe(outcome)
    values = tuple(outcome[name] for name in objectives)
    return values if len(values) > 1 else values[0]


@pytest.fixture
def run_sweep(tmp_path, project_dir, empty_store, monkeypatch, capsys):
    """Run a sweep of small networks by depth; gives its folder and what it printed at last."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sentiment.report.sweep.page.write_png", lambda chart, file: file.touch())  # takes a second
    sweep_dir = tmp_path / "multirun/mine"
    settings = (
        "model=rnn", f"hydra.sweep.dir={sweep_dir}", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
        f"tracking.artifact_dir={tmp_path}/mlartifacts", "hydra/job_logging=none", "hydra/hydra_logging=none",
    )  # fmt: skip

    def run(*overrides, interruption=None):
        GlobalHydra.instance().clear()
        hydra = Hydra.create_main_hydra2("sentiment", create_config_search_path(str(project_dir / "conf")))
        steps = interruption or Interruption()
        capsys.readouterr()
        with execution_whitelist("sentiment.report.sweep.callback.SweepCallback"):
            hydra.multirun(
                "config", lambda config: train(config, steps), [*settings, *overrides], with_log_configuration=False
            )
        return sweep_dir

    register()
    yield run
    register()
    GlobalHydra.instance().clear()


STUDY = (
    "hydra.sweeper.n_jobs=1", "hydra.sweeper.progress=none", "hydra.sweeper.max_failure_rate=1",
    "hydra.sweeper.study_name=mine", "hydra/sweeper/pruner=none", "hydra.sweeper.retry=none",
)  # fmt: skip


def read_terminal(text: str) -> Told:
    rows = re.compile(r"^ *(\d+|limit|pruned) +(yes)? +(\d+) +rnn\b", re.MULTILINE).findall(text)
    rest = re.findall(r"^  (?:trial|job) (\d+): .*?: (FAILED|KILLED|RUNNING|WAITING)(?:: |$)", text, re.MULTILINE)
    states = {int(number): "pruned" if rank == "pruned" else "complete" for rank, _, number in rows}
    states |= {int(number): state.lower() for number, state in rest}
    ranks = {int(number): int(rank) for rank, _, number in rows if rank.isdigit()}
    front = frozenset(int(number) for _, mark, number in rows if mark)
    return Told(tuple(states), ranks, states, front if " front " in text.partition("model")[0] else None)


def read_ranking(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Told:
    told = [dict(zip(columns, row, strict=True)) for row in rows]
    number = "trial" if "trial" in columns else "job"
    return Told(
        order=tuple(int(row[number]) for row in told),
        ranks={int(row[number]): int(row["rank"]) for row in told if row["rank"]},
        states={int(row[number]): row["status"].lower().replace("finished", "complete") for row in told},
        front=frozenset(int(row[number]) for row in told if row["front"] == "True") if "front" in columns else None,
    )


def read_csv(content: bytes) -> Told:
    columns, *rows = csv.reader(io.StringIO(content.decode()))
    return read_ranking(columns, rows)


def read_page(page: str) -> Told:
    (table,) = re.findall(r'<table [^>]*id="table-ranking">.*?</table>', page, re.DOTALL)
    columns = re.findall(r'<th [^>]*title="([^"]*)"', table)
    rows = [re.findall(r'<td [^>]*data-value="([^"]*)"', row) for row in table.split("<tr")[2:]]
    return read_ranking(columns, [[unescape(cell) for cell in row] for row in rows])


def tell(table: SweepTable) -> Told:
    return Told(
        order=tuple(row.number for row in table.rows),
        ranks={row.number: row.rank for row in table.rows if row.rank is not None},
        states={row.number: row.state for row in table.rows},
        front=frozenset(row.number for row in table.front) if len(table.objectives) > 1 else None,
    )


def check(sweep_dir: Path, printed: str, status: str = "FINISHED") -> Told:
    """Hold every form of a sweep against its table; gives what all of them tell."""
    table, folder = open_sweep(str(sweep_dir))
    assert folder == sweep_dir
    told = tell(table)
    best = min(told.ranks, key=lambda number: told.ranks[number], default=None)
    content = (sweep_dir / "ranking.csv").read_bytes()
    assert read_terminal(printed) == told
    assert read_csv(content) == told
    assert (sweep_dir / "report/ranking.csv").read_bytes() == content
    assert read_page((sweep_dir / "report/report.html").read_text(encoding="utf-8")) == told
    assert (sweep_dir / "comparison.png").exists() == ("complete" in told.states.values())
    check_best(table, sweep_dir, told, best)
    if read_parent(sweep_dir) is not None:
        check_parent(sweep_dir, told, content, best, status)
        if table.is_study:
            check_results_file(table, sweep_dir, best)
    return told


def check_parent(sweep_dir: Path, told: Told, content: bytes, best: int | None, status: str) -> None:
    parent = read_parent(sweep_dir)
    client = MlflowClient(tracking_uri=parent.uri)
    run = client.get_run(parent.run_id)
    tags = run.data.tags
    counts = {f"trials.{state}": str(count) for state, count in Counter(told.states.values()).items()}
    assert {name: value for name, value in tags.items() if name.startswith("trials.")} == counts
    assert tags["trials"] == str(len(told.states))
    assert tags.get("best.trial") == (None if best is None else str(best))
    assert tags.get("front") == (None if not told.front else ", ".join(map(str, sorted(told.front))))
    assert run.info.status == status
    assert ("failure.kind" in tags) == (status != "FINISHED")
    assert not any(name.startswith("jobs") for name in tags)
    for artifact in ("ranking.csv", "report/ranking.csv"):
        assert Path(client.download_artifacts(parent.run_id, artifact)).read_bytes() == content
    if (sweep_dir / "journal.log").exists():  # the jobs of these tests leave no runs, but the study tells all
        assert tell(collect_parent(parent.run_id, parent.uri)) == told


def check_best(table: SweepTable, sweep_dir: Path, told: Told, best: int | None) -> None:
    if best is None:
        with pytest.raises(SentimentError, match="has no trial of rank"):
            choose_best(table, sweep_dir)
        return
    for number, rank in told.ranks.items():
        assert choose_best(table, sweep_dir, rank).row.number == number
    with pytest.raises(SentimentError, match="has no trial of rank"):
        choose_best(table, sweep_dir, len(told.ranks) + 1)


def check_results_file(table: SweepTable, sweep_dir: Path, best: int | None) -> None:
    file = sweep_dir / "optimization_results.yaml"
    if best is None:
        assert not file.exists()
        return
    content = OmegaConf.to_container(OmegaConf.load(file))
    if len(table.objectives) == 1:
        assert content["best_params"] == dict(table.best.parameters)
        assert content["best_value"] == table.best.values[table.objectives[0]]
    else:
        written = sorted((solution["params"]["model.depth"], *solution["values"]) for solution in content["solutions"])
        assert written == sorted((row.parameters["model.depth"], *row.values.values()) for row in table.front)


def test_a_plain_multirun(run_sweep, capsys):
    told = check(run_sweep("model.depth=2,3,1"), capsys.readouterr().out)
    assert told.order == (1, 0, 2)
    assert set(told.states.values()) == {"complete"}


def test_a_plain_multirun_with_jobs_that_failed_and_were_pruned(run_sweep, capsys, tmp_path):
    with pytest.raises(Exception, match="too deep"):
        run_sweep(f"model.depth=2,3,{FAILS}")
    told = check(tmp_path / "multirun/mine", capsys.readouterr().out, "FAILED")
    assert (told.order, told.states) == ((1, 0, 2), {1: "complete", 0: "complete", 2: "failed"})


def test_a_plain_multirun_that_was_interrupted(run_sweep, capsys, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_sweep("model.depth=2,3", interruption=Interruption(3))
    told = check(tmp_path / "multirun/mine", capsys.readouterr().out, "KILLED")
    assert told.states == {0: "complete", 1: "killed"}


def test_a_grid(run_sweep, capsys):
    told = check(
        run_sweep("search=grid", *STUDY, "model.depth=2,1,3", "hydra.sweeper.n_trials=3"), capsys.readouterr().out
    )
    assert list(told.ranks.values()) == [1, 2, 3]
    assert set(told.states.values()) == {"complete"}


def test_a_study_with_limits_repeats_and_every_state(run_sweep, capsys, tmp_path):
    """Twelve trials of eight points: some are drawn again, one fails, one is pruned, and some break the limit."""
    command = (
        "search=study", *STUDY, f"model.depth=1,2,3,4,{FAILS},{IS_PRUNED}", LIMIT, "hydra.sweeper.repeats=2",
        "hydra.sweeper.n_trials=14", "hydra.sweeper.sampler.n_startup_trials=14", "hydra.sweeper.start=[]",
    )  # fmt: skip
    interruption = Interruption(1)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(*command, interruption=interruption)
    told = check(tmp_path / "multirun/mine", capsys.readouterr().out, "KILLED")
    assert "waiting" in told.states.values()

    run_sweep(*command, interruption=interruption)
    told = check(tmp_path / "multirun/mine", capsys.readouterr().out)
    table, _ = open_sweep(str(tmp_path / "multirun/mine"))
    assert set(told.states.values()) == {"complete", "pruned", "failed"}
    assert table.best.parameters["model.depth"] == 3, "depth 4 is better, but over the limit"
    assert table.best.values["val/accuracy"] == pytest.approx(0.905), "the mean over the seeds 0 and 1"
    assert len(table.best.runs) == 2
    over = [row for row in table.rows if row.excess]
    assert {row.parameters["model.depth"] for row in over} == {4}
    assert {row.rank for row in over} == {None}
    assert any(row.reused_from is not None for row in table.rows)
    store_part(tmp_path, collect_part("mine", str(tmp_path / "multirun/mine")))
    [part] = read_parts(tmp_path)
    assert tell(part.table) == tell(table)
    assert [row.number for row in part.table.rows if row.excess] == [row.number for row in over]


def test_a_grid_whose_failed_trial_was_tried_again(run_sweep, capsys, tmp_path):
    """Attempts that were replaced count nowhere: in no table, count or fact, from the folder or from MLflow."""
    again = ("hydra.sweeper.retry=failed", f"model.depth=2,{FAILS}", "hydra.sweeper.n_trials=2")
    command = ("search=grid", *STUDY, *again)
    first = Outbox(tmp_path / "multirun/mine/0")
    for number in (0, 2):
        with pytest.raises(Exception, match=rf"trial {number}: ValueError: too deep"):
            run_sweep(*command)
        first.note("tags", tags={})  # as a job that is recorded in MLflow does
    assert {"trial.replaced_by": "2"} in [note["tags"] for _, note in first.read()]
    told = check(tmp_path / "multirun/mine", capsys.readouterr().out, "FAILED")
    assert told.states == {1: "complete", 2: "failed"}
    table, _ = open_sweep(str(tmp_path / "multirun/mine"))
    assert [record.job_number for record in table.records] == [1, 2]
    assert not table.notes
    part = collect_part("grid", str(tmp_path / "multirun/mine"))
    assert [record.job_number for record in part.records] == [1, 2]


class Failing(Interruption):
    """Fails the third job, once."""

    def __init__(self) -> None:
        self.count = 0

    def strike(self, depth: int) -> None:
        self.count += 1
        if self.count == 3:
            raise ValueError("not yet")


def test_the_repeats_that_a_trial_takes_over_count_everywhere(run_sweep, capsys, tmp_path):
    command = (
        "search=grid", *STUDY, "hydra.sweeper.retry=failed", "model.depth=1", "hydra.sweeper.n_trials=1",
        "hydra.sweeper.repeats=3", "hydra.sweep.subdir='job_${hydra:job.num}'",
    )  # fmt: skip
    failing, sweep_dir = Failing(), tmp_path / "multirun/mine"
    with pytest.raises(Exception, match="not yet"):
        run_sweep(*command, interruption=failing)
    outboxes = [Outbox(sweep_dir / f"job_{number}") for number in range(3)]
    for outbox in outboxes:
        outbox.note("tags", tags={})  # as a job that is recorded in MLflow does
    run_sweep(*command, interruption=failing)
    assert failing.count == 4
    assert check(sweep_dir, capsys.readouterr().out).states == {1: "complete"}
    tagged = [{"trial.replaced_by": "1"} in [note["tags"] for _, note in outbox.read()] for outbox in outboxes]
    assert tagged == [False, False, True]
    table, _ = open_sweep(str(sweep_dir))
    assert [record.job_number for record in table.records] == [0, 1, 5]
    assert table.best.values["val/accuracy"] == pytest.approx(0.71)
    assert table.best.metrics["val/loss"] == pytest.approx(0.29)
    assert explain_row(table.best) == "has the results of the equal jobs 0, 1"
    assert table.job_of(table.best) == choose_best(table, sweep_dir).record.job_number == 0
    runs = [SimpleNamespace(record=record) for record in read_results(sweep_dir)[0]]
    finished, notes = keep_finished(runs, table)
    assert [run.record.job_number for run in finished] == [0, 1, 5]
    assert notes == ["Left out, because they did not finish: jobs 2 (of no trial)."]
    part = collect_part("grid", str(sweep_dir))
    assert [record.job_number for record in part.records] == [0, 1, 5]


def test_a_study_of_which_no_trial_keeps_the_limits(run_sweep, capsys, tmp_path):
    with pytest.raises(Exception, match="None of the 2 complete trials keeps"):
        run_sweep("search=study", *STUDY, "model.depth=4,7", LIMIT, "hydra.sweeper.n_trials=2")
    told = check(tmp_path / "multirun/mine", capsys.readouterr().out, "FAILED")
    assert (told.ranks, set(told.states.values())) == ({}, {"complete"})


def test_a_study_of_two_objectives(run_sweep, capsys):
    sweep_dir = run_sweep(
        "search=study", *STUDY, "model.depth=1,2,3,5,7,8", "objective=[val/accuracy,model/parameters]",
        "hydra.sweeper.n_trials=10",
    )  # fmt: skip
    told = check(sweep_dir, capsys.readouterr().out)
    table, _ = open_sweep(str(sweep_dir))
    depths = {row.number: row.parameters["model.depth"] for row in table.rows}
    assert told.front == {number for number, depth in depths.items() if depth in (1, 2, 3)}


def test_a_stored_study_with_trials_in_every_state(tmp_path, capsys):
    """Without its command: trials that still run, wait, or were killed, as a report finds them."""
    study = optuna.create_study(storage=open_storage(None, tmp_path), study_name="mine", direction="maximize")
    endings = (
        (TrialState.COMPLETE, 0.7, {}), (TrialState.COMPLETE, 0.9, {}), (TrialState.COMPLETE, 0.7, {"reused_from": 0}),
        (TrialState.PRUNED, None, {}), (TrialState.FAIL, None, {"failure.kind": "exception", "failure.reason": "no"}),
        (TrialState.FAIL, None, {"failure.kind": "interrupted", "failure.reason": "SIGTERM"}),
        (TrialState.RUNNING, None, {}), (TrialState.WAITING, None, {}),
    )  # fmt: skip
    for state, value, attributes in endings:
        trial = optuna.trial.create_trial(
            state=state, value=value, user_attrs=attributes, params={"x": 0.5},
            distributions={"x": optuna.distributions.FloatDistribution(0, 1)},
        )  # fmt: skip
        study.add_trial(trial)
    record = ResultRecord("rnn", "rnn", "FINISHED", "2026-01-01T00:00:00+00:00", job_number=0, metrics={"val/f1": 0.5})
    for job in (0, 1):
        write_result(tmp_path / str(job), replace(record, job_number=job))
    report_sweep(collect_sweep(tmp_path), tmp_path)
    told = check(tmp_path, capsys.readouterr().out)
    assert told.ranks == {1: 1, 0: 2, 2: 3}
    states = ("complete", "complete", "complete", "pruned", "failed", "killed", "running", "waiting")
    assert told.states == dict(enumerate(states))

"""Write the report on a sweep: a page, whose rows lead to the runs, a picture of each plot, and the tables as CSV.

The description on the parent run's page in MLflow is a short form of it: the result, the ranking, and what comes next.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sentiment.atomic import write_text
from sentiment.config.objective import SELECTING
from sentiment.errors import TrackingError, explaining
from sentiment.format import format_count, format_duration, format_metric, format_setting, join_names
from sentiment.report.draw.chart import Chart
from sentiment.report.draw.matplotlib import write_png
from sentiment.report.draw.page import render
from sentiment.report.draw.table import Link, write_markdown, write_table
from sentiment.report.sweep.charts import NAMES, make_charts
from sentiment.report.sweep.charts.trials import make_runs
from sentiment.report.sweep.console import print_table
from sentiment.report.sweep.importance import add_importances
from sentiment.report.sweep.table import SweepRow, SweepTable
from sentiment.report.sweep.tables import make_front, make_ranking, make_tables
from sentiment.tracking.anew import explain_other
from sentiment.tracking.parent_file import MODEL_TRAINING, PARENT_TAG, Parent, read_parent

TABLE_FILE = "ranking.csv"
PICTURE_FILE = "comparison.png"
REPORT_FOLDER = "report"
PAGE_FILE = "report.html"
PLOTS_FOLDER = "plots"

LOCAL_SERVER = "http://127.0.0.1:5000"
"""Where ``mlflow ui`` answers unless it is told otherwise."""

MOST_ROWS = 500
"""Rows of a table that the page shows; the CSV file has them all, and the page says so."""

Links = Mapping[tuple[int, str], tuple[Link, ...]]
"""Position of a row and name of a column to what its cell links."""

SHOWN_ROWS = 10

MOST_CHARACTERS = 7000
"""MLflow takes tags of 8,000."""

MEASURED = ("test/accuracy", "parameters", "seconds")


def report_sweep(table: SweepTable, sweep_dir: Path) -> list[Path]:
    """Print the ranked table; write ``ranking.csv``, ``comparison.png`` and ``report/`` into the sweep's folder.

    Returns:
        What was written: the two files, the picture only where a trial is complete, and the folder.

    Raises:
        SentimentError: They cannot be written.
    """
    print_table(table)
    files, picture = [sweep_dir / TABLE_FILE], make_runs(table)
    with _writing(sweep_dir):
        write_table(make_ranking(table), files[0])
        if picture is not None:
            files.append(sweep_dir / PICTURE_FILE)
            write_png(picture, files[-1])
    page, *_ = write_report(table, sweep_dir / REPORT_FOLDER, sweep_dir)
    print(f"\nReport: {page}")
    return [*files, sweep_dir / REPORT_FOLDER]


def write_report(table: SweepTable, folder: Path, sweep_dir: Path | None = None) -> list[Path]:
    """Write ``report.html``, ``plots/NAME.png`` and the tables as ``NAME.csv``.

    Files of an earlier report are replaced, each at once; a picture whose plot is no more is removed. A sweep without a
    finished run has a page too, which says so. Its rows link to the runs in the sweep's folder, where that is here.

    Returns the files, the page first.

    Raises:
        SentimentError: The folder cannot be written.
    """
    table = add_importances(table)
    charts = make_charts(table)
    plots = {folder / PLOTS_FOLDER / f"{chart.name}.png": chart for chart in charts}
    tables = {folder / f"{data.name}.csv": data for data in make_tables(table)}
    page = folder / PAGE_FILE
    with _writing(folder):
        (folder / PLOTS_FOLDER).mkdir(parents=True, exist_ok=True)
        for file, data in tables.items():
            write_table(data, file)
        links = {} if sweep_dir is None else link_rows(table, sweep_dir, folder)
        write_text(page, render_page(table, charts, links))
        for file, chart in plots.items():
            write_png(chart, file)
        for file in {folder / PLOTS_FOLDER / f"{name}.png" for name in NAMES} - set(plots):
            file.unlink(missing_ok=True)
    return [page, *tables, *plots]


def _writing(folder: Path) -> AbstractContextManager[None]:
    remedy = "free space there, or choose another folder: python -m sentiment report STUDY --output FOLDER"
    return explaining(f"The report cannot be written to {folder}", remedy)


def render_page(
    table: SweepTable, charts: Sequence[Chart], links: Links | None = None, template: str = "sweep", **content: Any
) -> str:
    """Render the page about a sweep; its ranking links to the runs.

    `template` extends that of the report, and `content` is what it shows beside the report.
    """
    tables = {data.name: data for data in make_tables(table)}
    tables["ranking"] = replace(tables["ranking"], links=links or {})
    return render(
        template,
        charts,
        further=() if template == "sweep" else ("sweep",),
        name=table.name,
        table=table,
        headline=write_headline(table),
        repeats=table.best and table.tell_repeats(table.best, table.best.record),
        other=table.best and table.best.record and explain_other(table.best.record),
        counts=count_trials(table),
        show_setting=format_setting,
        tables=tables,
        front=make_front(table),
        most_rows=MOST_ROWS,
        **content,
    )


def write_headline(table: SweepTable) -> str:
    """Return the result of a sweep in a sentence."""
    best, finished = table.best, [row for row in table.rows if row.state == "complete" and not row.is_lost]
    if best is None and table.ranked:
        return f"No trial that finished has a number for {table.objectives[0]}, so there is no best one."
    if best is None and any(row.is_try for row in finished):
        return "What finished is a try (debug), which nothing ranks, so there is no best one."
    if best is None and finished:
        return f"None of the {len(finished)} trials that finished keeps the limits, so there is no best one."
    if best is None:
        lost = " in the study's storage" if any(row.is_lost for row in table.rows) else ""
        return f"No trial has finished{lost}, so there is no best one."
    name = table.objectives[0]
    tied = join_names([str(row.number) for row in table.ties]) if len(table.ties) > 1 else ""
    if len(table.objectives) > 1:
        told = (
            f"Trials {tied} share the best {table.tell_scores()}"
            if tied
            else f"Trial {best.number} has the best {table.tell_scores(name)}"
        )
        return f"{told}; {table.tell_front()}."
    broken = sum(bool(row.excess) for row in finished)
    limits = f" ({broken} of them break{'s' if broken == 1 else ''} a limit)" if broken else ""
    if tied:
        good = f"Trials {tied} are equally good, and the best of {len(finished)} that finished{limits}"
        return f"{good}: {table.tell_scores()}."
    if len(finished) == 1:
        reached = f"{name} {format_metric(name, best.values[name])}"
        return f"Trial {best.number} reached {reached}; it is the only one that finished."
    return f"Trial {best.number} is the best of {len(finished)} that finished{limits}: {table.tell_scores(name)}."


def count_trials(table: SweepTable) -> str:
    """Count the trials by state, as in ``60 trials: 60 complete; 1 h 12 min from the first start to the last end.``."""
    if not table.rows:
        return "There are no trials yet."
    total = format_count(len(table.rows), "trial")
    counts = ", ".join(f"{count:,} {state}" for state, count in table.count_states().items())
    seconds = measure_seconds(table)
    end = "last end" if table.is_study else "end of the last training"  # of other jobs nothing tells when they ended
    span = "" if seconds is None else f"; {format_duration(seconds)} from the first start to the {end}"
    return f"{total}: {counts}{span}."


def measure_seconds(table: SweepTable) -> float | None:
    """Return the time from the first start to the last end, pauses included; None where no trial has ended."""
    starts = [row.started_seconds for row in table.rows if row.started_seconds is not None]
    ends = [row.ended_seconds for row in table.rows if row.ended_seconds is not None]
    return max(ends) - min(starts) if starts and ends else None


def link_rows(table: SweepTable, sweep_dir: Path, page_dir: Path) -> Links:
    """Link the cells ``job`` and ``run_id`` of the first rows; folders and pages that are not there have no link."""
    try:
        parent = read_parent(sweep_dir)
    except TrackingError:
        parent = None  # the page is no less a page
    links = {}
    for position, row in enumerate(table.rows[:MOST_ROWS]):
        curve = (Link("curve", f"#curve-{row.number if row.reused_from is None else row.reused_from}"),)
        if found := (*_link_files(table.folder_of(row, sweep_dir), page_dir), *(curve if row.curve else ())):
            links[position, "job"] = found
        if found := tuple(_link_run(row, parent)):
            links[position, "run_id"] = found
    return links


def _link_files(folder: Path, page_dir: Path) -> Iterator[Link]:
    if folder.is_dir():
        yield Link("", _relate(folder, page_dir) + "/")
        for page in sorted(folder.glob("errors_*/errors.html")):
            yield Link(page.parent.name.replace("_", " "), _relate(page, page_dir))


def _relate(file: Path, page_dir: Path) -> str:
    return quote(Path(os.path.relpath(file, page_dir)).as_posix())


def _link_run(row: SweepRow, parent: Parent | None) -> Iterator[Link]:
    if parent is not None and row.record is not None and row.record.run_id is not None:
        server = parent.uri.rstrip("/") if parent.uri.startswith(("http://", "https://")) else LOCAL_SERVER
        yield Link("", f"{server}/#/experiments/{parent.experiment_id}/runs/{row.record.run_id}?{MODEL_TRAINING}")


def write_view(table: SweepTable, parent: Parent) -> str:
    """Write which runs and columns MLflow shows of the sweep: the jobs, best first, objectives and what was varied."""
    # A run's `val/` is its last validation there; what its selected checkpoint reached stands beside it.
    objectives = [f"best/{name}" if name.startswith(SELECTING) else name for name in table.objectives]
    metrics = [f"metrics.`{name}`" for name in dict.fromkeys((*objectives, "test/accuracy"))]
    known = {name for run in table.records for name in run.params}
    options = {key: f"{key}.name" for key in table.varied}  # of a group
    params = [option if key not in known and option in known else key for key, option in options.items()]
    return json.dumps(
        {
            "searchFilter": f"tags.`{PARENT_TAG}` = '{parent.run_id}'",
            "orderByKey": metrics[0],
            "orderByAsc": table.directions[0] == "minimize",
            "selectedColumns": [*metrics, *(f"params.`{key}`" for key in params)],
        }
    )


def write_note(table: SweepTable, parent: Parent) -> str:
    """Write the note; trials after the first ten are counted, and the columns are those that tell rows apart.

    What the reader must know beside the rows stands above them, as far as there is room. A rank leads to its run, as
    MLflow's own pages name it. The picture comes from MLflow's server.
    """
    runs = f"#/experiments/{parent.experiment_id}/runs"
    ranking = make_ranking(table)
    wanted = {"rank", "trial", "model", *table.varied, *table.objectives, *MEASURED}
    wanted |= {f"bound of {name}" for name in table.bounded}
    columns = [index for index, column in enumerate(ranking.columns) if column.name in wanted]
    rows = [[ranking.columns[index].show(row[index]) for index in columns] for row in ranking.rows[:SHOWN_ROWS]]
    for cells, ranked in zip(rows, table.rows, strict=False):
        if ranked.record is not None and ranked.record.run_id is not None:
            cells[0] = f"[{cells[0]}]({runs}/{ranked.record.run_id}?{MODEL_TRAINING})"
    lines = write_markdown([ranking.columns[index].name for index in columns], rows)

    def link(artifact: str) -> str:
        return f"[{artifact}]({runs}/{parent.run_id}/artifacts/{artifact}?{MODEL_TRAINING})"

    view = f"{runs}?{MODEL_TRAINING}&viewStateShareKey={parent.run_id}"
    repeats = table.best and table.tell_repeats(table.best, table.best.record)
    more = len(ranking.rows) - SHOWN_ROWS
    head = f"**{write_headline(table)}** {count_trials(table)}"
    rest = "\n".join(
        [
            "",
            "",
            *(lines if ranking.rows else ()),
            *(["", f"... and {more} more"] if more > 0 else ()),
            "",
            f"[Its runs]({view}), with objective and varied parameters in view.",
            *(["", f"The run of rank 1: {repeats}"] if repeats else ()),
            "",
            f"![The best runs](get-artifact?path=comparison.png&run_uuid={parent.run_id})",
            "",
            f"Artifacts: {link('report/report.html')} (the whole report, opens offline), {link('comparison.png')}, "
            f"{link('ranking.csv')}.",
            "",
            f"Next: `python -m sentiment compare {table.place}`, `python -m sentiment best {table.place}`, "
            f"`python -m sentiment errors {table.run_place}`",
        ]
    )
    if len(head) + len(rest) > MOST_CHARACTERS:
        rest = ""
    for note in (f"\n\n{note}" for note in table.notes):
        if len(head) + len(note) + len(rest) <= MOST_CHARACTERS:
            head += note
    return head + rest

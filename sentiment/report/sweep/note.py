"""The description on the parent run's page in MLflow: the result in a sentence, the ranking, and what comes next."""

from __future__ import annotations

import json

from sentiment.config.objective import SELECTING
from sentiment.report.sweep.page import count_trials, write_headline
from sentiment.report.sweep.table import SweepTable
from sentiment.report.sweep.tables import make_ranking
from sentiment.tracking.parent_file import MODEL_TRAINING, PARENT_TAG, Parent

SHOWN_ROWS = 10

MOST_CHARACTERS = 7000
"""MLflow takes tags of 8,000."""

MEASURED = ("test/accuracy", "parameters", "seconds")


def write_view(table: SweepTable, parent: Parent) -> str:
    """Write which runs and columns MLflow shows of the sweep: the jobs, best first, objectives and what was varied."""
    # A run's `val/` is its last validation there; what its selected checkpoint reached stands beside it.
    objectives = [f"best/{name}" if name.startswith(SELECTING) else name for name in table.objectives]
    metrics = [f"metrics.`{name}`" for name in dict.fromkeys((*objectives, "test/accuracy"))]
    known = {name for run in table.records for name in run.params}
    params = [
        key if key in known or f"{key}.name" not in known else f"{key}.name" for key in table.varied
    ]  # of a group
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
    lines = [
        "| " + " | ".join(ranking.columns[index].name for index in columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    for row, ranked in zip(ranking.rows[:SHOWN_ROWS], table.rows, strict=False):
        cells = [ranking.columns[index].show(row[index]).replace("|", "\\|").replace("\n", " ") for index in columns]
        if ranked.record is not None and ranked.record.run_id is not None:
            cells[0] = f"[{cells[0]}]({runs}/{ranked.record.run_id}?{MODEL_TRAINING})"
        lines.append("| " + " | ".join(cells) + " |")
    artifacts = f"{runs}/{parent.run_id}/artifacts"
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
            f"Artifacts: [report/report.html]({artifacts}/report/report.html) (the whole report, opens offline), "
            f"[comparison.png]({artifacts}/comparison.png), [ranking.csv]({artifacts}/ranking.csv).",
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

"""Tables and figures of an experiment, written into its folder from its stored results.

``README.md`` has a place for each part, between ``<!-- part: NAME -->`` and ``<!-- end of NAME -->``; question and
answer around it are written by hand, what stands in it never is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sentiment.atomic import write_text
from sentiment.errors import SentimentError, explaining
from sentiment.format import is_share, join_names
from sentiment.report.draw.chart import Chart
from sentiment.report.record.groups import RunGroup, format_csv, format_groups, group_runs, make_group_chart
from sentiment.report.record.store import RecordPart, read_parts
from sentiment.report.sweep.charts import make_charts
from sentiment.report.sweep.collect import name_machines
from sentiment.report.sweep.importance import add_importances
from sentiment.report.sweep.table import SweepTable
from sentiment.tracking.result_file import CONTINUES_TAG, ResultRecord, is_of_another_study, write_commit

SEARCH_CHARTS = ("optimisation_history", "parameter_importance", "slices", "pairs", "learning_curves")
"""Which charts of a search's report stand on record."""

SHOWN_OF_A_SEARCH = 10


def require_readme(folder: Path) -> Path:
    """Return the experiment's README.md.

    Raises:
        SentimentError: There is none.
    """
    readme = folder / "README.md"
    if not readme.is_file():
        raise SentimentError(
            f"{folder} holds no README.md, so it is no experiment on record",
            "write one with the question, and the lines <!-- part: NAME --> and <!-- end of NAME --> for each part",
        )
    return readme


def write_record(folder: Path) -> list[Path]:
    """Write table, CSV and figures of each part, and return the files.

    Raises:
        SentimentError: There are no results, README.md is missing or has no place for a part, or a file cannot be
            written.
    """
    readme = require_readme(folder)
    with explaining(f"{folder} cannot be written", "free space, or mind who owns it"):
        return _write_parts(readme, folder)


def _write_parts(readme: Path, folder: Path) -> list[Path]:
    text = readme.read_text(encoding="utf-8")
    files = [readme]
    for part in read_parts(folder):
        groups = group_runs(part.table)
        charts = _draw(part, groups)
        figures = [_write_figure(chart, folder / "figures" / f"{part.name}_{chart.name}.png") for chart in charts]
        table = folder / "tables" / f"{part.name}.csv"
        write_text(table, format_csv(groups))
        text = _replace_part(text, readme, part.name, _describe(part, groups, charts))
        files += [*figures, table]
    write_text(readme, text)
    return files


def is_search(part: RecordPart) -> bool:
    """Return whether a part is a search, whose points were drawn, and no grid, whose settings each have their seeds."""
    return bool(part.table.log_scaled) or any(row.state == "pruned" for row in part.table.rows)


def _draw(part: RecordPart, groups: Sequence[RunGroup]) -> list[Chart]:
    if not is_search(part):
        if not groups:
            return []
        return [make_group_chart(groups, "comparison", part.name.replace("_", " "), part.table.objectives[0])]
    return [chart for chart in make_charts(add_importances(part.table)) if chart.name in SEARCH_CHARTS]


def _describe(part: RecordPart, groups: Sequence[RunGroup], charts: Sequence[Chart]) -> str:
    objective = part.table.objectives[0]
    limit = SHOWN_OF_A_SEARCH if is_search(part) else None
    lines = ["```bash", part.command, "```", "", f"{_count(part.records)}.", ""]
    lines += [format_groups(groups, limit) if groups else f"No run has finished with a {objective}.", ""]
    if groups:
        unit = "In percent" if is_share(objective) else f"Validation is {objective}, {groups[0].tested_by} the test"
        by_seed = any(len(group.seeds) > 1 for group in groups)
        lines += [f"{unit}{': mean over the seeds ± standard deviation (each seed)' if by_seed else ''}.", ""]
    if again := sum(group.again for group in groups):
        lines += [f"A seed counts once, by its first run: {again} more trained the same settings and seed again.", ""]
    if left := _find_left(part.table):
        lines += [f"Finished runs of trials that are not complete are left out: {join_names(left)}.", ""]
    if part.notes:
        lines += [" ".join(part.notes), ""]
    if limit is not None and len(groups) > limit:
        best = "best" if not any(group.is_over_limit for group in groups[:limit]) else "first"
        lines += [f"The {best} {limit}; all are in [tables/{part.name}.csv](tables/{part.name}.csv).", ""]
    for chart in charts:
        lines += [f"![{chart.title}](figures/{part.name}_{chart.name}.png)", "", chart.caption, ""]
    return "\n".join([*lines, _made_with(part.records)])


def _find_left(table: SweepTable) -> list[str]:
    """Find the trials of which some repeats finished, but not all: number and state."""
    rows = sorted(table.rows if table.is_study else (), key=lambda row: row.number)
    shown = {id(run) for row in rows if row.state == "complete" for run in row.runs}  # equal trials share theirs
    return [
        f"{row.number} ({row.state})"
        for row in rows
        if any(run.status == "FINISHED" and id(run) not in shown for run in row.runs)
    ]


def _count(records: Sequence[ResultRecord]) -> str:
    names = {"FINISHED": "finished", "PRUNED": "pruned", "PAUSED": "paused", "FAILED": "failed", "KILLED": "killed"}
    counts = {name: sum(record.status == status for record in records) for status, name in names.items()}
    own = [record for record in records if not is_of_another_study(record)]
    anew = [record for record in own if CONTINUES_TAG not in record.tags]
    seconds = [record.seconds for record in anew if record.seconds is not None]  # what failed or was killed has none
    left = {
        "of another study": len(records) - len(own),
        "whose time includes another trial's": len(own) - len(anew),
        "whose time is unknown": len(anew) - len(seconds),
    }
    endings, others = (
        ", ".join(f"{count} {name}" for name, count in named.items() if count) for named in (counts, left)
    )
    told = f" (not counting {others})" if others else ""
    return f"{len(records)} runs: {endings}; {sum(seconds) / 3600:.1f} hours of computing{told}"


def _made_with(records: Sequence[ResultRecord]) -> str:
    commits = sorted({write_commit(record) for record in records})
    machines = sorted({*name_machines({record.tags.get("hardware", "unknown") for record in records}).values()})
    return f"Commit {', '.join(commits)}; {', '.join(machines)}."


def _replace_part(text: str, readme: Path, name: str, content: str) -> str:
    before, after = f"<!-- part: {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(before)}.*?{re.escape(after)}", re.DOTALL)
    if not pattern.search(text):
        raise SentimentError(f"{readme} has no place for the part {name!r}", f"add the lines {before} and {after}")
    return pattern.sub(lambda _: f"{before}\n\n{content}\n\n{after}", text, count=1)


def _write_figure(chart: Chart, file: Path) -> Path:
    from sentiment.report.draw.matplotlib import write_png  # matplotlib takes a second to import

    write_png(chart, file)
    return file

"""Tables and figures of a study on record, written into its folder from its stored results.

``README.md`` has a place for each part, between ``<!-- part: NAME -->`` and ``<!-- end of NAME -->``; question and
answer around it are written by hand, what stands in it never is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sentiment.config.objective import Direction, read_objectives
from sentiment.report.draw.chart import Chart
from sentiment.report.record.chart import make_group_chart
from sentiment.report.record.groups import format_csv, format_groups, group_runs
from sentiment.report.record.store import StudyError, StudyPart, read_parts
from sentiment.report.sweep.charts import make_charts
from sentiment.report.sweep.collect import collect_records
from sentiment.tracking.result_file import ResultRecord

SEARCH_CHARTS = ("optimisation_history", "parameter_importance", "slices", "pairs", "learning_curves")
"""Which charts of a search's report stand in its study."""

SHOWN_OF_A_SEARCH = 10


def write_study(study_dir: Path) -> list[Path]:
    """Write table, CSV and figures of each part; gives the files.

    Raises:
        StudyError: There are no results, or README.md has no place for a part.
    """
    readme = study_dir / "README.md"
    text = readme.read_text(encoding="utf-8")
    files = [readme]
    for part in read_parts(study_dir):
        charts = _draw(part)
        figures = [_write_figure(chart, study_dir / "figures" / f"{part.name}_{chart.name}.png") for chart in charts]
        table = study_dir / "tables" / f"{part.name}.csv"
        _write_text(table, format_csv(group_runs(part.records, *_objective(part))))
        text = _replace_part(text, readme, part.name, _describe(part, charts))
        files += [*figures, table]
    _write_text(readme, text)
    return files


def is_search(part: StudyPart) -> bool:
    """Tell a search, whose points were drawn, from a grid, whose settings each have their seeds."""
    return bool(part.log_scaled) or any(record.status == "PRUNED" for record in part.records)


def _draw(part: StudyPart) -> list[Chart]:
    objective, direction = _objective(part)
    if not is_search(part):
        groups = group_runs(part.records, objective, direction)
        return [make_group_chart(groups, "comparison", part.name.replace("_", " "), objective)]
    table = replace(collect_records(part.records, part.name), log_scaled=part.log_scaled)
    return [chart for chart in make_charts(table) if chart.name in SEARCH_CHARTS]


def _describe(part: StudyPart, charts: Sequence[Chart]) -> str:
    groups = group_runs(part.records, *_objective(part))
    limit = SHOWN_OF_A_SEARCH if is_search(part) else None
    lines = ["```bash", part.command, "```", "", f"{_count(part.records)}.", "", format_groups(groups, limit), ""]
    if any(len(group.seeds) > 1 for group in groups):
        lines += ["In percent: mean over the seeds ± standard deviation (each seed).", ""]
    if limit is not None and len(groups) > limit:
        lines += [f"The best {limit}; all are in [tables/{part.name}.csv](tables/{part.name}.csv).", ""]
    for chart in charts:
        lines += [f"![{chart.title}](figures/{part.name}_{chart.name}.png)", "", chart.caption, ""]
    return "\n".join([*lines, _made_with(part.records)])


def _count(records: Sequence[ResultRecord]) -> str:
    names = {"FINISHED": "finished", "PRUNED": "pruned", "FAILED": "failed", "KILLED": "killed"}
    counts = {told: sum(record.status == status for record in records) for status, told in names.items()}
    hours = sum(record.seconds or 0.0 for record in records) / 3600
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{len(records)} runs: {told}; {hours:.1f} hours of computing"


def _made_with(records: Sequence[ResultRecord]) -> str:
    facts = [sorted({record.tags.get(name, "unknown") for record in records}) for name in ("git.commit", "hardware")]
    return f"Commit {', '.join(facts[0])}; {', '.join(facts[1])}."


def _objective(part: StudyPart) -> tuple[str, Direction]:
    names, directions = read_objectives(part.records[0].params)
    return names[0], directions[0]


def _replace_part(text: str, readme: Path, name: str, content: str) -> str:
    before, after = f"<!-- part: {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(before)}.*?{re.escape(after)}", re.DOTALL)
    if not pattern.search(text):
        raise StudyError(f"{readme} has no place for the part {name!r}\n  -> add the lines {before} and {after}")
    return pattern.sub(lambda _: f"{before}\n\n{content}\n\n{after}", text, count=1)


def _write_figure(chart: Chart, file: Path) -> Path:
    from sentiment.report.draw.matplotlib import write_png  # matplotlib takes a second to import

    file.parent.mkdir(parents=True, exist_ok=True)
    write_png(chart, file)
    return file


def _write_text(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(file)

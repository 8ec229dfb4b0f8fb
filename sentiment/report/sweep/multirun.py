"""Report a multirun: print the ranked table, write table, picture and page into its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sentiment.report.sweep.console import print_ranking
from sentiment.report.sweep.ranking import Direction, Ranking, rank, write_csv
from sentiment.tracking.result_file import read_results

TABLE_FILE = "ranking.csv"
PICTURE_FILE = "comparison.png"
REPORT_FOLDER = "report"


def report_multirun(sweep_dir: Path, objective: str, direction: Direction) -> tuple[Ranking, list[Path]]:
    """Rank the jobs under a multirun's folder, print the table and write ``ranking.csv`` and ``comparison.png``.

    The jobs' own ``result.json`` files are the one source, whatever the tracking is.

    Args:
        sweep_dir: Folder of the multirun.
        objective: Metric that ranks, on validation.
        direction: Which way is better.

    Returns:
        The ranking and the files written.

    Raises:
        TrackingError: A result file is damaged.
    """
    ranking = rank(read_results(sweep_dir), objective, direction)
    print_ranking(ranking)
    files = [sweep_dir / TABLE_FILE] if ranking.rows else []
    if ranking.rows:
        write_csv(ranking, sweep_dir / TABLE_FILE)
    if ranking.finished:
        from sentiment.report.sweep.picture import write_comparison  # matplotlib takes a second to import

        write_comparison(ranking, sweep_dir / PICTURE_FILE)
        files.append(sweep_dir / PICTURE_FILE)
    return ranking, files


def write_sweep_report(sweep_dir: Path, objectives: Sequence[str], storage_url: str | None = None) -> Path:
    """Write the page about a sweep, its pictures and tables into ``report/`` in the sweep's folder.

    Args:
        sweep_dir: Folder of the multirun.
        objectives: Metrics that it optimised, the first one ranks.
        storage_url: The study's storage; None: no study, or as its folder says.

    Returns:
        The folder ``report/``.

    Raises:
        SentimentError: A record or the study cannot be read, or the report cannot be written.
    """
    from sentiment.report.sweep.collect import collect_sweep  # with what draws, these take a second or two to import
    from sentiment.report.sweep.report import write_report

    folder = sweep_dir / REPORT_FOLDER
    page, *_ = write_report(collect_sweep(sweep_dir, objectives, storage_url=storage_url), folder)
    print(f"\nReport: {page}")
    return folder

"""Report a multirun: print the ranked table, write table and picture into its folder."""

from __future__ import annotations

from pathlib import Path

from sentiment.report.console import print_ranking
from sentiment.report.ranking import Direction, Ranking, rank, write_csv
from sentiment.tracking.result_file import read_results

TABLE_FILE = "ranking.csv"
PICTURE_FILE = "comparison.png"


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
        from sentiment.report.comparison import write_comparison  # matplotlib takes a second to import

        write_comparison(ranking, sweep_dir / PICTURE_FILE)
        files.append(sweep_dir / PICTURE_FILE)
    return ranking, files

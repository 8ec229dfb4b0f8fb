"""The report on a sweep while it runs: the same table and page, made anew when they have changed."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sentiment.errors import SentimentError, describe_failure, first_line
from sentiment.report.sweep.charts import make_charts
from sentiment.report.sweep.collect import SweepMissingError, collect_records, collect_sweep
from sentiment.report.sweep.importance import add_importances
from sentiment.report.sweep.page import REPORT_FOLDER, link_rows, render_page
from sentiment.report.sweep.table import SweepTable

LEAST_SECONDS = 1.0
"""Time between two looks at the sweep, however many pages ask."""

SHARE = 0.2
"""Share of the time that looking may take: a large study takes longer to read, and its command needs the cores."""


class LivePage:
    """The page of a sweep as it is now; safe to ask from several threads.

    Args:
        sweep_dir: The sweep's folder.
    """

    def __init__(self, sweep_dir: Path) -> None:
        self._sweep_dir = sweep_dir
        self._lock = threading.Lock()
        self._looked_again_at = 0.0
        self._read_at = datetime.now()
        self._problem: str | None = None
        self._table = collect_records([], sweep_dir.name)
        self._mark = ""
        self._importances: tuple[object, SweepTable] | None = None

    @property
    def table(self) -> SweepTable:
        """The sweep as it was read last."""
        return self._table

    def look(self) -> tuple[str, str]:
        """Look at the sweep.

        Returns:
            What names the table's content, and how the sweep stands, for people. A state that cannot be read, e.g.
            because it is half written, is said there, and the last one that could be stays.
        """
        with self._lock:
            began = time.monotonic()
            if began >= self._looked_again_at:
                self._read()
                ended = time.monotonic()
                self._looked_again_at = ended + max(LEAST_SECONDS, (ended - began) / SHARE)
            return self._mark, self._describe()

    def _read(self) -> None:
        try:
            self._table = collect_sweep(self._sweep_dir)
        except SweepMissingError:
            self._table = collect_records([], self._sweep_dir.name, is_at_work=True)  # it has only just begun
        except Exception as error:  # whatever it is, the next look may find it whole
            self._problem = first_line(error) if isinstance(error, SentimentError) else describe_failure(error).reason
            return
        self._problem, self._read_at = None, datetime.now()
        self._mark = hashlib.sha256(repr(self._table).encode()).hexdigest()[:16]

    def _describe(self) -> str:
        if self._problem is not None:
            return f"It cannot be read just now; this is the state of {self._read_at:%H:%M:%S}. {self._problem}"
        if self._table.is_at_work:
            return "Running; this page follows."
        return "No command works on it now" + (
            "; the command that started it goes on with it." if self._table.is_study else "."
        )

    def render(self, *, has_scripts: bool = True) -> str:
        """Render the page; without scripts, for one that is open already."""
        mark, standing = self.look()
        with self._lock:
            table = self._explain(self._table)
            links = link_rows(table, self._sweep_dir, self._sweep_dir / REPORT_FOLDER)
            content = {"has_scripts": has_scripts, "mark": mark, "standing": standing}
            return render_page(table, make_charts(table), links, "live", **content)

    def _explain(self, table: SweepTable) -> SweepTable:
        """Add the importances, which take long: they stay while no further trial is complete or pruned."""
        measured = [(row.number, row.state, row.values) for row in table.rows if row.state in ("complete", "pruned")]
        if self._importances is None or self._importances[0] != measured:
            self._importances = measured, add_importances(table)
        known = self._importances[1]
        return replace(table, importances=known.importances, importance_note=known.importance_note)

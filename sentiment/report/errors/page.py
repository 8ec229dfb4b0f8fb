"""One self-contained HTML page on where a run is wrong, in the look of the sweep's report, with pictures and CSV files.

The page keeps to the rules of `sentiment.report.draw.page`: no request to anywhere, and no script but its own. A review
may hold any text at all; it is escaped, and what scripts need of it travels as JSON.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from markupsafe import Markup

from sentiment.atomic import write_text
from sentiment.data.tokenizer import LINE_BREAK
from sentiment.errors import explaining
from sentiment.format import format_percent
from sentiment.report.draw.matplotlib import write_png
from sentiment.report.draw.page import embed_json, render
from sentiment.report.draw.table import write_table
from sentiment.report.errors.analysis import AttentionView, RunErrors
from sentiment.report.errors.summary import make_charts, make_tables, summarize
from sentiment.report.predictions import format_html

PAGE_FILE = "errors.html"

LARGEST_MATRIX = 12
"""With more classes K the confusion matrix is drawn, because its numbers would not be readable."""

TITLE_LENGTH = 50
"""Most characters of the heading; the settings that are cut stand under it."""

STEPS = 999
"""Attention travels as whole numbers up to this: three digits are all that a shade can show."""


def write_report(analysis: RunErrors, folder: Path) -> list[Path]:
    """Write ``errors.html``, ``tables/NAME.csv`` and ``plots/NAME.png``.

    Returns:
        The files, the page first.

    Raises:
        SentimentError: The folder cannot be written.
    """
    page = folder / PAGE_FILE
    pictures = {folder / "plots" / f"{chart.name}.png": chart for chart in make_charts(analysis.tables)}
    tables = {folder / "tables" / f"{table.name}.csv": table for table in make_tables(analysis.tables)}
    with explaining(f"{folder} cannot be written", "free space, or choose another folder: --output FOLDER"):
        for file, chart in pictures.items():
            write_png(chart, file)
        for file, table in tables.items():
            write_table(table, file)
        write_text(page, render_page(analysis))
    return [page, *tables, *pictures]


def render_page(analysis: RunErrors) -> str:
    """Render the page as HTML; nothing outside it is needed to show it."""
    draws_confusion = len(analysis.tables.class_names) > LARGEST_MATRIX
    charts = [chart for chart in make_charts(analysis.tables) if draws_confusion or chart.name != "confusion"]
    views = [explanation.attention for explanation in analysis.explanations]
    return render(
        "errors",
        charts,
        name=textwrap.shorten(analysis.name, TITLE_LENGTH, placeholder=" …"),
        analysis=analysis,
        sentences=summarize(analysis),
        draws_confusion=draws_confusion,
        tables={table.name: table for table in make_tables(analysis.tables)},
        wrong_reviews=[_describe(analysis, number) for number in range(len(analysis.tables.wrong_reviews))],
        attention=embed_json({str(number): _shrink(view) for number, view in enumerate(views) if view is not None}),
        percent=format_percent,
    )


def _describe(analysis: RunErrors, number: int) -> dict[str, Any]:
    """Gather what the page shows of one wrong review."""
    review = analysis.tables.wrong_reviews[number]
    explanation = analysis.explanations[number] if analysis.explanations else None
    return {
        "review": review,
        "is_cut": analysis.max_tokens is not None and review.tokens > analysis.max_tokens,
        "text": LINE_BREAK.sub("\n", review.text),
        "notes": () if explanation is None else explanation.attribution.notes,
        "marked": None if explanation is None else Markup(format_html(explanation.attribution)),
        "attention": None if explanation is None else explanation.attention,
    }


def _shrink(view: AttentionView) -> dict[str, Any]:
    """Return the tokens, and each way to look at them: the largest share received, and all as parts of it."""
    return {
        "tokens": view.tokens,
        "views": [
            {
                "largest": float(way.received.max()),
                "received": [round(STEPS * share) for share in (way.received / way.received.max()).tolist()],
                "weights": None
                if way.weights is None
                else [[round(STEPS * weight) for weight in row] for row in way.weights.tolist()],
            }
            for way in view.views
        ],
    }

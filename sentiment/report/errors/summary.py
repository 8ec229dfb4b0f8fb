"""What the tables of errors say: in sentences, on a terminal, and as tables to show and to write."""

from __future__ import annotations

import math
import textwrap

from rich.table import Table
from rich.text import Text

from sentiment.format import format_percent, format_points
from sentiment.report.draw.table import Cell, Column, DataTable, open_console, open_table
from sentiment.report.errors.analysis import RunErrors
from sentiment.report.errors.charts import describe_share, name_bin
from sentiment.report.errors.measures import Calibration, Slice, find_worst
from sentiment.report.errors.tables import ErrorTables
from sentiment.report.statistics import LEVEL, Share, difference_interval

SHARE_COLUMNS = (
    Column("reviews", "count", True), Column("right", "right", True), Column("accuracy", "accuracy", True),
    Column("accuracy_low", "95 % from", True, "percent"), Column("accuracy_high", "to", True, "percent"),
)  # fmt: skip

WIDEST_LINE = 110

SHOWN_SLICES = 8


def summarize(analysis: RunErrors) -> list[str]:
    """Return the main findings: accuracy, confidence, negation and contrast, and the worst part of the reviews."""
    return [
        say_accuracy(analysis),
        say_calibration(analysis.tables),
        say_phenomenon("negation", analysis.tables.negation),
        say_phenomenon("contrast", analysis.tables.contrast),
        say_worst(analysis.tables),
    ]


def say_accuracy(analysis: RunErrors) -> str:
    """Return how many reviews are right, on which split, from which predictions."""
    overall = analysis.tables.overall
    return (
        f"{overall.right:,} of {overall.reviews:,} {analysis.split} reviews are right: "
        f"{format_percent(overall.accuracy)} (95 % interval {format_percent(overall.low)} to "
        f"{format_percent(overall.high)}; predictions {analysis.source})."
    )


def say_calibration(tables: ErrorTables) -> str:
    """Return whether the confidence can be believed: on the whole, and by how much bin by bin."""
    bins = tables.equal_width.bins
    confidence = math.fsum(part.confidence * part.share.reviews for part in bins) / tables.overall.reviews
    overall = tables.overall
    relation = (
        "not shown to be surer or less sure than it is right"
        if overall.low <= confidence <= overall.high
        else "surer than it is right"
        if confidence > overall.accuracy
        else "less sure than it is right"
    )
    return (
        f"On the whole the model is {relation}: mean confidence {format_percent(confidence)}, expected calibration "
        f"error {format_percent(tables.equal_width.ece)}."
    )


def say_phenomenon(name: str, part: Slice) -> str:
    """Return whether reviews with negation (or contrast) are harder; one comparison, with its own 95 % interval."""
    if not part.inside.reviews or not part.rest.reviews:
        which = "No review holds" if not part.inside.reviews else "Every review holds"
        return f"{which} a {name}, so nothing can be said on it."
    low, high = difference_interval(part.inside, part.rest)
    relation = "harder than" if high < 0 else "easier than" if low > 0 else "not shown to be harder or easier than"
    return (
        f"Reviews with {name} are {relation} those without: {format_percent(part.inside.accuracy)} against "
        f"{format_percent(part.rest.accuracy)} right ({_say_points(part.difference, low, high)})."
    )


def say_worst(tables: ErrorTables) -> str:
    """Name the part of the reviews that is most surely worse than the rest, or say that none is shown to be."""
    worst = find_worst(tables.slices)
    if worst is None:
        return (
            f"None of the {len(tables.slices)} parts that were looked at (classes, lengths, negation, contrast) is "
            "shown to be worse than the rest."
        )
    return (
        f"The worst part of {len(tables.slices)} looked at: reviews {worst.name}, {describe_share(worst.inside)}; the "
        f"rest {format_percent(worst.rest.accuracy)} ({_say_points(worst.difference, worst.low, worst.high)}, at "
        f"{100 * LEVEL:.0f} % for all parts together)."
    )


def _say_points(difference: float, low: float, high: float) -> str:
    value, least, most = (format_points(number, is_signed=True) for number in (difference, low, high))
    return f"{value} points, interval {least} to {most}".replace("-", "\u2212")  # a line does not break after it


def print_findings(analysis: RunErrors) -> None:
    """Print the main findings, and the parts of the reviews that are most surely worse than the rest."""
    console = open_console()
    width = min(console.width, WIDEST_LINE)
    console.print(Text(f"{analysis.name}\n"))
    for sentence in summarize(analysis):
        console.print(Text(textwrap.fill(sentence, width, initial_indent="- ", subsequent_indent="  ")))
    console.print()
    console.print(_make_table(analysis.tables))


def _make_table(tables: ErrorTables) -> Table:
    ordered = sorted(tables.slices, key=lambda part: part.high)
    table = open_table("reviews")
    for heading in ("count", "right", "95 % interval", "the rest", "difference"):
        table.add_column(heading, justify="right")
    for part in ordered[:SHOWN_SLICES]:
        table.add_row(*_cells(part), style="bold" if part.high < 0 else None)
    return table


def _cells(part: Slice) -> list[Text]:
    inside, rest = part.inside, part.rest
    texts = (
        part.name,
        f"{inside.reviews:,}",
        format_percent(inside.accuracy) if inside.reviews else "–",
        f"{format_percent(inside.low)} to {format_percent(inside.high)}" if inside.reviews else "–",
        format_percent(rest.accuracy) if rest.reviews else "–",
        format_points(part.difference, is_signed=True) if inside.reviews and rest.reviews else "–",
    )
    return [Text(text) for text in texts]


def make_tables(tables: ErrorTables) -> list[DataTable]:
    """Make all tables that the page shows and that are written as CSV."""
    return [
        _make_slices(tables), _make_confusion(tables), _make_calibration(tables), _make_lengths(tables),
        _make_wrong_reviews(tables),
    ]  # fmt: skip


def _make_slices(tables: ErrorTables) -> DataTable:
    columns = (
        Column("part", "reviews"), *SHARE_COLUMNS, Column("rest_accuracy", "the rest", True, "percent"),
        Column("difference", "difference", True, "points"), Column("difference_low", "from", True, "points"),
        Column("difference_high", "to", True, "points"),
    )  # fmt: skip
    ordered = sorted(tables.slices, key=lambda part: part.high)
    rows: list[tuple[Cell, ...]] = [
        (
            part.name, *_share_cells(part.inside), _number(part.rest.accuracy), _number(part.difference), part.low,
            part.high,
        )
        for part in ordered
    ]  # fmt: skip
    worse = frozenset(number for number, part in enumerate(ordered) if part.high < 0)
    return DataTable("slices", "Every part against the rest", columns, tuple(rows), worse)


def _make_confusion(tables: ErrorTables) -> DataTable:
    columns = (Column("true", "true class"), *(Column(name, f"called {name}", True) for name in tables.class_names))
    rows: list[tuple[Cell, ...]] = [
        (name, *(int(count) for count in row)) for name, row in zip(tables.class_names, tables.confusion, strict=True)
    ]
    return DataTable("confusion", "Confusion matrix", columns, tuple(rows))


def _make_calibration(tables: ErrorTables) -> DataTable:
    columns = (
        Column("bins", "bins"), Column("low", "confidence from", True, "percent"),
        Column("high", "to", True, "percent"), Column("confidence", "mean confidence", True, "percent"),
        *SHARE_COLUMNS,
    )  # fmt: skip

    def rows(name: str, calibration: Calibration) -> list[tuple[Cell, ...]]:
        return [(name, part.low, part.high, part.confidence, *_share_cells(part.share)) for part in calibration.bins]

    both = [*rows("equal width", tables.equal_width), *rows("equal mass", tables.equal_mass)]
    return DataTable("calibration", "Calibration", columns, tuple(both))


def _make_lengths(tables: ErrorTables) -> DataTable:
    columns = (
        Column("length", "tokens"), Column("shortest", "shortest", True), Column("longest", "longest", True),
        Column("cut", "cut", True), *SHARE_COLUMNS,
    )  # fmt: skip
    rows = [
        (name_bin(part), part.shortest, part.longest, part.cut, *_share_cells(part.share)) for part in tables.lengths
    ]
    return DataTable("lengths", "Accuracy by length", columns, tuple(rows))


def _make_wrong_reviews(tables: ErrorTables) -> DataTable:
    columns = (
        Column("position", "review", True), Column("label", "is"), Column("predicted", "called"),
        Column("confidence", "confidence", True), Column("label_probability", "probability of the true class", True),
        Column("tokens", "tokens", True), Column("negation", "negation"), Column("contrast", "contrast"),
        Column("text", "text"),
    )  # fmt: skip
    rows = [
        (
            one.position, one.label, one.predicted, one.confidence, one.label_probability, one.tokens,
            one.has_negation, one.has_contrast, one.text,
        )
        for one in tables.wrong_reviews
    ]  # fmt: skip
    return DataTable("wrong_reviews", "Most confident mistakes", columns, tuple(rows))


def _share_cells(share: Share) -> tuple[Cell, ...]:
    return (share.reviews, share.right, _number(share.accuracy), share.low, share.high)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None

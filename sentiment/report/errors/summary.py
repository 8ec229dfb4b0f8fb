"""What the tables of errors say: in sentences, on a terminal, as charts, and as tables to show and to write."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from sentiment.format import format_percent, format_points
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.draw.table import Cell, Column, DataTable, open_console, open_table
from sentiment.report.errors.analysis import RunErrors
from sentiment.report.errors.tables import Calibration, ErrorTables, LengthBin, Slice, find_worst
from sentiment.report.statistics import LEVEL, Share, difference_interval
from sentiment.training.measures import CALIBRATION_BINS

SHARE_COLUMNS = (
    Column("reviews", "count", True), Column("right", "right", True), Column("accuracy", "accuracy", True),
    Column("accuracy_low", "95 % from", True, "percent"), Column("accuracy_high", "to", True, "percent"),
)  # fmt: skip

WIDEST_LINE = 110

SHOWN_SLICES = 8

ACCURACY = Axis("accuracy", is_percent=True)


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
    slices = _make_slices(tables)
    table = open_table("reviews")
    for heading in ("count", "right", "95 % interval", "the rest", "difference"):
        table.add_column(heading, justify="right")
    for number, row in enumerate(slices.rows[:SHOWN_SLICES]):
        shown = [column.show(cell) for column, cell in zip(slices.columns, row, strict=True)]
        part, count, _, right, low, high, rest, difference, *_ = shown
        interval = f"{low} to {high}" if row[1] else right  # none of no review
        cells = (part, count, right, interval, rest, difference)
        table.add_row(*map(Text, cells), style="bold" if number in slices.marked else None)
    return table


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


def make_charts(tables: ErrorTables) -> list[Chart]:
    """Make all charts, in the order in which a page shows them."""
    return [chart_confusion(tables), chart_calibration(tables), chart_lengths(tables), chart_phenomena(tables)]


def chart_confusion(tables: ErrorTables) -> Chart:
    """Show the confusion matrix, coloured by the share of the true class, so that classes of any size compare."""
    names = tables.class_names
    totals = tables.confusion.sum(axis=1)
    cells = [
        (int(count), count / total if total else float("nan"), true, predicted)
        for row, total, true in zip(tables.confusion, totals, names, strict=True)
        for count, predicted in zip(row, names, strict=True)
    ]
    series = Series(
        name="",
        kind="heatmap",
        x=names,
        y=names,
        colour=tuple(float(share) for _, share, _, _ in cells),
        colour_axis=Axis("share of the true class", is_percent=True),
        hover=tuple(
            f"{count:,} reviews that are {true} called {predicted}\n{format_percent(share)} of them"
            for count, share, true, predicted in cells
        ),
    )
    panel = Panel(Axis("predicted class", categories=names), Axis("true class", categories=names[::-1]), (series,))
    caption = "Rows are what the reviews are, columns what the model says. The diagonal is right."
    return Chart("confusion", "What is taken for what", caption, (panel,))


def chart_calibration(tables: ErrorTables) -> Chart:
    """Show accuracy against confidence, and how many reviews have which confidence."""
    lowest = min(tables.equal_width.bins[0].low, 1 / len(tables.class_names))
    confidence = Axis("confidence", is_percent=True)
    ideal = Series("as sure as right", "line", (lowest, 1.0), (lowest, 1.0), role="reference")
    binned = _calibration_series("bins of equally many reviews", tables.equal_mass)
    ranges, counts = _count_confidences(tables.equal_width)
    heap = Series("", "bar", counts, ranges, hover=tuple(map("{:,.0f} reviews at {}".format, counts, ranges)))
    caption = (
        "Confidence is the probability of the predicted class. Points below the dashed line: the model is "
        "surer than it is right. Each point stands for about as many reviews; lines through points are 95 % "
        "intervals. Expected calibration error: "
        f"{format_percent(tables.equal_width.ece)} (bins of equal width), {format_percent(tables.equal_mass.ece)} "
        "(equally many reviews)."
    )
    panels = (
        Panel(confidence, ACCURACY, (ideal, binned), "Accuracy by confidence"),
        Panel(Axis("reviews"), Axis("confidence", categories=ranges), (heap,), "How sure the model is"),
    )
    return Chart("calibration", "Can its confidence be believed?", caption, panels, columns=2)


def _count_confidences(calibration: Calibration) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Name the bins of equal width from the first with a review to one, and count their reviews."""
    counts = {round(part.low * CALIBRATION_BINS): float(part.share.reviews) for part in calibration.bins}
    indices = range(min(counts), CALIBRATION_BINS)
    edges = [f"{100 * index / CALIBRATION_BINS:.0f}" for index in range(CALIBRATION_BINS + 1)]
    names = tuple(f"{edges[index]} to {edges[index + 1]} %" for index in indices)
    return names, tuple(counts.get(index, 0.0) for index in indices)


def _calibration_series(name: str, calibration: Calibration) -> Series:
    bins = calibration.bins
    return Series(
        name=name,
        kind="markers",
        x=tuple(part.confidence for part in bins),
        y=tuple(part.share.accuracy for part in bins),
        low=tuple(part.share.low for part in bins),
        high=tuple(part.share.high for part in bins),
        hover=tuple(
            f"confidence {format_percent(part.low)} to {format_percent(part.high)}, "
            f"mean {format_percent(part.confidence)}\n{describe_share(part.share)}"
            for part in bins
        ),
    )


def chart_lengths(tables: ErrorTables) -> Chart:
    """Show accuracy by length, with the bins apart of which the model did not see all."""
    names = tuple(name_bin(part) for part in tables.lengths)
    shares = [part.share for part in tables.lengths]
    is_cut = [part.cut > 0 for part in tables.lengths]
    groups = [
        _accuracy_series("read as a whole", names, shares, [not cut for cut in is_cut]),
        _accuracy_series("some or all of them cut", names, shares, is_cut),
    ]
    series = (_overall(tables, names), *(group for group in groups if group.x))
    caption = "Reviews in bins of about as many each, by length in tokens. Bars are 95 % intervals." + (
        " Where reviews are cut, the model did not see all of what they say." if any(is_cut) else ""
    )
    panel = Panel(ACCURACY, Axis("length in tokens", categories=names), series)
    return Chart("accuracy_by_length", "Short and long reviews", caption, (panel,))


def chart_phenomena(tables: ErrorTables) -> Chart:
    """Show accuracy with and without negation and contrast, and for the four combinations."""
    cells = dict(zip(("neither", "negation only", "contrast only", "both"), tables.combinations, strict=True))
    rows = {
        "negation": tables.negation.inside,
        "no negation": tables.negation.rest,
        "contrast": tables.contrast.inside,
        "no contrast": tables.contrast.rest,
        **{name: cell.inside for name, cell in cells.items()},
    }
    shown = {name: share for name, share in rows.items() if share.reviews}
    names, shares = tuple(shown), list(shown.values())
    groups = [
        _accuracy_series("by one", names, shares, [name not in cells for name in names]),
        _accuracy_series("by both", names, shares, [name in cells for name in names]),
    ]
    caption = (
        "Negation: not, never, hardly, n't and the like; contrast: but, although, however and the like. Words are "
        "found, not what they apply to. Bars are 95 % intervals; a bar that spans the dashed line shows nothing."
    )
    panel = Panel(ACCURACY, Axis("the review holds", categories=names), (_overall(tables, names), *groups))
    return Chart("accuracy_by_phenomenon", "Negation and contrast", caption, (panel,))


def name_bin(part: LengthBin) -> str:
    """Name a bin by its lengths: ``5 to 20``."""
    return f"{part.shortest:,}" if part.shortest == part.longest else f"{part.shortest:,} to {part.longest:,}"


def describe_share(share: Share) -> str:
    """Describe a share in words, with its interval."""
    accuracy, low, high = (format_percent(value) for value in (share.accuracy, share.low, share.high))
    return f"{accuracy} right ({low} to {high}), {share.right:,} of {share.reviews:,}"


def _overall(tables: ErrorTables, names: tuple[str, ...]) -> Series:
    accuracy = tables.overall.accuracy
    ends = (names[0], names[-1]) if len(names) > 1 else (names[0],)
    return Series("all reviews", "line", (accuracy,) * len(ends), ends, role="reference")


def _accuracy_series(name: str, names: tuple[str, ...], shares: Sequence[Share], chosen: Sequence[bool]) -> Series:
    kept = [(row, share) for row, share, keep in zip(names, shares, chosen, strict=True) if keep]
    return Series(
        name=name,
        kind="markers",
        x=tuple(share.accuracy for _, share in kept),
        y=tuple(row for row, _ in kept),
        low=tuple(share.low for _, share in kept),
        high=tuple(share.high for _, share in kept),
        hover=tuple(f"{row}\n{describe_share(share)}" for row, share in kept),
    )

"""Charts of where a model is wrong, from the tables of `sentiment.report.errors.tables`."""

from __future__ import annotations

from collections.abc import Sequence

from sentiment.format import format_percent
from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.errors.measures import Calibration
from sentiment.report.errors.tables import ErrorTables, LengthBin
from sentiment.report.statistics import Share
from sentiment.training.measures import CALIBRATION_BINS

ACCURACY = Axis("accuracy", is_percent=True)


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

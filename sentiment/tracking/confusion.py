"""The confusion matrix as a picture and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure  # no pyplot: nothing global, no window system

from sentiment.format import format_percent, write_csv_cell

LARGEST_ANNOTATED = 20
"""With more classes K the numbers would not be readable; the CSV has them."""


def write_confusion(folder: Path, counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> tuple[Path, Path]:
    """Write ``confusion_matrix.png`` and ``confusion_matrix.csv``; (K, K) counts, rows are true classes."""
    picture, table = folder / "confusion_matrix.png", folder / "confusion_matrix.csv"
    draw_confusion(counts, class_names).savefig(picture, dpi=150)
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["true \\ predicted", *map(write_csv_cell, class_names)])
        writer.writerows([write_csv_cell(name), *row] for name, row in zip(class_names, counts.tolist(), strict=True))
    return picture, table


def draw_confusion(counts: npt.NDArray[np.int64], class_names: Sequence[str]) -> Figure:
    """Draw the (K, K) counts; colour is the share of the true class, so classes of any size compare."""
    classes = len(class_names)
    reviews = counts.sum(axis=1, keepdims=True)  # (K, 1)
    shares = np.divide(counts, reviews, out=np.full(counts.shape, np.nan), where=reviews > 0)  # (K, K)
    side = 2.6 + 0.8 * min(classes, 14)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(classes)
    axes.set_xticks(ticks, class_names, rotation=0 if classes <= 3 else 45, ha="center" if classes <= 3 else "right")
    axes.set_yticks(ticks, class_names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    correct, total = int(np.trace(counts)), int(counts.sum())
    axes.set_title(f"{correct:,} of {total:,} right ({format_percent(correct / max(total, 1))})", fontsize=11)
    for row in ticks if classes <= LARGEST_ANNOTATED else ():
        for column in ticks:
            ink = "white" if shares[row, column] > 0.55 else "#1a1a1a"
            text = f"{counts[row, column]:,}\n{format_percent(shares[row, column])}"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=11 if classes <= 6 else 7)
    figure.colorbar(image, ax=axes, shrink=0.8, format="{x:.0%}", label="share of the true class")
    return figure

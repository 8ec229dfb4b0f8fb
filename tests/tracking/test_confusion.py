from __future__ import annotations

import numpy as np
import pytest

from sentiment.tracking.folder import draw_confusion, write_confusion

pytestmark = pytest.mark.usefixtures("_drawn_whole")


def test_the_picture_shows_counts_and_shares():
    axes = draw_confusion(np.array([[90, 10], [25, 75]]), ["negative", "positive"]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["90\n90.00 %", "10\n10.00 %", "25\n25.00 %", "75\n75.00 %"]
    assert axes.get_title() == "165 of 200 right (82.50 %)"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["negative", "positive"]


def test_a_class_without_a_review_divides_nothing_by_zero():
    axes = draw_confusion(np.array([[3, 0], [0, 0]]), ["a", "b"]).axes[0]
    assert axes.texts[-1].get_text() == "0\nundefined"


@pytest.mark.parametrize("classes", [2, 6, 40])
def test_files(tmp_path, classes):
    names = [f"class, {index}" for index in range(classes)]
    write_confusion(tmp_path, np.eye(classes, dtype=np.int64), names)
    table, picture = sorted(tmp_path.iterdir())
    assert (table.name, picture.name) == ("confusion_matrix.csv", "confusion_matrix.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert len(table.read_text(encoding="utf-8").splitlines()) == classes + 1

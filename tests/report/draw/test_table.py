from __future__ import annotations

import pytest

from sentiment.report.draw.table import Column, DataTable, write_table


@pytest.mark.parametrize(
    ("column", "cell", "text"),
    [
        (Column("n", "n"), None, "–"), (Column("n", "n"), "", "–"), (Column("n", "n"), True, "yes"),
        (Column("n", "n"), False, "no"), (Column("n", "n"), 3, "3"), (Column("n", "n"), 2.0, "2"),
        (Column("n", "n"), 687042.0, "687,042"), (Column("n", "n"), 0.85570741, "0.8557"),
        (Column("n", "n"), 0.000012345, "1.234e-5"), (Column("n", "n"), 123.456, "123.5"),
        (Column("n", "n"), float("nan"), "undefined"), (Column("n", "n"), "lstm", "lstm"),
        (Column("val/auroc", "AUROC"), 0.98721, "98.72 %"), (Column("low", "from", True, "percent"), 0.5, "50.00 %"),
        (Column("difference", "d", True, "points"), -0.01234, "-1.23"),
        (Column("difference", "d", True, "points"), 0.02, "+2.00"),
        (Column("data.max_tokens", "max_tokens", True, "setting"), 1024, "1024"),
        (Column("optimizer.lr", "lr", True, "setting"), 0.002258849849049621, "0.002259"),
    ],
)  # fmt: skip
def test_cells_are_written_for_people(column, cell, text):
    assert column.show(cell) == text


def test_files_hold_numbers_in_full(tmp_path):
    table = DataTable("t", "T", (Column("val/accuracy", "accuracy", True), Column("text", "text")), ((1 / 3, "a,b"),))
    write_table(table, tmp_path / "new" / "t.csv")
    assert (tmp_path / "new" / "t.csv").read_bytes() == f'val/accuracy,text\r\n{1 / 3},"a,b"\r\n'.encode()

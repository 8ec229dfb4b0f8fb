"""Predictions as a table: nothing in a text or in the name of a class steers the terminal."""

from __future__ import annotations

import io

import numpy as np

from sentiment.models.bundle import Predictions
from sentiment.report.predictions import TableWriter


def test_a_class_of_anybody_s_bundle_steers_no_terminal():
    stream = io.StringIO()
    names = ("good", "\x1b[31mbad")
    answers = Predictions([names[1]], np.array([[0.25, 0.75]], dtype=np.float32), names, 1)
    TableWriter(stream, names).write(["dull"], answers, [None])
    assert stream.getvalue().splitlines()[1].split() == ["\N{REPLACEMENT CHARACTER}[31mbad", "0.7500", "dull"]

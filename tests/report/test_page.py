from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import math
import re
from html.parser import HTMLParser

import pytest

from sentiment.report.draw.page import _sort_key, _tie_percent
from sentiment.report.sweep.page import MOST_ROWS, render_page
from sentiment.report.sweep.table import CurvePoint


class Outline(HTMLParser):
    """Collects what a browser would see: scripts, attributes that load something, tables."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.scripts, self.loads, self.csp, self.rows, self.ids = [], [], "", 0, []
        self._inside = None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.loads += [given[name] for name in ("src", "href", "srcset", "action") if name in given]
        self.ids += [given["id"]] if "id" in given else []
        if given.get("http-equiv") == "Content-Security-Policy":
            self.csp = given["content"]
        self.rows += tag == "tr"
        if tag == "script":
            self._inside = given.get("type", "javascript")
            self.scripts.append([self._inside, ""])

    def handle_endtag(self, tag):
        self._inside = None if tag == "script" else self._inside

    def handle_data(self, data):
        if self._inside is not None:
            self.scripts[-1][1] += data


@pytest.fixture
def page(example_table, example_charts):
    return render_page(example_table, example_charts)


def test_the_links_lead_to_every_section_with_a_heading(page):
    headed = re.findall(r'<section id="([^"]+)"', page)
    linked = re.findall(r'<li><a href="#([^"]+)"', page)
    assert [name for name in headed if name != "best"] == linked


def test_a_percent_sign_begins_no_line_and_what_is_copied_or_looked_up_stays():
    kept = '<i data-series="95 % of all">a % b</i><code>study_name="5 %"</code>'
    assert _tie_percent(f"<p>of 80 % and <b>9.60 %</b></p>{kept}") == f"<p>of 80\xa0% and <b>9.60\xa0%</b></p>{kept}"


def test_nothing_outside_the_page_is_needed_and_no_other_script_may_run(page):
    outline = Outline(page)
    assert [target for target in outline.loads if not target.startswith(("#", "data:"))] == []
    assert "default-src 'none'" in outline.csp
    scripts = [text for kind, text in outline.scripts if kind == "javascript"]
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in scripts]
    assert re.findall(r"'sha256-[^']+'", outline.csp) == hashes
    assert len(hashes) == 2
    assert "unsafe-inline" not in outline.csp.split("script-src")[1].split(";")[0]
    assert page.count("plotly.js v") == 1


def test_hostile_texts_are_text(page, example_table, example_charts):
    outline = Outline(page)
    assert [kind for kind, _ in outline.scripts] == ["application/json", "javascript", "javascript"]
    assert "document.title='owned'" not in "".join(text for _, text in outline.scripts)
    assert "&lt;/script&gt;&lt;script&gt;document.title" in page
    assert "example &lt;study&gt;" in page


def test_hostile_hover_texts_cannot_end_their_script(example_table, example_charts):
    chart = example_charts[0]
    trials = dataclasses.replace(chart.panels[0].series[0], hover=("</script><script>alert(1)</script>",) * 4)
    panel = dataclasses.replace(chart.panels[0], series=(trials,))
    outline = Outline(render_page(example_table, [dataclasses.replace(chart, panels=(panel,))]))
    kind, text = outline.scripts[0]
    assert (kind, len(outline.scripts)) == ("application/json", 3)
    (trace,) = json.loads(text)["history-0"]["data"]
    assert html.unescape(trace["hovertext"][0]) == "</script><script>alert(1)</script>"


def test_the_figures_are_json_without_nan(page, example_charts):
    _, text = Outline(page).scripts[0]

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    figures = json.loads(text, parse_constant=refuse)
    assert list(figures) == [f"{chart.name}-{place}" for chart in example_charts for place in range(len(chart.panels))]
    assert set(figures) <= set(Outline(page).ids)


def test_the_page_says_what_was_found_and_how_to_get_it_again(page):
    text = html.unescape(page)
    assert "Trial 0 is the best of 9 that finished: val/accuracy 90.00\xa0%." in text
    assert "12 trials: 9 complete, 2 pruned, 1 failed; 13 min 55 s from the first start to the end of the last" in text
    assert "python run.py model=transformer optimizer.lr=1e-3 model.heads=4" in text
    assert [name in Outline(page).ids for name in ("best", "ranking", "failures", "facts", "reading")] == [True] * 5


def test_a_sweep_without_a_finished_run_says_so(example_table):
    failed = dataclasses.replace(
        example_table, rows=example_table.rows[-1:], importances=(), importance_note="too few trials"
    )
    page = render_page(failed, [])
    assert "No trial has finished, so there is no best one." in page
    assert "1 trial: 1 failed" in page
    assert "best" not in Outline(page).ids
    assert "too few trials" in page
    empty = render_page(dataclasses.replace(failed, rows=()), [])
    assert "There are no trials yet." in empty


def test_a_table_of_thousands_of_rows_is_cut_and_says_so(example_table):
    curve = tuple(CurvePoint(epoch, 0.5) for epoch in range(MOST_ROWS + 7))
    row = dataclasses.replace(example_table.rows[0], curve=curve)
    page = render_page(dataclasses.replace(example_table, rows=(row,)), [])
    assert f"The first {MOST_ROWS} of {MOST_ROWS + 7} rows; learning_curves.csv has them all." in page


@pytest.mark.parametrize(
    ("cell", "key"),
    [(None, ""), (math.nan, ""), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (1e-5, "1e-05"), (3, "3"),
     ("inf", "inf"), ("null", "null"), (True, "True")],
)  # fmt: skip
def test_what_is_sorted_by_is_a_number_for_the_browser_too(cell, key):
    assert _sort_key(cell) == key

"""The page on a run's errors: complete, self-contained, and safe against whatever a review holds."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from sentiment.errors import SentimentError
from sentiment.models.attribution import Attribution
from sentiment.report.errors.analysis import Explanation, RunErrors, view_attention
from sentiment.report.errors.page import render_page, write_report
from sentiment.report.errors.summary import make_charts, make_tables, say_calibration, summarize
from sentiment.report.errors.tables import LabelledPredictions, tabulate_errors

HOSTILE = "not </script><script>alert(1)</script> <img src=http://evil.example/x> but good"


def make_analysis(negated_right=False, classes=("negative", "positive"), explained=True):
    """80 reviews, all right but, unless told otherwise, the 30 with a negation; the first of them is hostile."""
    texts = [HOSTILE, *(f"not good {n}" for n in range(29)), *(f"good {n}" for n in range(50))]
    labels = np.arange(80) % len(classes)
    predicted = labels.copy()
    if not negated_right:
        predicted[:30] = (labels[:30] + 1) % len(classes)
    probabilities = np.full((80, len(classes)), 0.2 / (len(classes) - 1), dtype=np.float32)
    probabilities[np.arange(80), predicted] = 0.8
    lengths = np.array([len(text.split()) for text in texts])
    tables = tabulate_errors(LabelledPredictions(texts, labels, probabilities, lengths, classes, max_tokens=4), shown=3)
    explanations = tuple(explain(review.text) for review in tables.wrong_reviews) if explained else ()
    return RunErrors("transformer seed=1", None, "test", "as stored", 4, tables, explanations)


def explain(text):
    spans = tuple(match.span() for match in re.finditer(r"\S+", text))
    words = tuple(text[start:end] for start, end in spans)
    scores = (*(float(place) - 1 for place in range(len(words) - 1)), None)
    attention = view_attention(words, np.full((1, 2, len(words), len(words)), 1 / len(words)))
    return Explanation(Attribution(text, "positive", 0.8, words, spans, scores, 0.0, 1.0, 0.0), attention)


@pytest.fixture(scope="module")
def page():
    return render_page(make_analysis())


def test_the_page_asks_for_nothing_and_runs_only_its_own_scripts(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"<(script|link|img|iframe|object)\b[^>]*(src|href)=(?!\"?data:)", markup)
    assert page.count("<script") - page.count("<script>alert") == 4


def test_a_hostile_review_is_text(page):
    markup = page[: page.index('<script type="application/json" id="figures"')]
    assert "<img src=http" not in markup
    assert "<script>alert" not in page
    assert "&lt;img" in markup
    attention = re.search(r'<script type="application/json" id="attention">(.*?)</script>', page, re.DOTALL)
    assert attention is not None
    assert json.loads(attention[1])["0"]["tokens"] == HOSTILE.split()


def test_the_page_shows_findings_plots_and_wrong_reviews(page):
    assert "50 of 80 test reviews are right: 62.50\xa0%" in page
    assert page.count('<article class="wrong"') == 3
    assert page.count('<details class="attention"') == 3
    assert "<b>Attribution</b>" in page
    assert "<b>Attention</b>" in page
    assert "layer 1, head 2" in page
    for chart in make_charts(make_analysis().tables):
        assert f'id="{chart.name}"' in page
    assert "cut to 4" in page


def test_a_long_name_is_cut_in_the_title_and_whole_beneath_it():
    name = "transformer " + " ".join(f"setting{number}=0.123" for number in range(9))
    page = render_page(replace(make_analysis(), name=name))
    assert re.search(r"<h1>([^<]*)</h1>", page)[1].endswith("…")
    assert f'<p class="note">{name}</p>' in page


def test_without_wrong_reviews_or_explanations_the_page_says_so():
    perfect = render_page(make_analysis(negated_right=True))
    assert "every review is right" in perfect
    plain = render_page(make_analysis(explained=False))
    assert '<details class="attention"' not in plain
    assert "<b>Attribution</b>" not in plain
    assert "<b>Attention</b>" not in plain
    assert "&lt;script&gt;alert(1)" in plain
    none = make_analysis(explained=False)
    none = replace(none, tables=replace(none.tables, wrong_reviews=()))
    assert "None was asked for" in render_page(none)


def test_what_a_reader_of_the_shares_has_to_know_stands_beside_the_review():
    analysis = make_analysis()
    first, *others = analysis.explanations
    far = replace(first, attribution=replace(first.attribution, baseline=-2.0))
    page = render_page(replace(analysis, explanations=(far, *others)))
    assert page.count("without a known word the margin is -2.00, with these +1.00") == 1


def test_many_classes_are_drawn_instead_of_written():
    page = render_page(make_analysis(classes=tuple(f"class {n}" for n in range(13))))
    assert 'id="confusion-0"' in page
    assert 'class="confusion"' not in page


def test_the_shares_of_a_class_without_a_review_are_undefined():
    labels, texts = np.zeros(4, dtype=np.int64), ["good"] * 4
    probabilities = np.full((4, 2), (0.8, 0.2), dtype=np.float32)
    tables = tabulate_errors(LabelledPredictions(texts, labels, probabilities, np.ones(4, int), ("a", "b")))
    page = render_page(RunErrors("rnn", None, "given", "made now", None, tables, ()))
    row = re.search(r'<th scope="row">b</th>.*', page)
    assert re.findall(r"<span>([^<]*)</span>", row[0]) == ["undefined", "undefined"]


def test_the_sentences_name_the_planted_error():
    accuracy, calibration, negation, contrast, worst = summarize(make_analysis())
    assert accuracy.startswith("50 of 80 test reviews are right: 62.50 % (95 % interval 51.55 % to 72.31 %")
    assert "surer than it is right: mean confidence 80.00 %" in calibration
    assert negation.startswith(
        "Reviews with negation are harder than those without: 0.00 % against 100.00 % right (−100.00"
    )
    assert contrast.startswith("Reviews with contrast are not shown to be harder or easier")
    assert "reviews with negation, 0.00 % right (0.00 % to 11.35 %), 0 of 30; the rest 100.00 %" in worst


def test_a_model_without_a_worst_part_is_not_given_one():
    sentences = summarize(make_analysis(negated_right=True))
    assert "is shown to be worse than the rest" in sentences[-1]
    assert sentences[-1].startswith("None of the")
    assert "not shown to be harder" in sentences[2]


@pytest.mark.parametrize("right", [0, 1])
def test_of_one_review_no_calibration_is_claimed(right):
    probabilities = np.array([[0.45, 0.55]], dtype=np.float32)
    reviews = LabelledPredictions(["good"], np.array([right]), probabilities, np.ones(1, int), ("a", "b"))
    assert "the model is not shown to be surer or less sure than it is right" in say_calibration(
        tabulate_errors(reviews)
    )


def test_files_are_the_tables_of_the_page(tmp_path):
    analysis = make_analysis()
    files = write_report(analysis, tmp_path / "new" / "errors")
    names = {str(file.relative_to(tmp_path / "new" / "errors")) for file in files}
    assert names == {
        "errors.html", "tables/slices.csv", "tables/confusion.csv", "tables/calibration.csv", "tables/lengths.csv",
        "tables/wrong_reviews.csv", "plots/confusion.png", "plots/calibration.png", "plots/accuracy_by_length.png",
        "plots/accuracy_by_phenomenon.png",
    }  # fmt: skip
    assert all(file.stat().st_size for file in files)
    assert not list((tmp_path / "new").rglob(".*"))
    with (tmp_path / "new/errors/tables/wrong_reviews.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["text"] for row in rows] == [review.text for review in analysis.tables.wrong_reviews]
    (slices,) = (table for table in make_tables(analysis.tables) if table.name == "slices")
    assert slices.rows[0][:4] == ("with negation", 30, 0, 0.0)
    assert 0 in slices.marked


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SentimentError, match=r"file/errors cannot be written.*\n.*--output FOLDER"):
        write_report(make_analysis(explained=False), tmp_path / "file" / "errors")


def test_charts_show_the_tables():
    tables = make_analysis().tables
    confusion, calibration, lengths, phenomena = make_charts(tables)
    (cells,) = confusion.panels[0].series
    assert cells.colour == pytest.approx((tables.confusion / tables.confusion.sum(1, keepdims=True)).ravel())
    points = calibration.panels[0].series[1]
    assert points.y == tuple(part.share.accuracy for part in tables.equal_mass.bins)
    assert sum(calibration.panels[1].series[0].x) == tables.overall.reviews
    whole, cut = lengths.panels[0].series[1:]
    assert len(whole.x) + len(cut.x) == len(tables.lengths)
    assert (cut.name, len(cut.x)) == ("some or all of them cut", sum(part.cut > 0 for part in tables.lengths))
    by_one = phenomena.panels[0].series[1]
    assert dict(zip(by_one.y, by_one.x, strict=True))["negation"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_draws_it_without_a_complaint_or_a_request(visit, page, tmp_path, width, scheme):
    file = tmp_path / "errors.html"
    file.write_text(page, encoding="utf-8")
    opened = visit(file, width, scheme)
    opened.wait_for_selector("html[data-drawn]", state="attached", timeout=90_000)
    assert opened.complaints == []
    assert [url for url in opened.requests if not url.startswith(("file://", "data:", "blob:"))] == []
    assert opened.locator(".scatterlayer path").count() > 0
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    opened.locator("summary").first.click()
    assert opened.locator("details[open]").first.is_visible()
    opened.context.close()

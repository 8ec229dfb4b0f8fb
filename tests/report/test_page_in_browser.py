"""The page in a real browser: drawn, quiet, offline, and answering to a person."""

from __future__ import annotations

import re
import threading

import pytest

from sentiment.report.draw.table import Link
from sentiment.report.sweep.charts import make_charts
from sentiment.report.sweep.page import render_page
from sentiment.report.sweep.server import LiveServer
from sentiment.tracking.result_file import write_result

pytestmark = pytest.mark.slow  # seconds of drawing a page

DRAWING_MS = 90_000


@pytest.fixture(scope="module")
def opened():
    """Pages by width and colour scheme: loading one takes seconds, so tests share them and leave them as found."""
    pages = {}
    yield pages
    for page in pages.values():
        page.context.close()


@pytest.fixture
def open_page(visit, opened, example_table, example_charts, tmp_path):
    """Open the example's page in a window of a width and a colour scheme."""

    def open_(width=1280, scheme="light"):
        if (width, scheme) not in opened:
            file = tmp_path / "report.html"
            file.write_text(render_page(example_table, example_charts), encoding="utf-8")
            opened[width, scheme] = visit(file, width, scheme)
            opened[width, scheme].wait_for_selector("html[data-drawn]", state="attached", timeout=DRAWING_MS)
        return opened[width, scheme]

    return open_


def luminance(colour):
    """Relative luminance of ``rgb(r, g, b)`` (WCAG 2.2)."""
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def count_marks(page, panel_id):
    return page.locator(f"#{panel_id} :is(.scatterlayer path, .barlayer path, .heatmaplayer image)")


def test_the_page_draws_every_panel_without_a_complaint_or_a_request(open_page, example_charts):
    page = open_page()
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith(("file://", "data:", "blob:"))] == []
    for chart in example_charts:
        for number in range(len(chart.panels)):
            assert count_marks(page, f"{chart.name}-{number}").count() > 0, f"{chart.name}, panel {number}"
    assert page.title() == "example <study>: sweep report"  # the hostile reason did not run
    assert page.locator("[data-title*='hare']").count() == 0  # plotly's button uploads a plot


def test_a_person_can_hover_hide_sort_and_switch_the_theme(open_page):
    page = open_page()

    point = page.locator("#history-0 .scatterlayer .trace").first.locator("path.point").nth(1)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#history-0 .hoverlayer .hovertext")
    assert "a < b" in page.locator("#history-0 .hoverlayer").text_content()
    page.mouse.move(0, 0)

    pruned = page.locator("#history .legend button", has_text="pruned")
    before = page.locator("#history path.point").count()
    pruned.click()
    page.wait_for_timeout(300)
    assert pruned.get_attribute("aria-pressed") == "false"
    assert page.locator("#history path.point").count() == before - 4  # two points in each of two panels
    pruned.click()
    page.wait_for_timeout(300)
    assert page.locator("#history path.point").count() == before

    heading = page.locator("#table-ranking th", has_text="val/loss")
    losses = page.locator(f"#table-ranking td:nth-child({heading.evaluate('cell => cell.cellIndex') + 1})")
    heading.locator("button").click()
    heading.locator("button").click()
    numbers = [float(text) for text in losses.all_text_contents() if text != "–"]
    assert (heading.get_attribute("aria-sort"), numbers) == ("descending", sorted(numbers, reverse=True))
    assert losses.last.text_content() == "–"  # what was not measured stays last
    mixed = ["text 10", "Infinity", "0.5", "null", "1e-05", "0.1", "text 9", "0.05", "-Infinity"]
    assert page.evaluate("texts => texts.sort(compareValues)", mixed) == [
        "-Infinity", "1e-05", "0.05", "0.1", "0.5", "Infinity", "null", "text 9", "text 10",
    ]  # fmt: skip

    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    page.wait_for_timeout(300)
    assert luminance(page.evaluate("getComputedStyle(document.body).backgroundColor")) < 0.1 < luminance(light)
    title = page.locator("#history-0 .xtitle").evaluate("text => getComputedStyle(text).fill")
    assert contrast(title, page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")) > 7
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light
    assert page.complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_text_stands_out_in_both_themes(open_page, width, scheme):
    page = open_page(width, scheme)
    page_colour = page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert (luminance(page_colour) < 0.1) == (scheme == "dark")
    for selector in ("h2", ".caption", ".note", "td", ".state.failed", ".state.complete, .state.finished", "nav a"):
        colour = page.locator(selector).first.evaluate("node => getComputedStyle(node).color")
        assert contrast(colour, page_colour) >= 4.5, selector  # WCAG 2.2, level AA


def test_on_a_phone_nothing_is_wider_than_the_screen_and_panels_are_stacked(open_page):
    page = open_page(390, "dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    first, second = (page.locator(f"#history-{number}").bounding_box() for number in (0, 1))
    assert second["y"] >= first["y"] + first["height"]
    assert first["width"] > 300
    table = page.locator("#ranking .scroll")
    assert table.evaluate("box => box.scrollWidth > box.clientWidth")  # it scrolls within its own box
    page.locator("#history-0").scroll_into_view_if_needed()
    point = page.locator("#history-0 path.point").first.bounding_box()
    page.touchscreen.tap(point["x"] + point["width"] / 2, point["y"] + point["height"] / 2)
    page.wait_for_selector("#history-0 .hoverlayer .hovertext")
    assert page.complaints == []


def test_the_command_can_be_copied(open_page, example_table):
    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#copy").click()
    page.wait_for_selector("#copy:has-text('Copied')")
    assert page.evaluate("navigator.clipboard.readText()") == example_table.best_command


def test_it_draws_in_a_sandboxed_frame_as_trackers_show_it(visit, example_table, example_charts, tmp_path):
    (tmp_path / "report.html").write_text(render_page(example_table, example_charts), encoding="utf-8")
    outer = tmp_path / "outer.html"
    outer.write_text('<iframe sandbox="allow-scripts" src="report.html" width="900" height="700"></iframe>')
    page = visit(outer)
    frame = page.frame_locator("iframe")
    frame.locator("html[data-drawn]").wait_for(state="attached", timeout=DRAWING_MS)
    assert frame.locator("#history-0 .scatterlayer path").count() > 0
    assert page.complaints == []
    page.context.close()


def test_a_range_brushed_on_an_axis_keeps_its_trials_on_the_whole_page(visit, example_table, tmp_path):
    file = tmp_path / "report.html"
    links = {(0, "job"): (Link("curve", f"#curve-{example_table.best.number}"),)}
    file.write_text(render_page(example_table, make_charts(example_table), links), encoding="utf-8")
    page = visit(file)
    page.wait_for_selector("html[data-drawn]", state="attached", timeout=DRAWING_MS)
    panel = page.locator("#parallel_coordinates-0")
    buttons = panel.locator(".modebar-btn").evaluate_all("buttons => buttons.map((button) => button.dataset.title)")
    assert buttons == ["Download plot as a PNG"]  # a zoomed axis would have its ranges elsewhere
    pruned, points = page.locator("#slices .legend button", has_text="pruned"), page.locator("#slices path.point")
    all_points = points.count()
    pruned.click()
    page.wait_for_timeout(300)
    without_pruned = points.count()
    assert without_pruned < all_points
    panel.scroll_into_view_if_needed()
    box = panel.locator(".nsewdrag").bounding_box()
    rows = page.locator("#table-ranking tbody tr:visible")
    all_rows, axes = rows.count(), panel.evaluate("panel => panel.layout.yaxis.tickvals.length")
    y = box["y"] + box["height"] * (axes - 0.5) / axes  # the objective's axis: the better half
    page.mouse.move(box["x"] + box["width"] * 0.55, y - 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, y)
    page.mouse.move(box["x"] + box["width"] - 1, y + 4)
    page.mouse.up()
    page.wait_for_selector("#chosen:visible")
    values = [row.values["val/accuracy"] for row in example_table.ranked]
    least = 0.45 * min(values) + 0.55 * max(values)
    assert rows.count() == sum(value >= least for value in values) < all_rows
    assert points.count() == without_pruned
    pruned.click()  # the legend alone decides, whatever was hidden when the range was chosen
    page.locator("#all").click()
    page.wait_for_timeout(300)
    assert (rows.count(), points.count()) == (all_rows, all_points)
    page.locator("a[href^='#curve-']").click()
    assert f"The learning curve of trial {example_table.best.number}" in page.locator("#chosen").text_content()
    opacities = page.evaluate(
        "document.getElementById('learning_curves-0').data.filter((t) => t.meta !== undefined).map((t) => t.opacity)"
    )
    assert sorted(opacities)[-2] < 0.1 < sorted(opacities)[-1]
    assert page.complaints == []
    page.context.close()


@pytest.fixture
def follow(browser, tmp_path):
    """Open the live page of the sweep in `tmp_path`; what it complains of is kept on it."""
    with LiveServer("127.0.0.1", 0, tmp_path, str) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_context().new_page()
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))

        def follow_(place=""):
            page.goto(f"{server.url}{place}")
            page.wait_for_selector("html[data-drawn]", state="attached", timeout=DRAWING_MS)
            return page

        yield follow_
        assert page.complaints == []
        server.shutdown()
        page.context.close()


def wait_for_curves(page, count):
    curves = page.locator("#learning_curves-0 .scatterlayer .trace")
    curves.nth(count - 1).wait_for(state="attached", timeout=DRAWING_MS)
    page.wait_for_timeout(500)  # the charts after it


def test_the_live_page_takes_up_what_is_new_and_keeps_what_a_person_chose(follow, make_record, tmp_path):
    write_result(tmp_path / "0", make_record(0, "rnn", "seed=0"))
    write_result(tmp_path / "1", make_record(1, "rnn", "seed=1"))
    page = follow()
    page.locator("#theme").click()
    page.locator("#table-ranking th button").nth(2).click()
    page.evaluate("scrollTo({ top: 400, behavior: 'instant' })")
    write_result(tmp_path / "2", make_record(2, "rnn", "seed=2"))
    page.wait_for_selector(".counts:has-text('3 trials')", timeout=DRAWING_MS)
    assert page.locator("#table-ranking tbody tr").count() == 3
    assert page.locator("th[aria-sort=ascending]").count() == 1
    assert page.evaluate("[scrollY, document.documentElement.dataset.theme]") == [400, "dark"]
    wait_for_curves(page, 3)


def test_an_opened_table_of_the_live_page_stays_open_where_another_one_appears(follow, make_record, tmp_path):
    curve = ({"step": 1, "epoch": 0.5, "val/accuracy": 0.5},)
    write_result(tmp_path / "0", make_record(0, "rnn", "seed=0", status="PRUNED", history=curve))
    page = follow()
    page.locator("details", has_text="Learning curves").locator("summary").click()
    for number in (1, 2):  # with the first one that finishes there is a table before it
        write_result(tmp_path / str(number), make_record(number, "rnn", f"seed={number}"))
        page.wait_for_selector(f".counts:has-text('{number + 1} trials')", timeout=DRAWING_MS)
        assert page.locator("#table-pareto").count() == 1
        assert page.locator("details[open] table").evaluate_all("found => found.map((table) => table.id)") == [
            "table-learning_curves"
        ]


def test_a_range_on_the_live_page_is_one_of_values(follow, make_record, tmp_path):
    def write(number, heads):
        overrides = (f"model.heads={heads}", f"seed={number % 3}")
        accuracy = 0.7 + 0.01 * (number % 3)
        write_result(tmp_path / str(number), make_record(number, "rnn", *overrides, accuracy=accuracy))

    def count_ranges():
        return page.evaluate("document.getElementById('parallel_coordinates-0').layout.shapes?.length ?? 0")

    for number, heads in enumerate([1, 4, 8]):
        write(number, heads)
    page = follow("#curve-1")
    rows = page.locator("#table-ranking tbody tr:visible")
    assert "The learning curve of trial 1" in page.locator("#chosen").text_content()
    page.locator("#all").click()
    page.evaluate("takeRange(document.getElementById('parallel_coordinates-0'), { x: [0.4, 1], y: [-0.2, 0.2] })")
    assert (rows.count(), count_ranges()) == (2, 1)
    write(3, 6)  # within the range
    wait_for_curves(page, 4)
    assert (rows.count(), count_ranges()) == (3, 1)
    assert "3 trials drawn in the chosen ranges" in page.locator("#chosen").text_content()  # not the address's curve
    write(4, 16)  # the axis has another end: its places stand for other values
    wait_for_curves(page, 5)
    assert (rows.count(), count_ranges(), page.locator("#chosen").is_visible()) == (5, 0, False)

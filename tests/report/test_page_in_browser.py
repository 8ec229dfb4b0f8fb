"""The page in a real browser: drawn, quiet, offline, and answering to a person."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from sentiment.report.page import render_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip

pytestmark = pytest.mark.skipif(
    BROWSER is None and os.environ.get("SENTIMENT_REQUIRE_BROWSER") != "1",
    reason="no chromium, chromium-browser or google-chrome on the path",
)


@pytest.fixture(scope="module")
def browser():
    assert BROWSER is not None, "SENTIMENT_REQUIRE_BROWSER=1, but there is no browser on the path"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def opened(browser):
    """Pages by width and colour scheme: loading one takes seconds, so tests share them and leave them as found."""
    pages = {}
    yield pages
    for page in pages.values():
        page.context.close()


@pytest.fixture
def open_page(browser, opened, example_table, example_charts, tmp_path):
    """Open the example's page in a window of a width and a colour scheme; complaints are kept on `page.complaints`."""

    def open_(width=1280, scheme="light"):
        if (width, scheme) in opened:
            return opened[width, scheme]
        file = tmp_path / "report.html"
        file.write_text(render_page(example_table, example_charts), encoding="utf-8")
        is_phone = width < 700
        context = browser.new_context(
            viewport={"width": width, "height": 850}, color_scheme=scheme, is_mobile=is_phone, has_touch=is_phone
        )
        page = opened[width, scheme] = context.new_page()
        page.complaints, page.requests = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-drawn]", state="attached", timeout=60_000)
        return page

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
    return page.locator(f"#{panel_id} :is(.scatterlayer path, .barlayer path, .heatmaplayer image, .contourlayer path)")


def test_the_page_draws_every_panel_without_a_complaint_or_a_request(open_page, example_charts):
    page = open_page()
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith(("file://", "data:", "blob:"))] == []
    for chart in example_charts:
        for number in range(len(chart.panels)):
            assert count_marks(page, f"{chart.name}-{number}").count() > 0, f"{chart.name}, panel {number}"
    assert page.title() == "example <study>: sweep report"  # the hostile reason did not run


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

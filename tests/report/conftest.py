"""Jobs of multiruns that nobody ran, and a browser to look at what is made of them."""

from __future__ import annotations

import os
import shutil

import pytest

from sentiment.report.draw.chart import Axis, Chart, Panel, Series
from sentiment.report.sweep.table import CurvePoint, Importance, SweepRow, SweepTable
from sentiment.tracking.result_file import ResultRecord

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

BROWSER_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip

OPENING_MS = 90_000
"""Longest wait for a page of five megabytes on a busy machine."""


@pytest.fixture(scope="session")
def browser():
    """Give a real Chromium; skips where there is none, unless ``SENTIMENT_REQUIRE_BROWSER=1``."""
    if BROWSER is None and os.environ.get("SENTIMENT_REQUIRE_BROWSER") != "1":
        pytest.skip("no chromium, chromium-browser or google-chrome on the path")
    assert BROWSER is not None, "SENTIMENT_REQUIRE_BROWSER=1, but there is no browser on the path"
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=list(BROWSER_FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def visit(browser):
    """Open a file in a window of a width and a colour scheme; complaints and requests are kept on the page."""

    def visit_(file, width=1280, scheme="light"):
        is_phone = width < 700
        context = browser.new_context(
            viewport={"width": width, "height": 850}, color_scheme=scheme, is_mobile=is_phone, has_touch=is_phone
        )
        page = context.new_page()
        page.complaints, page.requests = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(file.as_uri(), timeout=OPENING_MS)
        return page

    return visit_


@pytest.fixture
def make_record():
    """Make the record of a job; ``accuracy=None`` makes one that failed."""

    def make(number, model="transformer", *overrides, accuracy=0.8, status="FINISHED", reason=None, **changes):
        values = {"val/loss": 0.5, "val/accuracy": accuracy, "val/f1": 0.7, "test/accuracy": 0.75, "test/auroc": 0.9}
        history = tuple({"step": e, "epoch": e / 2, "val/loss": 0.5, "val/accuracy": accuracy} for e in (1, 2))
        done = status == "FINISHED"
        return ResultRecord(
            **{
                "name": f"{model} {number}", "model": model, "status": status, "started": "2026-01-01T00:00:00+00:00",
                "overrides": (f"model={model}", *overrides), "job_number": number, "reason": reason,
                "metrics": values if done else {}, "history": history if done else (), "parameters": 2_612_345,
                "seconds": 75.4, "epochs": 1.0, "best_epoch": 0.5, "test_reviews": 1000, "run_id": f"run{number}",
                **changes,
            }
        )  # fmt: skip

    return make


HOSTILE = "OSError: </script><script>document.title='owned'</script> <!-- & \"quoted\" 'text' \u2028 " + "x" * 300
"""A reason that tries to end the script it stands in, and is long."""


@pytest.fixture
def example_table(make_record):
    """Make a sweep of twelve trials: nine complete, two pruned, one failed with a hostile reason."""
    states = ["complete"] * 9 + ["pruned"] * 2 + ["failed"]
    rows = tuple(make_example_row(make_record, number, state) for number, state in enumerate(states))
    return SweepTable(
        name="example <study>",
        command="python run.py -m search=both",
        objectives=("val/accuracy",),
        directions=("maximize",),
        rows=rows,
        varied=("model", "model.heads", "optimizer.lr"),
        importances=(Importance("optimizer.lr", 0.7, 0.5, 0.9), Importance("model.heads", 0.2, 0.1, 0.4, "rnn")),
        importance_note="fANOVA over 9 trials, 20 resamples.",
        facts={"commit": "1a2b3c4", "hardware": "two cores"},
        log_scaled=frozenset({"optimizer.lr"}),
    )


def make_example_row(make_record, number, state):
    model = "rnn" if number % 2 else "transformer"
    value = 0.9 - number / 100
    metrics = {"val/accuracy": value, "val/loss": 0.3 + number / 50, "test/accuracy": value - 0.01}
    metrics |= {"model/parameters": 1000.0 * (12 - number), "time/fit_seconds": 60.0 + number}
    status = {"complete": "FINISHED", "pruned": "PRUNED", "failed": "FAILED"}[state]
    return SweepRow(
        number=number,
        label=f"{model} heads={2 ** (number % 3)} lr={1e-4 * (number + 1):.4g}",
        state=state,
        rank=number + 1 if state == "complete" else None,
        parameters={"model": model, "model.heads": 2 ** (number % 3), "optimizer.lr": 1e-4 * (number + 1)},
        values={} if state == "failed" else {"val/accuracy": value},
        metrics=metrics if state == "complete" else {},
        curve=tuple(CurvePoint(epoch / 2, value - 0.2 / epoch) for epoch in (1, 2, 3)) if state != "failed" else (),
        started_seconds=70.0 * number,
        ended_seconds=70.0 * number + 65,
        reason={"complete": None, "pruned": "below the median at step 2", "failed": HOSTILE}[state],
        runs=(make_record(number, model, "optimizer.lr=1e-3", "model.heads=4", status=status),),
        model=model,
        on_front=number == 0,
    )


@pytest.fixture
def example_charts():
    """Make a chart of each kind: panels, roles, categories, logarithm, percent, intervals, colours, empty cells."""
    share, epoch = Axis("val/accuracy", is_percent=True), Axis("epoch")
    history = (
        Series(
            "trials", "markers", (0, 1, 2, 3), (0.8, 0.84, 0.82, 0.87), hover=("trial 0", "a < b", "&", "two\nlines")
        ),
        Series("pruned", "markers", (4, 5), (0.7, 0.72), role="pruned"),
        Series("failed", "markers", (6,), (0.7,), role="failed"),
        Series("best so far", "step", (0, 1, 2, 3), (0.8, 0.84, 0.84, 0.87), role="best"),
    )
    heads = Axis("heads", categories=("1", "2", "4"))
    values = (0.8, 0.85, 0.82, float("nan"), 0.84, 0.88)
    return [
        Chart(
            "history",
            "Best so far",
            "Read it <b>so</b>.",
            (Panel(Axis("trial"), share, history), Panel(Axis("minutes"), share, history, "over time")),
            2,
        ),
        Chart(
            "parameter_importance",
            "Importance",
            "Bars.",
            (
                Panel(
                    Axis("share", is_percent=True),
                    Axis("", categories=("learning rate", "heads")),
                    (Series("rnn", "bar", (0.7, 0.2), ("learning rate", "heads"), low=(0.5, 0.1), high=(0.9, 0.4)),),
                ),
            ),
        ),
        Chart(
            "slice",
            "Slices",
            "Points.",
            (
                Panel(
                    Axis("learning rate", is_log=True),
                    share,
                    (
                        Series(
                            "complete",
                            "markers",
                            (1e-4, 1e-3, 1e-2),
                            (0.8, 0.88, 0.84),
                            colour=(0.0, 5.0, 11.0),
                            colour_axis=Axis("trial"),
                        ),
                    ),
                ),
                Panel(
                    heads,
                    share,
                    (
                        Series(
                            "complete",
                            "markers",
                            ("1", 1.1, "4"),
                            (0.8, 0.88, 0.84),
                            colour=(0.0, 5.0, 11.0),
                            colour_axis=Axis("trial"),
                        ),
                        Series("pruned", "markers", ("2",), (0.7,), role="pruned"),
                    ),
                ),
            ),
            2,
        ),
        Chart(
            "cells",
            "Pairs",
            "Cells.",
            (
                Panel(
                    Axis("learning rate", is_log=True),
                    heads,
                    (
                        Series(
                            "",
                            "heatmap",
                            (1e-4, 1e-3),
                            ("1", "2", "4"),
                            colour=values,
                            colour_axis=share,
                        ),
                        Series(
                            "trials",
                            "markers",
                            (1e-4, 1e-3),
                            ("1", "4"),
                            colour=(0.8, 0.88),
                            colour_axis=share,
                        ),
                    ),
                ),
                Panel(
                    Axis("embedding size"),
                    Axis("depth"),
                    (
                        Series(
                            "",
                            "heatmap",
                            (32.0, 64.0),
                            (1.0, 2.0, 3.0),
                            colour=values,
                            colour_axis=share,
                        ),
                    ),
                ),
            ),
            2,
        ),
        Chart(
            "curves",
            "Curves",
            "Lines.",
            (
                Panel(
                    epoch,
                    share,
                    (
                        Series("others", "line", (1, 2, 3), (0.7, 0.8, 0.81), role="faint"),
                        Series("others", "line", (1, 2, 3), (0.6, 0.7, 0.71), role="faint"),
                        Series("mean", "line+markers", (1, 2, 3), (0.65, 0.75, 0.76)),
                        Series("chance", "line", (1, 3), (0.5, 0.5), role="reference"),
                    ),
                ),
            ),
        ),
        Chart(
            "parallel",
            "Parallel",
            "Lines.",
            (
                Panel(
                    Axis("", categories=("heads", "lr", "val/accuracy")),
                    Axis("low to high"),
                    (
                        Series(
                            "",
                            "line",
                            ("heads", "lr", "val/accuracy"),
                            (0.0, 0.5, 1.0),
                            colour=(0.88,) * 3,
                            colour_axis=share,
                        ),
                        Series(
                            "",
                            "line",
                            ("heads", "lr", "val/accuracy"),
                            (1.0, 0.2, 0.1),
                            colour=(0.81,) * 3,
                            colour_axis=share,
                        ),
                    ),
                ),
            ),
        ),
    ]

"""The live page over HTTP: who may look, what the buttons may ask, and what a half-written sweep looks like."""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from sentiment.errors import SentimentError
from sentiment.report.sweep.server import LivePage, LiveServer
from sentiment.tracking.result_file import write_result


@pytest.fixture
def sweep_dir(tmp_path, make_record):
    folder = tmp_path / "sweep"
    for number in (0, 1):
        write_result(folder / str(number), make_record(number, "rnn", f"seed={number}", accuracy=0.7))
    (folder / "0/run.log").write_text("a line", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("not yours", encoding="utf-8")
    (folder / "0/link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


@pytest.fixture
def asked():
    return []


@pytest.fixture
def server(sweep_dir, asked, monkeypatch):
    monkeypatch.setattr("sentiment.report.sweep.server.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("sentiment.report.sweep.server.SHARE", 1e9)

    def stop(trial):
        asked.append(trial)
        if trial == 7:
            raise SentimentError("Trial 7 does not run.")
        return "It ends."

    with LiveServer("127.0.0.1", 0, sweep_dir, stop) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def ask(server):
    """Ask for an address as it stands, and return status, headers and text."""
    url = urlsplit(server.url)

    def ask_(place, method="GET", body=None, **headers):
        connection = http.client.HTTPConnection(url.netloc, timeout=30)
        path = place if place.startswith("/") else url.path + place
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers, text

    return ask_


def test_the_page_is_the_report_and_follows_the_sweep(ask, sweep_dir, make_record):
    status, headers, page = ask("")
    assert (status, headers["Cache-Control"]) == (200, "no-store")
    assert 'id="table-ranking"' in page
    assert "connect-src 'self'" in page
    assert '<a href="../0/">0</a> <a href="#curve-0">curve</a>' in page
    first = json.loads(ask("state")[2])
    assert first["standing"] == "No command works on it now."
    assert f'data-mark="{first["mark"]}"' in page
    assert json.loads(ask("state")[2]) == first
    write_result(sweep_dir / "2", make_record(2, "rnn", "seed=2", accuracy=0.9))
    assert json.loads(ask("state")[2])["mark"] != first["mark"]
    fresh = ask("now")[2]
    assert "3 trials: 3 complete" in fresh
    assert "Plotly" not in fresh


def test_what_is_half_written_is_said_and_the_last_state_stays(ask, sweep_dir, monkeypatch):
    page = ask("now")[2]
    assert "2 trials: 2 complete" in page
    (sweep_dir / "1/result.json").write_text('{"name": "rn', encoding="utf-8")
    assert "It is left out." in ask("now")[2]
    monkeypatch.setattr("sentiment.report.sweep.server.collect_sweep", lambda folder: 1 / 0)
    status, _, page = ask("now")
    assert (status, "It cannot be read just now" in page) == (200, True)
    assert "1 trial: 1 complete" in page
    assert "Traceback" not in page


def test_nothing_is_served_without_the_token_or_to_another_name(ask, server):
    place = urlsplit(server.url).path
    for path in ("/", "/report/", place.replace(server.token, server.token[:-1]), f"/x{place}"):
        status, _, text = ask(path)
        assert (status, server.token in text) == (404, False)
    assert ask("", Host="evil.example")[0] == 421
    assert ask("state", Host=f"localhost:{server.server_address[1]}")[0] == 200


def test_files_of_the_folder_alone_are_served_without_an_origin(ask):
    status, headers, text = ask("x/../../0/run.log")
    assert (status, text, headers["Content-Type"]) == (200, "a line", "text/plain; charset=utf-8")
    assert headers["Content-Security-Policy"].startswith("sandbox")
    for place in ("../0/link.txt", "../../secret.txt", "../%2e%2e/secret.txt", "../..%2fsecret.txt", "../0/none"):
        status, _, text = ask(place)
        assert (status, "not yours" in text) == (404, False), place


def test_the_buttons_ask_for_a_stop_and_no_other_page_can(ask, server, asked):
    own = f"http://127.0.0.1:{server.server_address[1]}"
    assert ask("stop", "POST", "{}", Origin=own)[::2] == (200, "It ends.")
    assert ask("stop", "POST", '{"trial": 3}', Origin=own)[0] == 200
    assert ask("stop", "POST", '{"trial": 7}', Origin=own)[::2] == (409, "Trial 7 does not run.")
    assert asked == [None, 3, 7]
    for origin in ("null", "http://evil.example", "https://127.0.0.1", own.replace("http", "https")):
        assert ask("stop", "POST", "{}", Origin=origin)[0] == 403
    assert ask("stop", "POST", "{}")[0] == 403
    assert ask("stop")[0] == 404
    for body in ("", "[]", '{"trial": true}', '{"trial": 1, "x": 2}', '{"trial": "1"}', "x" * 2000):
        status, _, text = ask("stop", "POST", body, Origin=own)
        assert (status, "Traceback" in text) == (400, False), body
    assert len(asked) == 3


def test_a_port_that_is_taken_is_said_or_passed_over(server, sweep_dir, monkeypatch):
    taken = server.server_address[1]
    with pytest.raises(SentimentError, match=r"port \d+: .*in use(.|\n)*--port 0"):
        LiveServer("127.0.0.1", taken, sweep_dir, str)
    monkeypatch.setattr("sentiment.report.sweep.server.PORT", taken)
    with LiveServer("127.0.0.1", None, sweep_dir, str) as other:
        assert taken < other.server_address[1] <= taken + 20


@pytest.mark.parametrize(
    ("host", "name", "is_own"),
    [
        ("127.0.0.1", "127.0.0.1:8500", True), ("127.0.0.1", "[::1]:8500", True), ("127.0.0.1", "192.168.1.7", False),
        ("0.0.0.0", "192.168.1.7:8500", True), ("0.0.0.0", "evil.example", False), ("127.0.0.1", "", False),
    ],
)  # fmt: skip
def test_only_addresses_of_this_server_are_its_names(sweep_dir, host, name, is_own):
    with LiveServer(host, 0, sweep_dir, str) as server:
        assert server.is_own_name(name) is is_own


def test_importances_are_measured_anew_when_a_pruned_trial_joins_them(example_table, tmp_path, monkeypatch):
    counts = []
    monkeypatch.setattr(
        "sentiment.report.sweep.server.add_importances", lambda table: counts.append(len(table.rows)) or table
    )
    page = LivePage(tmp_path)
    pruned = next(row for row in example_table.rows if row.state == "pruned")
    before = replace(example_table, rows=tuple(row for row in example_table.rows if row is not pruned))
    for table in (before, before, example_table, replace(example_table, notes=("new",))):
        page._explain(table)
    assert counts == [11, 12]

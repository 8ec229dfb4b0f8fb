"""Serve the live report of one sweep, made anew as it changes, with the files of its folder.

It is for whoever has the address, which holds a token: without it nothing is served. A page of another site cannot ask
(`Origin`), nor can one whose name was bound to this machine afterwards (`Host`); and other files of the folder are
shown without the right to ask.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from sentiment.errors import SentimentError, describe_failure, first_line
from sentiment.report.sweep.charts import make_charts
from sentiment.report.sweep.collect import SweepMissingError, collect_records, collect_sweep
from sentiment.report.sweep.importance import add_importances
from sentiment.report.sweep.page import REPORT_FOLDER, link_rows, render_page
from sentiment.report.sweep.table import SweepTable

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"

PORT = 8500

TRIED_PORTS = 20
"""Ports that are tried, one after the other, where none is asked for."""

MOST_BYTES = 1000
"""Length of a request's body."""

SILENT_SECONDS = 30
"""After so long without a word a connection is closed."""

PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""Of the page and its answers; its own policy on scripts stands in the page."""

FILE_HEADERS = {**PAGE_HEADERS, "Content-Security-Policy": "sandbox allow-scripts allow-popups; frame-ancestors 'none'"}
"""Of a file of the sweep's folder: a page among them has no origin, so that it can ask for nothing."""

TEXTS = dict.fromkeys((".log", ".yaml", ".csv", ".txt", ".json"), "text/plain; charset=utf-8")
"""What a browser shows rather than saves."""

Stop = Callable[[int | None], str]
"""Asks the study to end, or one of its trials; returns when it takes effect."""

LEAST_SECONDS = 1.0
"""Time between two looks at the sweep, however many pages ask."""

SHARE = 0.2
"""Share of the time that looking may take: a large study takes longer to read, and its command needs the cores."""


class LiveServer(ThreadingHTTPServer):
    """Serves one sweep.

    Args:
        host: Address or name to listen on.
        port: Port; None: `PORT`, or the next one that is free.
        sweep_dir: The sweep's folder.
        stop: What the page's buttons do.

    Raises:
        SentimentError: The port is taken, or the address is none of this machine's.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int | None, sweep_dir: Path, stop: Stop) -> None:
        self.page = LivePage(sweep_dir)
        self.stop = stop
        self.token = secrets.token_urlsafe(24)
        self._host = host
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        handler = partial(_Handler, directory=str(sweep_dir.resolve()))
        ports = range(PORT, PORT + TRIED_PORTS) if port is None else (port,)
        for number in ports:
            try:
                super().__init__((host, number), handler)
                return
            except (OSError, OverflowError) as error:
                failure = error
        tried = f"port {ports[0]}" if len(ports) == 1 else f"none of the ports {ports[0]} to {ports[-1]}"
        raise SentimentError(
            f"Nothing can be served on {host}, {tried}: {failure}",
            "choose another: --port 0 takes any that is free; --host has to be an address of this machine",
        )

    @property
    def url(self) -> str:
        """The address of the page, with the token."""
        name = socket.gethostname() if self._listens_everywhere else self._host
        name = f"[{name}]" if ":" in name else name
        return f"http://{name}:{self.server_address[1]}/{self.token}/{REPORT_FOLDER}/"

    @property
    def _listens_everywhere(self) -> bool:
        return self._host in ("", "0.0.0.0", "::")

    def is_own_name(self, name: str) -> bool:
        """Return whether a request's ``Host`` is this server: a name that somebody else bound to it is not."""
        host = (urlsplit(f"//{name}").hostname or "").lower()
        if host in (self._host.lower(), "localhost", LOOPBACK, "::1"):
            return True
        if not self._listens_everywhere:
            return False
        try:
            ipaddress.ip_address(host)  # nobody can bind an address to another one
            return True
        except ValueError:
            return host in (socket.gethostname().lower(), socket.getfqdn().lower())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing on the terminal of what a browser broke off."""
        log.debug("A request broke off.", exc_info=True)


class _Handler(SimpleHTTPRequestHandler):
    server: LiveServer
    server_version, sys_version = "sentiment", ""
    timeout = SILENT_SECONDS
    extensions_map = SimpleHTTPRequestHandler.extensions_map | TEXTS

    def do_GET(self) -> None:
        place = self._find_place()
        if place is None:
            return
        if place in (f"{REPORT_FOLDER}/", f"{REPORT_FOLDER}/now"):
            self._answer(lambda: self.server.page.render(has_scripts=place.endswith("/")), "text/html")
        elif place == f"{REPORT_FOLDER}/state":
            self._answer(self._write_state, "application/json")
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._find_place() is not None:
            self._send(HTTPStatus.METHOD_NOT_ALLOWED, "", "text/plain")

    def do_POST(self) -> None:
        place = self._find_place()
        if place is None:
            return
        origin = urlsplit(self.headers.get("Origin", ""))
        if place != f"{REPORT_FOLDER}/stop" or origin.scheme != "http" or origin.netloc != self.headers["Host"]:
            self._send(HTTPStatus.FORBIDDEN, "Only the page itself may ask.", "text/plain")
            return
        self._answer(lambda: self.server.stop(self._read_trial()), "text/plain")

    def _find_place(self) -> str | None:
        """Return what is asked for below the token; None where the request was refused."""
        if not self.server.is_own_name(self.headers.get("Host", "")):
            self._send(HTTPStatus.MISDIRECTED_REQUEST, "This server has another name.", "text/plain")
            return None
        token, _, place = unquote(urlsplit(self.path).path).removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._send(HTTPStatus.NOT_FOUND, "Nothing is here: the address has to be the one printed.", "text/plain")
            return None
        return place

    def _read_trial(self) -> int | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            raise ValueError(f"a request has at most {MOST_BYTES} bytes")
        asked = json.loads(self.rfile.read(int(length)))
        if asked == {}:
            return None
        if set(asked) != {"trial"} or type(asked["trial"]) is not int:
            raise ValueError("a request names one trial, by its number, or none")
        return int(asked["trial"])

    def _write_state(self) -> str:
        mark, standing = self.server.page.look()
        return json.dumps({"mark": mark, "standing": standing})

    def _answer(self, make: Callable[[], str], kind: str) -> None:
        try:
            text, status = make(), HTTPStatus.OK
        except SentimentError as error:
            text, status, kind = str(error), HTTPStatus.CONFLICT, "text/plain"
        except Exception as error:
            log.debug("A request failed.", exc_info=True)
            text, kind = f"This cannot be answered just now: {error}", "text/plain"
            status = HTTPStatus.BAD_REQUEST if self.command == "POST" else HTTPStatus.SERVICE_UNAVAILABLE
        self._send(status, text, kind)

    def _send(self, status: HTTPStatus, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self._headers = PAGE_HEADERS
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    _headers = FILE_HEADERS

    def end_headers(self) -> None:
        for name, value in self._headers.items():
            self.send_header(name, value)
        super().end_headers()

    def translate_path(self, path: str) -> str:
        """Find a file of the folder; a link that leads out of it is none."""
        place = unquote(urlsplit(path).path).removeprefix(f"/{self.server.token}")
        file = Path(super().translate_path(quote(place)))
        is_inside = file.resolve().is_relative_to(self.directory)
        return str(file if is_inside else Path(self.directory) / "no such file")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Write no line a request: an address holds the token."""


class LivePage:
    """The page of a sweep as it is now; safe to ask from several threads.

    Args:
        sweep_dir: The sweep's folder.

    Attributes:
        table: The sweep as it was read last.
    """

    def __init__(self, sweep_dir: Path) -> None:
        self._sweep_dir = sweep_dir
        self._lock = threading.Lock()
        self._looked_again_at = 0.0
        self._read_at = datetime.now()
        self._problem: str | None = None
        self.table = collect_records([], sweep_dir.name)
        self._mark = ""
        self._importances: tuple[object, SweepTable] | None = None

    def look(self) -> tuple[str, str]:
        """Look at the sweep.

        Returns:
            What names the table's content, and how the sweep stands, for people. A state that cannot be read, e.g.
            because it is half written, is said there, and the last one that could be stays.
        """
        with self._lock:
            began = time.monotonic()
            if began >= self._looked_again_at:
                self._read()
                ended = time.monotonic()
                self._looked_again_at = ended + max(LEAST_SECONDS, (ended - began) / SHARE)
            return self._mark, self._describe()

    def _read(self) -> None:
        try:
            self.table = collect_sweep(self._sweep_dir)
        except SweepMissingError:
            self.table = collect_records([], self._sweep_dir.name, is_at_work=True)  # it has only just begun
        except Exception as error:  # whatever it is, the next look may find it whole
            self._problem = first_line(error) if isinstance(error, SentimentError) else describe_failure(error).reason
            return
        self._problem, self._read_at = None, datetime.now()
        self._mark = hashlib.sha256(repr(self.table).encode()).hexdigest()[:16]

    def _describe(self) -> str:
        if self._problem is not None:
            return f"It cannot be read just now; this is the state of {self._read_at:%H:%M:%S}. {self._problem}"
        if self.table.is_at_work:
            return "Running; this page follows."
        return "No command works on it now" + (
            "; the command that started it goes on with it." if self.table.is_study else "."
        )

    def render(self, *, has_scripts: bool = True) -> str:
        """Render the page; without scripts, for one that is open already."""
        mark, standing = self.look()
        with self._lock:
            table = self._explain(self.table)
            links = link_rows(table, self._sweep_dir, self._sweep_dir / REPORT_FOLDER)
            content = {"has_scripts": has_scripts, "mark": mark, "standing": standing}
            return render_page(table, make_charts(table), links, "live", **content)

    def _explain(self, table: SweepTable) -> SweepTable:
        """Add the importances, which take long: they stay while no further trial is complete or pruned."""
        measured = [(row.number, row.state, row.values) for row in table.rows if row.state in ("complete", "pruned")]
        if self._importances is None or self._importances[0] != measured:
            self._importances = measured, add_importances(table)
        known = self._importances[1]
        return replace(table, importances=known.importances, importance_note=known.importance_note)

"""A stand-in for the Hugging Face Hub on loopback: one data set repository at one commit.

It answers what `datasets` and `huggingface_hub` ask for when `HF_ENDPOINT` points at it: the repository's info,
its tree, information on single paths, and files (HEAD, GET, ranges) with the Hub's own headers. Everything
else is 404 in the Hub's form.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq


def parquet_bytes(texts: list[str], labels: list[int]) -> bytes:
    """Write reviews as the Hub's Parquet files hold them: `text` string, `label` int64."""
    buffer = io.BytesIO()
    table = pa.table({"text": pa.array(texts, pa.string()), "label": pa.array(labels, pa.int64())})
    pq.write_table(table, buffer)
    return buffer.getvalue()


def imdb_card(sizes: Mapping[str, int]) -> bytes:
    """Write the data set card, whose header tells `datasets` which files make which split."""
    splits = "".join(f"  - name: {name}\n    num_bytes: 1\n    num_examples: {size}\n" for name, size in sizes.items())
    files = "".join(f"  - split: {name}\n    path: plain_text/{name}-*\n" for name in sizes)
    header = (
        "---\ndataset_info:\n  config_name: plain_text\n  features:\n  - name: text\n    dtype: string\n"
        "  - name: label\n    dtype:\n      class_label:\n        names:\n          '0': neg\n          '1': pos\n"
        f"  splits:\n{splits}  download_size: 1\n  dataset_size: 1\n"
        f"configs:\n- config_name: plain_text\n  data_files:\n{files}  default: true\n---\n# IMDB\n"
    )
    return header.encode()


class HubServer(ThreadingHTTPServer):
    """Serves `files` (path to bytes) as data set `repository` at commit `revision`; keeps a list of requests."""

    daemon_threads = True

    def __init__(self, repository: str, revision: str, files: Mapping[str, bytes]) -> None:
        self.repository = repository
        self.revision = revision
        self.files = dict(files)
        self.requests: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def endpoint(self) -> str:
        """The value for `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serve_hub(repository: str, revision: str, files: Mapping[str, bytes]) -> Iterator[HubServer]:
    """Run a `HubServer` in a thread; it is gone when the block ends."""
    with HubServer(repository, revision, files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet."""

    def _answer(self, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        repository, revision = re.escape(self.server.repository), self.server.revision
        api = rf"/api/datasets/{repository}"
        if match := re.fullmatch(rf"/datasets/{repository}/resolve/([^/]+)/(.+)", path):
            self._send_file(*match.groups())
        elif match := re.fullmatch(rf"{api}(?:/revision/([^/]+))?", path):
            self._send_if_known(match[1], self._info())
        elif match := re.fullmatch(rf"{api}/tree/([^/]+)(?:/(.*))?", path):
            self._send_if_known(match[1], self._tree(match[2] or ""))
        elif match := re.fullmatch(rf"{api}/paths-info/([^/]+)", path):
            self._send_if_known(match[1], self._paths_info(body))
        else:
            self._send_error_code(404, "RepoNotFound", f"no answer for {path} at {revision}")

    def _known(self, revision: str | None) -> bool:
        return revision in (None, "main", self.server.revision)

    def _send_if_known(self, revision: str | None, payload: Any) -> None:
        if self._known(revision):
            self._send(200, json.dumps(payload).encode(), {"Content-Type": "application/json"})
        else:
            self._send_error_code(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def _info(self) -> dict[str, Any]:
        names = [{"rfilename": name} for name in sorted(self.server.files)]
        return {
            "_id": "1", "id": self.server.repository, "sha": self.server.revision, "private": False, "gated": False,
            "disabled": False, "downloads": 0, "likes": 0, "tags": [], "siblings": names,
        }  # fmt: skip

    def _entry(self, path: str) -> dict[str, Any] | None:
        if path in self.server.files:
            content = self.server.files[path]
            return {"type": "file", "oid": _etag(content), "size": len(content), "path": path}
        if any(name.startswith(f"{path}/") for name in self.server.files):
            return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
        return None

    def _tree(self, folder: str) -> list[dict[str, Any] | None]:
        recursive = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() == "true"
        prefix = f"{folder}/" if folder else ""
        found = set()
        for name in self.server.files:
            if name.startswith(prefix):
                parts = name.removeprefix(prefix).split("/")
                depth = len(parts) if recursive else 1
                found |= {prefix + "/".join(parts[: end + 1]) for end in range(depth)}
        return [self._entry(path) for path in sorted(found)]

    def _paths_info(self, body: bytes) -> list[dict[str, Any]]:
        if "json" in self.headers.get("Content-Type", ""):
            paths = json.loads(body)["paths"]
        else:
            paths = parse_qs(body.decode())["paths"]
        return [entry for path in paths if (entry := self._entry(path)) is not None]

    def _send_file(self, revision: str, path: str) -> None:
        if not self._known(revision):
            self._send_error_code(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif path not in self.server.files:
            self._send_error_code(404, "EntryNotFound", f"no {path}")
        else:
            content = self.server.files[path]
            headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": self.server.revision, "Accept-Ranges": "bytes"}
            if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start, end = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
                headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
                self._send(206, content[start : end + 1], headers)
            else:
                self._send(200, content, headers)

    def _send_error_code(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message, "X-Repo-Commit": self.server.revision}
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()

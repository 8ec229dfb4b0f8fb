"""A tracking server on the loopback that keeps runs in memory, and that can be slow, flaky, or dead."""

from __future__ import annotations

import json
import random
import ssl
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

EXPERIMENT = {"experiment_id": "1", "name": "sentiment", "lifecycle_stage": "active", "artifact_location": "x"}


class FakeServer:
    """The part of MLflow's REST interface that recording a run needs.

    Attributes:
        runs: Run id to its info, tags, params, and points in the order in which they came.
        requests: Paths, in order.
        gate: Requests are answered while it is set.
        error_rate: Share of requests that fail, half of them after they were done.
        delay_seconds: What every answer takes.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.runs: dict[str, dict] = {}
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.error_rate = 0.0
        self.delay_seconds = 0.0
        self.random = random.Random(0)
        self._lock = threading.Lock()
        self._port = 0
        self.start()

    @property
    def uri(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Answer again, at the same address."""
        handler = type("Handler", (Handler,), {"fake": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), handler)
        self._port = self._server.server_port
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def die(self) -> None:
        """Answer no more: connections are refused."""
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, query: dict, body: bytes) -> tuple[int, object]:
        """Do what a request asks for."""
        with self._lock:
            self.requests.append(path)
            chance = self.random.random()
            if chance < self.error_rate / 2:
                return 500, {"error_code": "INTERNAL_ERROR", "message": "flaky, nothing done"}
            done = self._do(method, path, query, body)
            if chance < self.error_rate:
                return 500, {"error_code": "INTERNAL_ERROR", "message": "flaky, done"}
            return done

    def _do(self, method: str, path: str, query: dict, body: bytes) -> tuple[int, object]:
        if path == "/":
            return 200, {}
        if path.startswith("/api/2.0/mlflow-artifacts/artifacts/"):
            self.files[path.partition("artifacts/artifacts/")[2]] = body
            return 200, {}
        content = json.loads(body) if body else query
        name = path.removeprefix("/api/2.0/mlflow/").replace("/", "_").replace("-", "_")
        action = getattr(self, f"_{name}", None)
        return (404, {"error_code": "ENDPOINT_NOT_FOUND", "message": path}) if action is None else action(content)

    def _experiments_get_by_name(self, content: dict) -> tuple[int, object]:
        return 200, {"experiment": EXPERIMENT}

    def _runs_create(self, content: dict) -> tuple[int, object]:
        run_id = uuid.uuid4().hex
        info = {
            "run_id": run_id, "run_uuid": run_id, "experiment_id": "1", "status": "RUNNING", "user_id": "",
            "run_name": content.get("run_name", ""), "start_time": content["start_time"], "lifecycle_stage": "active",
            "artifact_uri": f"mlflow-artifacts:/{run_id}",
        }  # fmt: skip
        tags = {tag["key"]: tag["value"] for tag in content.get("tags", [])}
        self.runs[run_id] = {"info": info, "tags": tags, "params": {}, "points": []}
        return 200, self._show(run_id)

    def _show(self, run_id: str) -> dict:
        run = self.runs[run_id]
        tags, params = ([{"key": k, "value": v} for k, v in run[part].items()] for part in ("tags", "params"))
        return {"run": {"info": run["info"], "data": {"tags": tags, "params": params, "metrics": []}}}

    def _runs_get(self, content: dict) -> tuple[int, object]:
        return 200, self._show(content["run_id"])

    def _runs_search(self, content: dict) -> tuple[int, object]:
        key = content["filter"].partition(" = ")[2].strip("'")
        found = [run_id for run_id, run in self.runs.items() if run["tags"].get("delivery.key") == key]
        active = [run_id for run_id in found if self.runs[run_id]["info"]["lifecycle_stage"] == "active"]
        return 200, {"runs": [self._show(run_id)["run"] for run_id in active]}

    def _runs_delete(self, content: dict) -> tuple[int, object]:
        self.runs[content["run_id"]]["info"]["lifecycle_stage"] = "deleted"
        return 200, {}

    def _runs_update(self, content: dict) -> tuple[int, object]:
        info = self.runs[content["run_id"]]["info"]
        info |= {key: content[key] for key in ("status", "end_time", "run_name") if key in content}
        return 200, {"run_info": info}

    def _runs_log_batch(self, content: dict) -> tuple[int, object]:
        run = self.runs[content["run_id"]]
        run["tags"] |= {tag["key"]: tag["value"] for tag in content.get("tags", [])}
        for param in content.get("params", []):
            assert run["params"].setdefault(param["key"], param["value"]) == param["value"], "params do not change"
        for metric in content.get("metrics", []):
            point = (metric["key"], int(metric.get("step", 0)), float(metric["value"]), int(metric["timestamp"]))
            if point not in run["points"]:  # MLflow's own store keeps equal points once
                run["points"].append(point)
        return 200, {}

    def _runs_set_tag(self, content: dict) -> tuple[int, object]:
        self.runs[content["run_id"]]["tags"][content["key"]] = content["value"]
        return 200, {}

    def _runs_delete_tag(self, content: dict) -> tuple[int, object]:
        self.runs[content["run_id"]]["tags"].pop(content["key"], None)
        return 200, {}


class Handler(BaseHTTPRequestHandler):
    """One request."""

    fake: FakeServer
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.fake.gate.wait(60)
        time.sleep(self.fake.delay_seconds)
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        status, content = self.fake.answer(self.command, url.path, query, body)
        answer = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer)
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

"""Several devices for one run: a replica of the network on each, in a process of its own, and a share of every batch.

The job's own process does not train. It starts the replicas, lets the reporter answer what the first one reports, and
tells all of them, so that all stop at the same step. When one dies, or this process is to end, all are ended; when this
process dies, the connections end, and the replicas with them. They find one another as the processes of torchrun do.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import queue
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partialmethod
from logging.handlers import QueueHandler
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, answer_challenge, deliver_challenge, wait
from pathlib import Path
from typing import Any

from torch import nn

from sentiment.config.home import PROJECT_DIR
from sentiment.config.schema import Settings, TrainerSettings
from sentiment.data.corpus import Corpus
from sentiment.errors import ConfigError, Fault, RunStopped, SentimentError
from sentiment.private import join_store
from sentiment.scratch import Scratch
from sentiment.training.device import DEFAULT_THREADS
from sentiment.training.metrics import check_metrics
from sentiment.training.result import Reporter, RunResult
from sentiment.training.run import plan_network, train_and_test, train_replica
from sentiment.training.start import FRESH, Beginning

KEY = "SENTIMENT_REPLICAS_KEY"
"""Environment variable with the secret by which the processes of a run know one another."""

LOOK_SECONDS = 0.2
"""Time between two looks at processes that start."""

CAUSE_SECONDS = 1.0
"""Time in which the cause of a failure arrives, where another replica's complaint about it came first."""

END_SECONDS = 20.0
"""Time that a replica has to end once it has said its last word."""


class ReplicaError(SentimentError):
    """A process of the run died."""


class ReplicaTraceback(Exception):  # noqa: N818 - no error, but where one was
    """The traceback of what a replica raised."""


def train_on_devices(
    settings: Settings, corpus: Corpus, output_dir: Path, reporter: Reporter, beginning: Beginning = FRESH
) -> RunResult:
    """Train and test one model on as many devices as the settings say; on one, in this process.

    Arguments, result and errors are those of `train_and_test`.

    Raises:
        ConfigError: A split has fewer reviews than there are devices.
        SentimentError: The network cannot be trained on several.
        ReplicaError: A process of the run died; the same call goes on from the last checkpoint.
    """
    trainer = settings.trainer
    if trainer.replicas == 1:
        return train_and_test(settings, corpus, output_dir, reporter, beginning)
    check_metrics(settings, corpus)
    splits = corpus.train, corpus.validation, *([corpus.test] if trainer.test else [])
    least = min(map(len, splits))
    if least < trainer.replicas:
        problem = f"{trainer.replicas} devices in all, and one of the splits that the run reads has {least} reviews"
        raise ConfigError([Fault("trainer.devices", problem, "take fewer devices, or more reviews")])
    _require_shareable(trainer, plan_network(settings, corpus))
    level = logging.getLogger().getEffectiveLevel()
    work = pickle.dumps((settings.model_dump_json(), corpus, output_dir.resolve(), beginning, level))
    with started(trainer) as (connections, processes):
        return attend(connections, processes, work, reporter)


def _require_shareable(trainer: TrainerSettings, network: nn.Module) -> None:
    """Refuse to share out the batches of a network that takes their means: each replica would take its share's."""
    kinds = nn.SyncBatchNorm.__bases__  # of one's own, too
    for name, part in network.named_modules():
        if part.training and isinstance(part, kinds) and not isinstance(part, nn.SyncBatchNorm):
            raise SentimentError(
                f"trainer.devices: {trainer.replicas} in all, and {name} of the network, a batch norm, needs whole "
                "batches.",
                "take one device, or in the network LayerNorm, which is of each review, or on GPUs SyncBatchNorm",
            )


@contextmanager
def started(trainer: TrainerSettings) -> Iterator[tuple[list[Connection], list[subprocess.Popen[bytes]]]]:
    """Start the replicas, and end them with the block; give their connections by number, and the processes.

    There is a process for each replica on this machine, and one of srun for all of the other nodes.
    """
    # Not at the top: a torch that is built for one device has none.
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    key, scratch, is_local = secrets.token_bytes(32), Scratch(), trainer.nodes == 1
    host = "127.0.0.1" if is_local else socket.gethostname()
    store = TCPStore(host, 0, trainer.replicas, is_master=True, wait_for_workers=False)
    processes: list[subprocess.Popen[bytes]] = []
    connections: dict[int, Connection] = {}
    with socket.socket(socket.AF_UNIX if is_local else socket.AF_INET) as listener:
        listener.bind(str(scratch.folder / "replicas") if is_local else ("", 0))
        listener.listen(trainer.replicas)
        address = listener.getsockname() if is_local else [host, listener.getsockname()[1]]
        environment = make_environment(trainer, host, store.port, key)
        try:
            for number in range(trainer.devices):
                processes.append(_start([], address, number, environment))
            if trainer.nodes > 1:
                processes.append(_start(write_srun(trainer), address, trainer.devices, environment))
            while len(connections) < trainer.replicas:
                for number, process in enumerate(processes):
                    if process.poll() is not None:
                        raise _explain_death(processes, number)
                if select.select([listener], [], [], LOOK_SECONDS)[0]:
                    _accept(listener, key, connections)
            yield [connections[number] for number in sorted(connections)], processes
            for process in processes:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(END_SECONDS)
        finally:
            for process in processes:
                process.kill()  # nothing is lost: what they write is whole or not there
            for connection in connections.values():
                connection.close()
            for process in processes:
                process.wait()
            scratch.remove()


def _start(prefix: list[str], address: object, number: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [*prefix, sys.executable, "-m", __spec__.name, json.dumps(address), str(number)]
    # A session of its own: Ctrl-C and a closed terminal are for the job's process, which then ends this one.
    return subprocess.Popen(command, env=environment, start_new_session=True)


def _accept(listener: socket.socket, key: bytes, connections: dict[int, Connection]) -> None:
    accepted, _ = listener.accept()
    accepted.setblocking(True)
    connection = Connection(accepted.detach())
    with suppress(AuthenticationError, EOFError, OSError):  # somebody else, or one that died: its process tells
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        connections[connection.recv()] = connection


def make_environment(trainer: TrainerSettings, host: str, port: int, key: bytes) -> dict[str, str]:
    """Return the environment of the replicas, which Lightning and torch read as that of torchrun."""
    inherited = {name: value for name, value in os.environ.items() if name != "SLURM_PROCID"}
    return {
        "OMP_NUM_THREADS": str(DEFAULT_THREADS),  # else Lightning sets the threads, after us
        **inherited,
        "PYTHONPATH": os.pathsep.join([str(PROJECT_DIR), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(trainer.replicas),
        "LOCAL_WORLD_SIZE": str(trainer.devices),
        "TORCHELASTIC_RUN_ID": "sentiment",
        **join_store(),  # it is this process's: there is no port that another one could take meanwhile
        KEY: key.hex(),
    }


def write_srun(trainer: TrainerSettings) -> list[str]:
    """Return the command that starts the replicas of all nodes of the allocation but this one."""
    others = trainer.nodes - 1
    return [
        "srun", "--overlap", f"--nodes={others}", f"--ntasks={others * trainer.devices}",
        f"--ntasks-per-node={trainer.devices}", "--distribution=block", "--kill-on-bad-exit=1",
        f"--exclude={os.environ.get('SLURMD_NODENAME', socket.gethostname())}",
    ]  # fmt: skip


def attend(
    connections: list[Connection], processes: list[subprocess.Popen[bytes]], work: bytes, reporter: Reporter
) -> RunResult:
    """Give the replicas their work, let the reporter answer, and return what the first replica brings.

    Raises:
        RunStopped: The reporter stopped the run; with how far it came.
        ReplicaError: A replica died.
        Exception: What a replica raised.
    """
    running = {connection: number for number, connection in enumerate(connections)}
    failures: list[Exception] = []
    result: RunResult | RunStopped | None = None
    stop: RunStopped | None = None
    deadline = None

    def tell(message: bytes) -> None:
        for connection in connections:
            with suppress(OSError):  # it has died: reading from it says so
                connection.send_bytes(message)

    tell(work)
    while running and (deadline is None or time.monotonic() < deadline):
        for connection in wait(list(running), None if deadline is None else LOOK_SECONDS):
            assert isinstance(connection, Connection)
            try:
                kind, content = connection.recv()
            except (EOFError, OSError):
                kind, content = "failed", (_explain_death(processes, running[connection]), "")
            if kind == "log":
                logging.getLogger(content.name).handle(content)
            elif kind == "report":
                tell(pickle.dumps(_answer(reporter, *content) or stop))
            elif kind == "step":  # nobody waits for an answer: a stop is the next one
                stop = stop or _answer(reporter, "stepped", (), content)
            else:
                number = running.pop(connection)
                if kind == "failed":
                    error, trace = content
                    error.__cause__ = ReplicaTraceback(f"\n{trace}") if trace else None  # pickle drops it
                    failures.append(error)
                    deadline = deadline or time.monotonic() + CAUSE_SECONDS
                elif number == 0:
                    result = content
    if failures:
        # The others complain, as RuntimeErrors of torch, that one is gone: they are not the cause.
        raise min(failures, key=lambda error: 0 if isinstance(error, ReplicaError) else 1 + is_complaint(error))
    if isinstance(result, RunStopped):
        raise result
    assert result is not None, "every replica has ended, the first one with a result"
    return result


def is_complaint(error: Exception) -> bool:
    """Return whether an error may be one about another replica that is gone."""
    return isinstance(error, RuntimeError) and not isinstance(error, SentimentError)


def _answer(
    reporter: Reporter, name: str, metrics: Sequence[Mapping[str, float]], at: Mapping[str, Any]
) -> RunStopped | None:
    try:
        getattr(reporter, name)(*metrics, **at)
    except RunStopped as stopped:
        return stopped
    return None


def _explain_death(processes: list[subprocess.Popen[bytes]], number: int) -> ReplicaError:
    process = processes[min(number, len(processes) - 1)]
    try:
        code = process.wait(LOOK_SECONDS * 10)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    except subprocess.TimeoutExpired:
        how = "is gone"
    hint = "; the system kills like this when memory runs out" if how.endswith("SIGKILL") else ""
    return ReplicaError(
        f"Replica {number} of the run {how}{hint}.",
        "the same command goes on from the last checkpoint; what the process said before it died stands above",
    )


class Line:
    """A replica's connection with the job's process; as a queue, it takes records of the log."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._received: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def tell(self, kind: str, content: Any) -> None:
        """Send a message."""
        with self._lock:
            self._connection.send((kind, content))

    def put_nowait(self, record: logging.LogRecord) -> None:
        """Send a record of the log."""
        self.tell("log", record)

    def receive(self) -> Any:
        """Wait for the next message."""
        return self._received.get()

    def _listen(self) -> None:
        while True:
            try:
                self._received.put(self._connection.recv())
            except (EOFError, OSError):
                os._exit(1)  # the job's process is gone, and nobody waits for this one


class DistantReporter(Reporter):
    """The reporter of a replica: the one of the job answers the first replica, and all get the answer."""

    def __init__(self, line: Line, number: int) -> None:
        self._line = line
        self._number = number

    def stepped(self, *, epoch: float) -> None:
        """Tell it without waiting for an answer, which would slow down every step."""
        if self._number == 0:
            self._line.tell("step", {"epoch": epoch})

    def _ask(self, name: str, *metrics: Mapping[str, float], **at: Any) -> None:
        if self._number == 0:
            self._line.tell("report", (name, metrics, at))
        answer = self._line.receive()
        if answer is not None:
            raise answer

    trained, validated = partialmethod(_ask, "trained"), partialmethod(_ask, "validated")
    tested, saved = partialmethod(_ask, "tested"), partialmethod(_ask, "saved")


def serve(address: str | list[Any], first: int) -> None:
    """Be a replica: train with the others, and end with the job's process.

    Args:
        address: Where the job's process listens.
        first: Number of the replica, or of the first one that srun started with it.
    """
    number, devices = first + int(os.environ.get("SLURM_PROCID", 0)), int(os.environ["LOCAL_WORLD_SIZE"])
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number % devices), "GROUP_RANK": str(number // devices)}
    os.environ.pop("SLURM_STEP_NUM_TASKS", None)  # the job's process alone is to be one of its kind
    place = address if isinstance(address, str) else tuple(address)
    connection = Client(place, authkey=bytes.fromhex(os.environ[KEY]))
    connection.send(number)
    line = Line(connection)
    settings, corpus, output_dir, beginning, level = line.receive()
    logging.getLogger().handlers = [QueueHandler(line)] if number == 0 else [logging.NullHandler()]  # type: ignore[arg-type]
    logging.getLogger().setLevel(level)
    if number:
        warnings.simplefilter("ignore")  # the first one says so, too
    reporter = DistantReporter(line, number)
    try:
        given = Settings.model_validate_json(settings)
        result = train_replica(given, corpus, output_dir, reporter, beginning)
        line.tell("ended", result)
    except RunStopped as stopped:
        line.tell("ended", stopped)
    except BaseException as error:
        line.tell("failed", (make_picklable(error), "".join(traceback.format_exception(error))))
        os._exit(1)  # torch might wait for the others


def make_picklable(error: BaseException) -> Exception:
    """Return an error that comes out of pickle as it went in."""
    with suppress(Exception):  # whatever its class raises when it is made again
        same = pickle.loads(pickle.dumps(error))
        if isinstance(same, Exception) and str(same) == str(error):
            return same
    return RuntimeError(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]), int(sys.argv[2]))

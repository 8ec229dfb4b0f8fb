"""Studies on a Ray cluster that is there already: jobs placed as asked, killed, or lost with their node."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from sentiment.config.home import PROJECT_DIR
from sentiment.search.study.trial import JOB_KEY
from sentiment.search.workers.launchers import describe_shortage
from tests.search.faults.conftest import PROMOTION, ToyStudy
from tests.search.faults.conftest import is_one_screen as is_one_screen
from tests.search.faults.conftest import study as study

HEAD = {"num_cpus": 2, "env_vars": {"OMP_NUM_THREADS": "1"}}
SECOND = {"num_cpus": 1, "num_gpus": 2, "resources": {"large": 1}, "env_vars": {"OMP_NUM_THREADS": "2"}}
"""Two nodes of different kinds, whose jobs are told apart by their threads; the GPUs are Ray's word alone."""

WAIT_SECONDS = 300.0  # beside other processes a start of Ray takes a minute

NODES = """
import json, sys
from ray.cluster_utils import Cluster

cluster, nodes = Cluster(), []
for options in json.loads(sys.argv[1]):
    first = {} if nodes else {"include_dashboard": False}
    nodes.append(cluster.add_node(object_store_memory=80_000_000, **first, **options))
cluster.wait_for_nodes()
print(json.dumps({"address": cluster.address}), flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes[int(line)], allow_graceful=False)
cluster.shutdown()
"""
"""Nodes on this machine, each with processes of its own; a number on standard input kills a node, its end all."""

ENVIRONMENT = {
    "PYTHONPATH": str(PROJECT_DIR),
    "RAY_worker_niceness": "0",  # else jobs stand still beside any other work on the machine
}

slow = pytest.mark.slow

pytestmark = pytest.mark.timeout(900)

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None,
    reason="the extra that brings hydra/launcher=ray is not installed",
)


class RayCluster:
    """Ray nodes on this machine, in a temporary folder, started elsewhere than the commands."""

    def __init__(self, folder: Path, nodes: tuple[dict[str, Any], ...]) -> None:
        self._log = (folder / "cluster.txt").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-c", NODES, json.dumps(nodes)],
            cwd=folder,
            env={**os.environ, **ENVIRONMENT, "RAY_TMPDIR": str(folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        said = next((line for line in self._process.stdout if line.startswith("{")), None)
        assert said is not None, (folder / "cluster.txt").read_text()
        self.launcher = ("hydra/launcher=ray", f"hydra.launcher.ray.init.address={json.loads(said)['address']}")

    def lose(self, node: int) -> None:
        """Kill all processes of a node."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{node}\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.communicate(timeout=60)
        self._log.close()


StartCluster = Callable[..., RayCluster]


@pytest.fixture(scope="module")
def start_cluster() -> Iterator[StartCluster]:
    """Starts clusters, which end with the module."""
    started: list[tuple[RayCluster, str]] = []

    def start(*nodes: dict[str, Any]) -> RayCluster:
        folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # the paths of its sockets have at most 107 characters
        started.append((RayCluster(Path(folder), nodes), folder))
        return started[-1][0]

    yield start
    for cluster, folder in started:
        cluster.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(start_cluster: StartCluster) -> RayCluster:
    """The cluster of the tests that leave it whole."""
    return start_cluster(HEAD, SECOND)


@pytest.fixture(autouse=True)
def _patient(study: ToyStudy) -> None:
    study.wait_seconds = WAIT_SECONDS


def count_reports(study: ToyStudy, number: int) -> int:
    """How often the job of a trial has reported; 0 before it has begun. Its checkpoint may be one report behind."""
    begun = any(mark.number == number for mark in study.marks)
    return len(study.trials()[number].intermediate_values) if begun else 0


def ask(**remote: float) -> list[str]:
    return [f"+hydra.launcher.ray.remote.{name}={amount}" for name, amount in remote.items()]


@pytest.mark.parametrize(
    ("remote", "shortage"),
    [
        ({}, None),
        ({"num_cpus": None, "num_gpus": 0.5}, None),
        ({"num_cpus": 2}, None),
        ({"resources": {"large": 1}}, None),
        ({"num_cpus": 3}, "A job asks for CPU 3; of that the nodes have: CPU 2; CPU 1."),
        (
            {"num_cpus": 2, "num_gpus": 1},
            "A job asks for CPU 2, GPU 1; of that the nodes have: CPU 2, GPU 0; CPU 1, GPU 2.",
        ),
        ({"num_gpus": 1, "accelerator_type": "A100"}, None),
        (
            {"num_cpus": 0, "accelerator_type": "H100"},
            "A job asks for accelerator_type:H100 0.001; of that the nodes have: accelerator_type:H100 0; "
            "accelerator_type:H100 0.",
        ),
        (
            {"num_cpus": 0, "resources": {"small": 1}},
            "A job asks for small 1; of that the nodes have: small 0; small 0.",
        ),
    ],
)
def test_what_no_node_has_is_told(remote: dict[str, Any], shortage: str | None) -> None:
    nodes = [{"CPU": 2.0, "memory": 8e9}, {"CPU": 1.0, "GPU": 2.0, "large": 1.0, "memory": 8e9}]
    nodes[1]["accelerator_type:A100"] = 1.0
    assert describe_shortage(remote, nodes) == shortage
    assert describe_shortage(remote, []) is not None


@slow
@needs_ray
@pytest.mark.parametrize(
    ("remote", "at_once"),
    [
        ({}, {"1": 2, "2": 1}),  # a CPU each
        ({"num_cpus": 2}, {"1": 1}),
        ({"num_cpus": 0.25, "num_gpus": 1}, {"2": 2}),
        ({"resources.large": 1}, {"2": 1}),
    ],
)
def test_jobs_run_where_there_is_what_they_ask_for(
    remote: dict[str, float], at_once: dict[str, int], cluster: RayCluster, study: ToyStudy
) -> None:
    gate = study.folder / "gate"
    gate.touch()
    relative = os.path.relpath(study.study_dir, PROJECT_DIR)  # the cluster was started in another folder
    command = study.start(
        *cluster.launcher, *ask(**remote), f"gate={gate}", f"hydra.sweep.dir={relative}", n_trials=4, n_jobs=3
    )
    study.wait_until(lambda: len(study.marks) >= sum(at_once.values()))
    first = study.marks
    assert Counter(mark.threads for mark in first) == at_once
    gate.unlink()
    assert command.finish(WAIT_SECONDS) == 0, command.output
    study.require_whole(4)
    assert study.states() == {"COMPLETE": 4}
    assert {mark.threads for mark in study.marks} <= at_once.keys()
    if "num_gpus" in remote:
        assert {mark.device for mark in first} == {"0", "1"}
        assert {mark.device for mark in study.marks} == {"0", "1"}


@slow
@needs_ray
def test_a_request_that_no_node_can_meet_is_refused(
    cluster: RayCluster, study: ToyStudy, is_one_screen: Callable[[str], bool]
) -> None:
    code, output = study.run(*cluster.launcher, *ask(num_gpus=3), n_trials=1)
    assert code == 1
    assert "A job asks for CPU 1, GPU 3; of that the nodes have:" in output
    assert is_one_screen(output)
    assert not study.study_dir.exists(), "a refused command leaves nothing"


@slow
@needs_ray
def test_trials_are_promoted_on_a_cluster(cluster: RayCluster, study: ToyStudy) -> None:
    code, output = study.run(*cluster.launcher, *PROMOTION, n_trials=9, n_jobs=3, seconds=0.9)
    assert code == 0, output
    study.require_promoted(9)


@slow
@needs_ray
def test_a_killed_worker_costs_no_trial(cluster: RayCluster, study: ToyStudy) -> None:
    command = study.start(*cluster.launcher, "steps=20", "checkpoint=true", n_trials=3, n_jobs=3, seconds=20)
    study.wait_until(lambda: count_reports(study, 1) >= 2)
    os.kill(study.trials()[1].system_attrs[JOB_KEY]["pid"], signal.SIGKILL)
    assert command.finish(WAIT_SECONDS) == 0, command.output
    study.require_whole(3)
    assert study.states() == {"COMPLETE": 3}
    assert study.ends == {0: 1, 1: 1, 2: 1}
    assert Counter(mark.number for mark in study.marks) == {0: 1, 1: 2, 2: 1}
    assert [mark.done >= 1 for mark in study.marks if mark.number == 1] == [False, True], "from its checkpoint"


@slow
@needs_ray
def test_a_trial_that_the_memory_monitor_kills_again_and_again_fails(
    start_cluster: StartCluster, study: ToyStudy
) -> None:
    always = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "5000"}
    cluster = start_cluster({"num_cpus": 1, "env_vars": always})
    code, output = study.run(*cluster.launcher, "hydra.sweeper.max_attempts=2", n_trials=1, seconds=60)
    assert code == 1
    (trial,) = study.trials()
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["failure.kind"] == "out_of_memory", output
    assert trial.user_attrs["failure.reason"].startswith("Ray's memory monitor ended it at each start")
    assert [mark.number for mark in study.marks] in ([], [0], [0, 0]), "it may be killed before it begins"
    assert not study.ends


@slow
@needs_ray
@pytest.mark.parametrize("retries", [0, 3])
def test_a_study_outlives_a_node(retries: int, start_cluster: StartCluster, study: ToyStudy) -> None:
    cluster = start_cluster(HEAD, SECOND)
    accept = ("hydra.sweeper.max_failure_rate=0.5", "hydra.sweeper.retry=none")
    command = study.start(
        *cluster.launcher,
        *ask(max_retries=retries),
        *accept,
        *("steps=20", "checkpoint=true"),
        n_trials=4,
        n_jobs=3,
        seconds=20,
    )

    def find_lost() -> int | None:
        """A trial in mid-training on the second node."""
        there = {mark.number for mark in study.marks if mark.threads == "2"}
        return next((number for number in there if 2 <= count_reports(study, number) < 15), None)

    study.wait_until(lambda: find_lost() is not None)
    lost = find_lost()
    cluster.lose(1)
    assert command.finish(WAIT_SECONDS) == 0, command.output
    study.require_whole(4)
    starts = Counter(mark.number for mark in study.marks)
    if retries:  # Ray starts its job again on the node that is left
        assert study.states() == {"COMPLETE": 4}
        assert study.ends == dict.fromkeys(range(4), 1)
        assert starts == {**dict.fromkeys(range(4), 1), lost: 2}
        first, again = [mark for mark in study.marks if mark.number == lost]
        assert (first.threads, first.done, again.threads) == ("2", 0, "1")
        assert again.done >= 1, "from its checkpoint"
    else:
        assert study.states() == {"COMPLETE": 3, "FAIL": 1}
        assert starts == dict.fromkeys(range(4), 1)
        assert study.trials()[lost or 0].user_attrs["failure.kind"] == "worker_died"


@slow
@needs_ray
def test_jobs_whose_last_node_is_lost_wait_and_say_so(start_cluster: StartCluster, study: ToyStudy) -> None:
    cluster = start_cluster(HEAD, SECOND)
    command = study.start(*cluster.launcher, *ask(num_gpus=1), "checkpoint=true", "steps=20", n_trials=2, seconds=20)
    study.wait_until(lambda: count_reports(study, 0) >= 2)
    cluster.lose(1)
    study.wait_until(lambda: "No node of the Ray cluster can run a job any more" in command.output)
    assert "A job asks for CPU 1, GPU 1; of that the nodes have: CPU 2, GPU 0." in command.output
    command.send(signal.SIGINT)
    assert command.finish() != 0
    code, output = study.run(*cluster.launcher, "checkpoint=true", "steps=20", n_trials=2, seconds=2)
    assert code == 0, output
    study.require_whole(2)
    assert study.ends == {0: 1, 1: 1}
    assert [mark.done for mark in study.marks if mark.number == 0][1:] != [0], "from its checkpoint"

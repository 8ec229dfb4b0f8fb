from __future__ import annotations

import os
import platform
import socket
import subprocess

import pytest

from sentiment.tracking import environment
from sentiment.tracking.environment import describe_code, describe_environment, describe_hardware


def git(folder, *arguments):
    identity = ["-c", "user.name=Someone", "-c", "user.email=someone@example.com"]
    return subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True)


def test_commit_and_changes(tmp_path):
    assert describe_code(tmp_path) == {"git.commit": "unknown"}
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("1", encoding="utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD").stdout.strip()
    assert describe_code(tmp_path) == {
        "git.commit": commit, "git.dirty": "false", "mlflow.source.git.commit": commit,
    }  # fmt: skip
    (tmp_path / "file").write_text("2", encoding="utf-8")
    assert describe_code(tmp_path)["git.dirty"] == "true"


def test_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_code(tmp_path) == {"git.commit": "unknown"}


def test_versions_and_hardware(tmp_path):
    tags = describe_environment(tmp_path)
    assert tags["version.python"] == platform.python_version()
    assert tags["version.mlflow"] == "3.17.2"
    assert "cores" in describe_hardware()
    assert socket.gethostname() not in str(tags)


@pytest.mark.parametrize(
    ("cpuinfo", "processor"),
    [
        ("processor\t: 0\nmodel name\t: A Processor @ 2 GHz\n\nprocessor\t: 1\nmodel name\t: A", "A Processor @ 2 GHz"),
        ("processor\t: 0\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0c\n", "aarch64 0x41 0xd0c"),
        ("processor\t: 0\n", "aarch64"),
        (None, "Apple M3 Pro"),
    ],
    ids=["x86", "ARM", "untold", "Mac"],
)
def test_two_processors_of_one_architecture_have_two_names(tmp_path, monkeypatch, cpuinfo, processor):
    """By which a difference in time is told to come from the machine."""
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(platform, "processor", lambda: "aarch64")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(
        environment, "read_output", lambda command: {"sysctl": "Apple M3 Pro", "nvidia-smi": None}[command[0]]
    )
    if cpuinfo is not None:
        environment.CPUINFO.write_text(cpuinfo, encoding="utf-8")
    assert describe_hardware().startswith(f"{processor}, {os.cpu_count()} cores")

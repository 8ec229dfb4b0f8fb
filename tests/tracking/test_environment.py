from __future__ import annotations

import platform
import socket
import subprocess

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

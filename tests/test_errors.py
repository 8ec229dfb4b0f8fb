"""Errors for people: a problem and a remedy, in one form, wherever they come from and go."""

from __future__ import annotations

import errno
import importlib
import pickle
import pkgutil
import signal
import sys

import pytest
from lightning.pytorch.utilities.exceptions import SIGTERMException

import sentiment
from sentiment.errors import (
    ConfigError,
    DataError,
    Fault,
    SentimentError,
    describe_failure,
    first_line,
    refusing_exit,
)
from sentiment.search.workers.executor import LauncherError


@pytest.mark.parametrize("kind", [SentimentError, DataError, LauncherError])
def test_an_error_has_problem_and_remedy_after_pickle_too(kind):
    made = kind("a.csv is empty", "name another file")
    for error in (made, pickle.loads(pickle.dumps(made))):
        assert (error.problem, error.remedy) == ("a.csv is empty", "name another file")
        assert str(error) == "a.csv is empty\n  -> name another file"


def list_kinds(kind):
    return [kind, *(one for below in kind.__subclasses__() for one in list_kinds(below))]


def test_every_kind_of_error_comes_out_of_pickle_as_it_was():
    """Jobs elsewhere answer with theirs; one of another signature would take the pool of processes with it."""
    for module in pkgutil.walk_packages(sentiment.__path__, "sentiment."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    kinds = [kind for kind in list_kinds(SentimentError) if kind.__module__.startswith("sentiment.")]
    assert len(kinds) > 10
    for kind in kinds:
        error = kind([Fault("a", "b", "c")]) if issubclass(kind, ConfigError) else kind("a.csv is empty", "name one")
        assert str(pickle.loads(pickle.dumps(error))) == str(error), kind


def test_without_a_remedy_the_problem_is_the_message():
    assert str(DataError("a.csv is empty")) == "a.csv is empty"
    assert DataError().remedy == ""


def test_the_faults_of_a_configuration_survive_pickling():
    error = ConfigError([Fault("model.depth", "is 0", "write 1 or more")])
    again = pickle.loads(pickle.dumps(error))
    assert (again.faults, str(again)) == (error.faults, str(error))
    assert "1 fault in the configuration" in str(again)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DataError("no reviews\n  -> name another file"), "no reviews"),
        (ValueError("\n  \nno number\n"), "no number"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_the_first_line_of_an_error_is_one_that_says_something(error, line):
    assert first_line(error) == line


def test_an_exit_of_lightning_after_sigterm_is_no_failure_of_the_job():
    with pytest.raises(SIGTERMException) as caught, refusing_exit():
        raise SIGTERMException
    assert caught.value.code == 143
    for error in (caught.value, SIGTERMException()):
        assert (describe_failure(error).kind, describe_failure(error).reason) == ("interrupted", "terminated (SIGTERM)")


def test_an_exit_by_the_handler_of_a_signal_is_no_failure_of_the_job():
    """Ray ends the jobs of a command that leaves so, with code 1: they were taken for failed, and did not go on."""

    def end(number, frame):
        sys.exit(1)

    earlier = signal.signal(signal.SIGUSR1, end)
    try:
        with pytest.raises(SystemExit), refusing_exit():
            signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(SentimentError, match=r"called sys.exit\(1\)"), refusing_exit():
            sys.exit(1)
    finally:
        signal.signal(signal.SIGUSR1, earlier)


@pytest.mark.parametrize(("target", "named"), [(None, "a.ckpt"), ("full/a.ckpt", "full/a.ckpt")])
def test_a_full_disk_is_that_of_the_target_of_a_copy(target, named):
    error = OSError(errno.ENOSPC, "No space left on device", "a.ckpt", None, target)
    assert describe_failure(error).reason == f"The disk is full: {named} cannot be written."

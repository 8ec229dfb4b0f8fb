"""Fuzz the parsers with atheris, guided by coverage, for as long as one likes; prints executions and findings.

    pip install atheris==3.0.0                        # wheels for Linux; in no list of dependencies: only this needs it
    python -m tests.hostile.fuzz --seconds 60         # each parser for a minute; --target NAME: one of them

A finding is an error that is none for people, more than 20 s, or more than 4 GB. It is printed with its input, a file
that `python -m tests.hostile.fuzz --target NAME --input FILE` tries again. The exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris
from hydra.errors import CompactHydraException

with atheris.instrument_imports(include=["sentiment", "simpleeval", "hydra.core.override_parser"]):
    from sentiment.credentials import hide_passwords
    from sentiment.data.files.source import FilesSource
    from sentiment.errors import SentimentError
    from sentiment.search.space.constraints import holds, parse_constraints
    from sentiment.search.space.distributions import parse_line
    from sentiment.search.space.reading import read_space
    from sentiment.tracking.mlflow.one_delivery import read_point
    from sentiment.tracking.outbox import OUTBOX_FILE, Outbox

from tests.hostile.test_drawn import READERS, READING

SECONDS, MEGABYTES = 20, 4096
"""Of one input: whoever takes longer hangs, whoever takes more is a bomb."""


def read_constraint(content: bytes) -> None:
    """Read an expression and evaluate it."""
    holds(parse_constraints([write_text(content)]), {"a": 10**6, "b": "x" * 100, "a.b": 0.5})


def read_lines(content: bytes) -> None:
    """Read a space from overrides, one a line."""
    read_space(write_text(content).split("\n"), {}, {}, None)


def read_params(content: bytes) -> None:
    """Read a space from a search file's parameters and branches."""
    try:
        params = json.loads(content)
    except (ValueError, RecursionError):
        return
    if isinstance(params, dict):
        read_space([], params, {}, None)


def read_rows(suffix: str) -> Callable[[bytes], None]:
    """Return what reads a file of reviews."""

    def read(content: bytes) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            file = Path(folder, f"reviews.{suffix}")
            file.write_bytes(content)
            FilesSource(path=file, on_bad_row="error", **READING).load()

    return read


def read_stored(name: str) -> Callable[[bytes], None]:
    """Return what reads a stored file."""

    def read(content: bytes) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            Path(folder, name).write_bytes(content)
            READERS[name][1](Path(folder))

    return read


def read_notes(content: bytes) -> None:
    """Read what waits for MLflow."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        Path(folder, OUTBOX_FILE).write_bytes(content)
        for _, note in Outbox(Path(folder)).read():
            for point in note["points"] if note["kind"] == "metrics" else []:
                read_point(point)


def write_text(content: bytes) -> str:
    """Return bytes as text."""
    return content.decode("utf-8", "replace")


NOTE = b'{"kind": "metrics", "time": 1, "points": [["val/loss", 0.5, 1, 1]]}\n'
TABLE = b"text,label\n" + b"a good film,good\na bad film,bad\n" * 20
TARGETS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "constraint": (read_constraint, b"a % 2 == 0 and (b != 'x' or not a.b < 3)"),
    "override": (lambda content: parse_line(write_text(content), None), b"+a.b=tag(log,interval(1e-4,1))"),
    "space": (read_lines, b"a=choice(1,2)\nb=range(1,9,2)\nc=tag(log,interval(1,8))"),
    "params": (read_params, b'{"a": "interval(0,1)", "b.c": "choice(1,x)", "d": 3}'),
    "argument": (lambda content: hide_passwords(write_text(content).split("\n")), b"tracking.uri=http://me:word@host"),
    "csv": (read_rows("csv"), TABLE),
    "tsv": (read_rows("tsv"), TABLE.replace(b",", b"\t")),
    "jsonl": (read_rows("jsonl"), b'{"text": "a good film", "label": 1}\n{"text": "a bad one", "label": 0}\n' * 9),
    **{name: (read_stored(name), json.dumps(right).encode()) for name, (right, _) in READERS.items()},
    OUTBOX_FILE: (read_notes, NOTE * 2),
}
"""Name to what is tried and a sound input to begin with."""


def make_quiet(call: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """Return a parser that refuses what it must without a word: what is left is a finding."""

    def try_one(content: bytes) -> None:
        with contextlib.suppress(SentimentError, CompactHydraException):
            call(content)

    return try_one


def fuzz(name: str, seconds: int, folder: Path) -> None:
    """Try one parser; libFuzzer ends the process."""
    logging.disable()
    warnings.simplefilter("ignore")
    call, sound = TARGETS[name]
    call(sound)
    corpus = folder / "corpus"
    corpus.mkdir()
    (corpus / "sound").write_bytes(sound)
    limits = [f"-max_total_time={seconds}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}", "-max_len=4096"]
    options = [*limits, "-print_final_stats=1", f"-artifact_prefix={folder}/finding-", str(corpus)]
    atheris.Setup([sys.argv[0], *options], make_quiet(call))
    atheris.Fuzz()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--target", choices=TARGETS)
    parser.add_argument("--input", type=Path)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.input is not None:
        make_quiet(TARGETS[options.target][0])(options.input.read_bytes())
        return
    if options.folder is not None:
        fuzz(options.target, options.seconds, options.folder)
    total, findings = 0, []
    for name in TARGETS if options.target is None else [options.target]:
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        command = [sys.executable, "-m", "tests.hostile.fuzz", "--target", name, "--seconds", str(options.seconds)]
        done = subprocess.run(
            [*command, "--folder", folder], capture_output=True, text=True, errors="replace", check=False
        )
        match = re.search(r"stat::number_of_executed_units:\s+(\d+)", done.stderr)
        count, found = int(match[1]) if match else 0, sorted(folder.glob("finding-*"))
        total += count
        print(f"{name:20} {count:9,} executions  {len(found)} findings", *found, flush=True)
        if found or match is None or done.returncode:
            findings.append(name)
            print(done.stdout[-2000:], done.stderr[-3000:])
    print(f"{'all':20} {total:9,} executions  {len(findings)} parsers with findings")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()

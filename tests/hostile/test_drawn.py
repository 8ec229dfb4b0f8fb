"""Inputs that nobody wrote: drawn by the grammar of each parser, so that they come far into it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment.credentials import hide_passwords
from sentiment.data.files.source import FilesSource
from sentiment.search.space.constraints import holds, parse_constraints
from sentiment.search.space.reading import read_space
from sentiment.search.study.address_file import STUDY_FILE, read_study_address
from sentiment.search.study.history import parse_history
from sentiment.tracking.mlflow.parent import HISTORY_ARTIFACT
from sentiment.tracking.outbox import DELIVERY_FILE, OUTBOX_FILE, Outbox, read_delivery
from sentiment.tracking.parent_file import PARENT_FILE, read_parent
from sentiment.tracking.result_file import RESULT_FILE, read_result
from tests.hostile.outcomes import observe

few = settings(max_examples=200)

EXPRESSIONS = st.text(alphabet="ab.0123456789+-*/%<>=!()[]', notandorinifelse~^&|@{}:_\"\\\n", max_size=60)
ARGUMENTS = st.lists(st.text(alphabet="ab:/@?&=passwrd.%0'\" \\", max_size=40), max_size=3)


@settings(max_examples=500)
@given(EXPRESSIONS)
def test_any_constraint_is_read_or_refused(text: str):
    values = {"a": 10**6, "b": "x" * 100, "a.b": 0.5}
    outcome = observe("constraints, drawn", lambda: holds(parse_constraints([text]), values))
    assert outcome.is_sound, outcome


@few
@given(ARGUMENTS)
def test_arguments_of_any_form_are_taken_or_refused(arguments: list[str]):
    outcome = observe("arguments, drawn", lambda: hide_passwords(arguments))
    assert outcome.is_sound, outcome


NUMBERS = st.sampled_from(["0", "1", "-1", "1e308", "-inf", "nan", "0.1", "9" * 30, "true", "null", "a", "''", "[1]"])
CALLS = st.builds(
    lambda name, values: f"{name}({','.join(values)})",
    st.sampled_from(["range", "interval", "choice", "shuffle", "sort", "glob", "int", "float", "tag"]),
    st.lists(NUMBERS, max_size=4),
)
SWEEPS = st.one_of(
    CALLS,
    st.builds(lambda inner: f"tag(log,{inner})", CALLS),
    st.lists(NUMBERS, min_size=1, max_size=4).map(",".join),
    st.text(alphabet="ab01.,()[]{}$:'\"=-+~ \t\\", max_size=20),
)
PARAMS = st.dictionaries(st.sampled_from(["a", "b.c", "model", "", "a b"]), st.one_of(SWEEPS, st.none(), st.integers()))
BRANCHES: Any = st.dictionaries(st.sampled_from(["model=rnn", "a=1", "model", "=", "a=b=c"]), PARAMS, max_size=2)


@few
@given(
    st.lists(st.builds("{}={}".format, st.sampled_from(["a", "+b.c", "~a", "model", ""]), SWEEPS), max_size=3),
    PARAMS,
    BRANCHES,
)
def test_any_space_is_read_or_refused(lines: list[str], params: Any, branches: Any):
    outcome = observe("spaces, drawn", lambda: read_space(lines, params, branches, None))
    assert outcome.is_sound, outcome


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(["text", "label"]), st.text(max_size=3)), inner, max_size=3),
    ),
    max_leaves=8,
)
CELLS = st.one_of(st.sampled_from(["a", "good film", "0", '"', '""', "\x00", ""]), st.text(max_size=8))
CSV = st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=6).map(lambda rows: "\n".join(["text,label", *rows]))
JSONL = st.lists(st.one_of(JSON.map(json.dumps), CELLS), max_size=6).map("\n".join)


READING: dict[str, Any] = {
    "validation_path": None, "test_path": None, "test_fraction": 0.2, "split_seed": 0, "text_column": "text",
    "label_column": "label", "labels": None,
}  # fmt: skip
SOUND_ROWS = {
    "csv": b"text,label\n" + b"a good film,good\na bad film,bad\n" * 20,
    "jsonl": b'{"text": "a good film", "label": 1}\n{"text": "a bad film", "label": 0}\n' * 20,
    "json": b"",
}


@pytest.mark.parametrize(("suffix", "contents"), [("csv", CSV), ("jsonl", JSONL), ("json", JSONL)])
def test_any_rows_are_read_or_refused(suffix: str, contents: st.SearchStrategy[str]):
    rows = st.one_of(contents.map(lambda text: text.encode(errors="surrogatepass")), st.binary(max_size=60))

    @settings(max_examples=100)
    @given(st.sampled_from([b"", SOUND_ROWS[suffix]]), rows, st.sampled_from(["error", "skip"]))
    def read(before: bytes, after: bytes, on_bad_row: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, f"reviews.{suffix}")
            file.write_bytes(before + after)
            source = FilesSource(path=file, on_bad_row=on_bad_row, **READING)
            outcome = observe(f"rows of {suffix}, drawn", source.load)
        assert outcome.is_sound, outcome

    read()


RECORD = {
    "name": "a", "model": "rnn", "status": "FINISHED", "started": "2026-01-01T00:00:00+00:00", "overrides": ["a=1"],
    "params": {"seed": "1"}, "job_number": 0, "kind": None, "reason": None, "run_id": None,
    "metrics": {"val/loss": 0.5}, "history": [{"step": 1, "epoch": 1, "val/loss": 0.5}], "tags": {"device": "cpu"},
}  # fmt: skip
STUDY = {"study_name": "a", "storage": None, "command": "python run.py"}
PARENT = {"uri": "sqlite:///a.db", "experiment_id": "1", "run_id": "a", "folder": "/a"}
DELIVERY = {"offset": 3, "run_id": "a", "uri": None, "key": None}
NOTE = {"kind": "metrics", "time": 1, "points": [["val/loss", 0.5, 1, 1]]}
HISTORY = {
    "name": "a",
    "objectives": None,
    "directions": ["minimize"],
    "trials": [],
    "best": [],
    "log_scaled": [],
    "conditions": {},
}
READERS = {
    RESULT_FILE: (RECORD, lambda folder: read_result(folder / RESULT_FILE)),
    STUDY_FILE: (STUDY, read_study_address),
    PARENT_FILE: (PARENT, read_parent),
    DELIVERY_FILE: (DELIVERY, read_delivery),
    OUTBOX_FILE: (NOTE, lambda folder: Outbox(folder).read()),
    "study_history.json": (
        HISTORY,
        lambda folder: parse_history((folder / "study_history.json").read_text("utf-8", "replace")),
    ),
}


def _require_read(name: str, right: dict[str, Any], reader: Callable[[Path], Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, name).write_text(json.dumps(right), encoding="utf-8")
        reader(Path(folder))


@pytest.mark.parametrize("name", READERS)
def test_any_stored_file_is_read_or_named(name: str):
    right, reader = READERS[name]
    _require_read(name, right, reader)
    changed = st.builds(lambda key, value: {**right, key: value}, st.sampled_from([*right, "novelty"]), JSON)
    nested = st.integers(1, 200_000).map(lambda depth: '{"a":' + "[" * depth)
    texts = st.one_of(JSON.map(json.dumps), changed.map(json.dumps), nested)
    cut = st.integers(0, len(json.dumps(right))).map(lambda length: json.dumps(right)[:length])

    @settings(max_examples=150)
    @given(st.one_of(texts.map(str.encode), cut.map(str.encode), st.binary(max_size=40)))
    def read(content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, name).write_bytes(content)
            outcome = observe(f"{name}, drawn", lambda: reader(Path(folder)))
        assert outcome.is_sound, outcome
        assert outcome.kind == "accepted" or name in outcome.text or name == HISTORY_ARTIFACT

    read()

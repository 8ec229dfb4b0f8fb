"""Any labelled data set of the Hub, from a stand-in on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hub_server import HubServer, imdb_card, parquet_bytes, serve_hub

from sentiment.config.home import PROJECT_DIR
from sentiment.data.hub import HubSource, _ask_hub

REVISION = "e" * 40
SIZES = {"train": 40, "test": 20}
SETTINGS: dict[str, Any] = {
    "repository": "me/own", "revision": REVISION, "subset": None, "train_split": "train", "validation_split": None,
    "test_split": "test", "test_fraction": 0.2, "split_seed": 0, "text_column": "text", "label_column": "label",
    "labels": None, "label_map": None, "on_bad_row": "error",
}  # fmt: skip
CLIENT = """
import json, sys
from sentiment.data.hub import HubSource
from sentiment.errors import DataError
answers = {}
for name, settings in json.loads(sys.argv[1]).items():
    try:
        raw = HubSource(**settings).load()
        answer = {"train": raw.train.texts, "test": len(raw.test), "classes": raw.class_names, "notes": raw.notes}
    except DataError as error:
        answer = {"error": str(error)}
    answers[name] = answer
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    files = {
        f"plain_text/{split}-00000-of-00001.parquet": parquet_bytes(
            [f"{split} {n}" for n in range(size)], [n % 2 for n in range(size)]
        )
        for split, size in SIZES.items()
    }
    with serve_hub("me/own", REVISION, {**files, "README.md": imdb_card(SIZES)}) as server:
        yield server


FAULTS: dict[str, dict[str, Any]] = {
    "columns are 'text', 'label': set data.text_column to one of them, e.g. text": {"text_column": "txt"},
    'Unknown split "tst"': {"test_split": "tst"},
    "check data.repository": {"repository": "me/other"},
    "do not exist on the Hub; check data.repository, which has the form OWNER/NAME": {"repository": "me/my other"},
}
"""What is told of changed settings."""


@pytest.fixture(scope="module")
def answers(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process, which starts with an empty cache, reads with the faulty settings and then with right ones."""
    home = tmp_path_factory.mktemp("hf")
    environment = {**os.environ, "HF_HOME": str(home), "HF_ENDPOINT": hub.endpoint, "PYTHONPATH": str(PROJECT_DIR)}
    asked = {name: {**SETTINGS, **changed} for name, changed in {**FAULTS, "right": {}}.items()}
    process = subprocess.run(
        [sys.executable, "-c", CLIENT, json.dumps(asked)],
        env={**environment, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(process.stdout)
    return found


@pytest.mark.slow
def test_reads_a_data_set_by_name_with_its_class_names(answers: dict[str, Any]):
    answer = answers["right"]
    assert answer["train"] == [f"train {n}" for n in range(40)]
    assert (answer["test"], answer["classes"]) == (20, ["neg", "pos"])
    assert answer["notes"][0] == "me/own, train read as: data set, 40 rows"


@pytest.mark.parametrize("told", FAULTS)
def test_faults_name_the_key(answers: dict[str, Any], told: str):
    assert told in answers[told]["error"]


def test_the_fingerprint_is_of_the_commit_and_of_all_that_changes_what_is_read():
    changes: list[dict[str, Any]] = [
        {}, {"revision": "a" * 40}, {"subset": "b"}, {"train_split": "b"}, {"validation_split": "b"},
        {"test_split": None}, {"text_column": "b"}, {"label_map": {"neg": None}}, {"labels": ["pos", "neg"]},
    ]  # fmt: skip
    assert len({HubSource(**{**SETTINGS, **change}).fingerprint() for change in changes}) == len(changes)


def test_a_data_set_that_the_hub_does_not_show_may_be_private_and_in_the_cache(monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.utils import httpx

    response = httpx.Response(401, request=httpx.Request("GET", "http://hub"))

    def refuse(*args: Any, **options: Any) -> None:
        raise RepositoryNotFoundError("401", response=response)

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", refuse)
    answer = _ask_hub("me/own", REVISION, str)
    assert isinstance(answer, str), "a fault would end the run before the cache is asked"
    assert "HF_TOKEN" in answer

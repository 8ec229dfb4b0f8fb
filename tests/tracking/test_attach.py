"""Files that are put beside a run when it is over."""

from __future__ import annotations

import pytest

from sentiment.errors import TrackingError
from sentiment.tracking.mlflow.attach import attach_files
from sentiment.tracking.mlflow.store import open_store


@pytest.fixture
def files(tmp_path):
    found = [tmp_path / "out/errors.html", tmp_path / "out/tables/slices.csv"]
    found[1].parent.mkdir(parents=True)
    for file in found:
        file.write_text("first")
    return found


def test_files_keep_their_places_and_are_replaced(project, files, tmp_path):
    store = open_store(project.uri, "sentiment", str(tmp_path / "artifacts"))
    run_id = store.client.create_run(store.experiment_id).info.run_id
    for text in ("first", "second"):
        files[0].write_text(text)
        attach_files(project.uri, run_id, files, tmp_path / "out", "errors/test")
    assert project.artifacts(run_id, "errors/test") == {"errors/test/errors.html", "errors/test/tables"}
    assert project.artifacts(run_id, "errors/test/tables") == {"errors/test/tables/slices.csv"}
    assert project.artifact(run_id, "errors/test/errors.html").read_text() == "second"


def test_a_run_that_the_store_lacks_is_named(project, files, tmp_path):
    open_store(project.uri, "sentiment", str(tmp_path / "artifacts"))
    with pytest.raises(TrackingError, match=r"has no run 0000.*\n.*--no-log"):
        attach_files(project.uri, "0" * 32, files, tmp_path / "out", "errors/test")

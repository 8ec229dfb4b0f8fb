"""A store that is moved or copied with its artifacts finds them in the new place, and leaves others alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sentiment.tracking.mlflow.store import open_client, open_store


def record(project, artifact_dir):
    store = open_store(project.uri, "sentiment", str(artifact_dir))
    run_id = store.client.create_run(store.experiment_id).info.run_id
    store.client.log_text(run_id, "told", "note.txt")
    return run_id


@pytest.mark.parametrize("folder", ["mlartifacts", "out/artifacts"])
@pytest.mark.parametrize("transfer", [shutil.move, shutil.copytree])
@pytest.mark.parametrize("is_read", [True, False])
def test_artifacts_are_where_the_store_is(project, tmp_path, folder, transfer, is_read):
    run_id = record(project, project.folder / folder)
    new = tmp_path / "new"
    transfer(project.folder, new)
    uri = f"sqlite:///{new}/mlflow.db"
    client = open_client(uri) if is_read else open_store(uri, "sentiment", str(new / folder)).client
    run = client.get_run(run_id)
    assert run.info.artifact_uri == str(new / folder / run_id / "artifacts")
    assert Path(client.download_artifacts(run_id, "note.txt")).read_text() == "told"
    location = client.get_experiment(run.info.experiment_id).artifact_location
    assert location == str(new / folder)
    if transfer is shutil.move:
        # Another run: mlflow remembers within a process where the artifacts of a run are.
        client.log_text(client.create_run(run.info.experiment_id).info.run_id, "more", "more.txt")
        assert not project.folder.exists(), "the old folder does not come back"
    else:
        assert open_client(project.uri).get_run(run_id).info.artifact_uri.startswith(str(project.folder))


def test_artifacts_that_stayed_keep_their_path(project, tmp_path):
    outside = tmp_path / "artifacts"
    run_id = record(project, outside)
    (project.folder / "artifacts").mkdir()  # of the same name, but of something else
    new = tmp_path / "new"
    project.folder.rename(new)
    client = open_client(f"sqlite:///{new}/mlflow.db")
    assert client.get_run(run_id).info.artifact_uri == str(outside / run_id / "artifacts")

"""The champion is the best on validation, on the same data; everybody else is a challenger.

The evaluation of a trained model is a run of its own, linked with the run that trained it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput

from sentiment.errors import TrackingError
from sentiment.tracking.mlflow.registry import (
    CHALLENGER,
    CHAMPION,
    RegistryError,
    fetch_registered,
    find_version,
    record_evaluation,
    register_champion,
)


@pytest.fixture
def client(project):
    return MlflowClient(tracking_uri=project.uri, registry_uri=project.uri)


@pytest.fixture
def make_run(project, client):
    """Make a run with a logged model, as training leaves it, without the files."""
    experiment = client.create_experiment("sentiment")

    def make(fingerprint="f" * 64, models=1, known=None, **params):
        tags = {} if fingerprint is None else {"data.fingerprint": fingerprint}
        tags |= {} if known is None else {"validation.known": known}
        run_id = client.create_run(experiment, tags=tags).info.run_id
        for key, value in params.items():
            client.log_param(run_id, key, value)
        for _ in range(models):
            model = client.create_logged_model(experiment, name="model", source_run_id=run_id)
            client.finalize_logged_model(model.model_id, "READY")
            client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        return run_id

    return make


@pytest.fixture
def register(project):
    def call(run_id, value, name="reviews", objective="val/accuracy", direction="maximize", **options):
        return register_champion(
            project.uri, name, run_id, objective=objective, value=value, direction=direction, **options
        )

    return call


def test_the_first_is_the_champion_with_its_tags(make_run, register, client):
    run_id = make_run()
    registration = register(run_id, 0.9, study="search")
    assert (registration.version, registration.alias, registration.is_new) == (1, CHAMPION, True)
    version = client.get_model_version_by_alias("reviews", CHAMPION)
    assert version.run_id == run_id
    assert version.tags == {
        "objective": "val/accuracy", "value": "0.9", "direction": "maximize", "data.fingerprint": "f" * 64,
        "study": "search",
    }  # fmt: skip
    (output,) = client.get_run(run_id).outputs.model_outputs
    location = client.get_logged_model(output.model_id).artifact_location
    assert client.get_model_version_download_uri("reviews", version.version) == location


def test_a_better_one_takes_the_place(make_run, register, client):
    register(make_run(), 0.9)
    registration = register(make_run(), 0.91)
    assert (registration.version, registration.alias) == (2, CHAMPION)
    assert "val/accuracy 91.00 %, version 1 has 90.00 %" in registration.reason
    assert client.get_model_version("reviews", "1").aliases == []


def test_a_value_of_the_champion_that_was_edited_is_named(make_run, register, client):
    register(make_run(), 0.9)
    client.set_model_version_tag("reviews", "1", "value", "97 %")
    with pytest.raises(RegistryError, match=r"version 1 is no number: .*97 %(.|\n)*--force"):
        register(make_run(), 0.91)


@pytest.mark.parametrize("value", [0.9, 0.89])
def test_one_that_is_not_better_is_a_challenger(make_run, register, client, value):
    register(make_run(), 0.9)
    registration = register(make_run(), value)
    assert registration.alias == CHALLENGER
    assert "not better" in registration.reason
    assert client.get_model_version_by_alias("reviews", CHAMPION).version in (1, "1")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.97973, "it is better: val/auroc 0.97973, version 1 has 0.97971"),
        (0.97969, "this one is not better: val/auroc 0.97969, version 1 has 0.97971"),
        (0.97971, "this one is equal, not better: version 1 has val/auroc 97.97 %, too"),
    ],
)
def test_what_is_told_of_two_shows_which_is_better(make_run, register, value, told):
    register(make_run(), 0.97971, objective="val/auroc")
    assert register(make_run(), value, objective="val/auroc").reason.endswith(told)


def test_a_lower_loss_is_better(make_run, register):
    loss = {"objective": "val/loss", "direction": "minimize"}
    register(make_run(), 0.5, **loss)
    assert register(make_run(), 0.6, **loss).alias == CHALLENGER
    assert register(make_run(), 0.4, **loss).alias == CHAMPION


@pytest.mark.parametrize(
    ("fingerprint", "objective", "reason"),
    [
        ("0" * 64, "val/accuracy", "another data (ffffffffffff, this one 000000000000"),
        ("f" * 64, "val/f1", "objective"),
    ],
)
def test_other_data_or_another_objective_is_not_promoted_unless_forced(
    make_run, register, fingerprint, objective, reason
):
    register(make_run(), 0.5)
    run_id = make_run(fingerprint)
    registration = register(run_id, 0.9, objective=objective)
    assert registration.alias == CHALLENGER
    assert reason in registration.reason
    assert "--force" in registration.reason
    forced = register(run_id, 0.9, objective=objective, force=True)
    assert (forced.version, forced.alias, forced.is_new) == (registration.version, CHAMPION, False)


@pytest.mark.parametrize("known", ["120 of 200", "unknown"])
def test_a_figure_on_reviews_that_its_start_knew_makes_no_champion_unless_forced(make_run, register, client, known):
    run_id = make_run(known=known)
    first = register(run_id, 0.99)
    assert first.alias == CHALLENGER
    assert f"know validation reviews, or may ({known})" in first.reason
    assert find_version(client, "reviews", CHAMPION) is None, "nor where there is no other"
    assert register(make_run(), 0.9).alias == CHAMPION
    assert register(run_id, 0.99).alias == CHALLENGER
    assert register(make_run(known="none"), 0.95).alias == CHAMPION
    assert register(run_id, 0.99, force=True).alias == CHAMPION
    assert register(run_id, 0.99).alias == CHAMPION, "it stays what it is"
    assert register(make_run(known=known), 0.995).alias == CHALLENGER, "nor is one such figure better than another"
    assert register(make_run(known="none"), 0.97).alias == CHALLENGER, "nor is such a figure judged by"


def test_registering_again_changes_nothing(make_run, register, client):
    run_id = make_run()
    first, again = register(run_id, 0.9), register(run_id, 0.9)
    assert (again.version, again.alias, again.is_new) == (first.version, CHAMPION, False)
    assert len(client.search_model_versions("name = 'reviews'")) == 1


def test_a_challenger_that_is_promoted_is_no_challenger_any_more(make_run, register, client):
    register(make_run(), 0.9)
    run_id = make_run()
    register(run_id, 0.8)
    register(run_id, 0.8, force=True)
    assert find_version(client, "reviews", CHALLENGER) is None
    assert client.get_model_version_by_alias("reviews", CHAMPION).run_id == run_id


def test_the_global_store_has_no_say(make_run, register, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://127.0.0.1:9")
    assert register(make_run(), 0.9).alias == CHAMPION


def test_what_cannot_be_registered_is_explained(make_run, register):
    with pytest.raises(RegistryError, match="log_model=true"):
        register(make_run(models=0), 0.9)
    with pytest.raises(RegistryError, match="no data fingerprint"):
        register(make_run(fingerprint=None), 0.9)
    with pytest.raises(RegistryError, match="no run 0000"):
        register("0" * 32, 0.9)
    for name in ("a/b", "critic's"):
        with pytest.raises(RegistryError, match="is no name"):
            register(make_run(), 0.9, name=name)
    with pytest.raises(RegistryError, match="finite figure on validation"):
        register(make_run(), float("nan"))
    with pytest.raises(RegistryError, match="finite figure on validation"):
        register(make_run(), 0.9, objective="test/accuracy")


@pytest.mark.parametrize("deleted", [0, 1])
def test_a_model_that_was_deleted_there_hides_no_other_one(make_run, register, client, deleted):
    run_id = make_run(models=2)
    models = [output.model_id for output in client.get_run(run_id).outputs.model_outputs]
    client.delete_logged_model(models.pop(deleted))
    assert register(run_id, 0.9).is_new
    assert models[0] in client.get_model_version("reviews", "1").source
    client.delete_logged_model(models[0])
    with pytest.raises(RegistryError, match=r"has no model in MLflow.\n  -> it was deleted there.*of MLflow 2"):
        register(run_id, 0.9)


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(TrackingError, match="no MLflow store"):
        register_champion(
            f"sqlite:///{tmp_path}/none.db", "a", "0" * 32, objective="val/loss", value=1.0, direction="minimize"
        )
    assert not (tmp_path / "none.db").exists()


REGISTER = """
import sys
from sentiment.tracking.mlflow.registry import register_champion
uri, run_id, value = sys.argv[1:]
register_champion(uri, "reviews", run_id, objective="val/accuracy", value=float(value), direction="maximize")
"""


@pytest.mark.slow
def test_of_several_at_once_the_best_is_the_champion(make_run, project, client):
    runs = {make_run(): value for value in (0.7, 0.9, 0.8)}
    started = [
        subprocess.Popen([sys.executable, "-c", REGISTER, project.uri, run_id, str(value)], stderr=subprocess.PIPE)
        for run_id, value in runs.items()
    ]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], errors
    assert runs[client.get_model_version_by_alias("reviews", CHAMPION).run_id] == 0.9
    assert len(client.search_model_versions("name = 'reviews'")) == 3


def test_a_try_is_never_registered(make_run, register, client):
    with pytest.raises(RegistryError, match=r"is a try(.|\n)*-> train it without debug"):
        register(make_run(**{"trainer.debug": "fast"}), 0.9)
    assert find_version(client, "reviews", CHAMPION) is None


def test_what_a_model_has_is_told_where_it_has_not_what_was_asked_for(make_run, register, client, project):
    for value in (0.9, 0.8):
        register(make_run(), value)
    client.delete_registered_model_alias("reviews", CHAMPION)
    has = r"name what it has: reviews@challenger \(version 2\), reviews/2, reviews/1"
    for name, version in ((CHAMPION, None), (CHAMPION, "7")):
        with pytest.raises(RegistryError, match=rf"no model reviews, (champion|version 7)(.|\n)*-> {has}"):
            fetch_registered(project.uri, "reviews", name, version)
    with pytest.raises(RegistryError, match="-> registered are reviews"):
        fetch_registered(project.uri, "other", CHAMPION, None)
    client.create_registered_model("empty")
    with pytest.raises(RegistryError, match="-> empty has no version"):
        fetch_registered(project.uri, "empty", CHAMPION, None)


@pytest.fixture
def uri(empty_store, tmp_path):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_an_evaluation_names_model_reviews_and_figures(uri, tmp_path):
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))
    trained = client.create_run(experiment, run_name="rnn").info.run_id
    page = tmp_path / "page" / "errors.html"
    page.parent.mkdir()
    page.write_text("page")
    metrics = {"accuracy": 0.75, "auroc": float("nan")}
    counts = {"learned": 3, "left_out": 2, "left_out_labels": 1}
    evaluated = record_evaluation(uri, trained, "/data/rev.csv", "d" * 32, metrics, [page], page.parent, **counts)
    run = client.get_run(evaluated)
    assert run.data.metrics == {"eval/accuracy": 0.75}
    assert run.data.tags["evaluation.of"] == trained
    assert [run.data.tags[f"evaluation.{name}"] for name in counts] == ["3", "2", "1"]
    assert (run.info.status, run.info.experiment_id) == ("FINISHED", experiment)
    assert run.inputs.dataset_inputs[0].dataset.digest == "d" * 32
    assert [file.path for file in client.list_artifacts(evaluated, "evaluation")] == ["evaluation/errors.html"]


def test_a_model_of_another_store_is_refused(uri, tmp_path):
    with pytest.raises(TrackingError, match="--tracking-uri"):
        record_evaluation(uri, "f" * 32, "rev.csv", "d", {}, [], tmp_path)


def test_an_evaluation_that_was_cut_off_is_done_again_and_counts_once(uri, tmp_path, monkeypatch):
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("e", artifact_location=str(tmp_path / "artifacts"))
    trained = client.create_run(experiment, run_name="rnn").info.run_id
    client.set_terminated(trained)

    def evaluate():
        return record_evaluation(uri, trained, "rev.csv", "d" * 32, {"accuracy": 0.75}, [], tmp_path)

    def fail(*arguments, **more):
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", fail)
        with pytest.raises(TrackingError, match=r"away\n  -> see .* can be written, or leave it: --no-log$"):
            evaluate()
    first, second = evaluate(), evaluate()
    assert first != second, "that one is an evaluation of its own"
    assert {run.info.run_id: run.info.status for run in client.search_runs([experiment])} == dict.fromkeys(
        [trained, first, second], "FINISHED"
    )

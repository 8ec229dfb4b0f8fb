"""The README's main command, word for word, and everything that it promises of the record."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys

import pytest
from mlflow import MlflowClient
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from sentiment.config.home import PROJECT_DIR
from sentiment.data.synthetic import SyntheticSource

pytestmark = pytest.mark.slow  # the whole main job, two models on 10,000 reviews

README = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")

PREDICT = """
import json, sys
import mlflow
import pandas as pd
uri, model, texts = json.loads(sys.argv[1])
mlflow.set_tracking_uri(uri)
answers = mlflow.pyfunc.load_model(model).predict(pd.DataFrame({"text": texts}))
print(json.dumps(answers.to_dict(orient="list")))
"""


def main_command() -> str:
    """The last part of the README's first command line, after the set-up."""
    [command] = re.findall(r"```bash\n.*pip install -e \. && (python run\.py .*)\n```", README)
    return command


@pytest.fixture(scope="module")
def finished(checkout):
    result = checkout.run_line(main_command())
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def runs(checkout, finished):
    client = MlflowClient(tracking_uri=checkout.store)
    experiment = client.get_experiment_by_name("sentiment")
    found = client.search_runs([experiment.experiment_id])
    [parent] = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.params["model.name"]: run for run in found if run.info.run_id != parent.info.run_id}
    return parent, children


def bag_of_words_accuracy() -> float:
    """Logistic regression on word counts, on the default data."""
    values = (PROJECT_DIR / "conf/data/synthetic.yaml").read_text()
    knobs = {
        name: json.loads(re.search(rf"^{name}: ([\d.]+)", values, re.M)[1])
        for name in ("train_size", "test_size", "min_sentences", "max_sentences", "difficulty", "label_noise")
    }
    raw = SyntheticSource(**knobs, generator_seed=0).load()
    counter = CountVectorizer()
    classifier = LogisticRegression(max_iter=1000).fit(counter.fit_transform(raw.train.texts), raw.train.labels)
    return classifier.score(counter.transform(raw.test.texts), raw.test.labels)


def test_the_output_says_what_the_data_is_and_ranks_both_models(finished):
    assert "synthetic reviews" in finished.stdout
    assert "data=imdb" in finished.stdout
    assert re.search(r"1 +\d +(rnn|transformer) .*\n2 +\d +(rnn|transformer) ", finished.stdout)
    assert "Traceback" not in finished.stderr
    assert "Warning" not in finished.stderr


def test_both_models_stay_clearly_above_the_bag_of_words_and_near_the_ceiling(runs):
    ceiling = bag_of_words_accuracy()
    print(f"bag of words: {ceiling:.3f}")
    assert ceiling < 0.8
    for child in runs[1].values():
        assert child.data.metrics["test/accuracy"] > ceiling + 0.1
        assert child.data.metrics["test/accuracy"] > 0.92


def test_one_parent_with_a_child_a_model(runs):
    parent, children = runs
    assert set(children) == {"transformer", "rnn"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    assert {run.info.status for run in [parent, *children.values()]} == {"FINISHED"}


def test_children_record_settings_metrics_and_tags(checkout, runs):
    client = MlflowClient(tracking_uri=checkout.store)
    for child in runs[1].values():
        assert child.data.params["optimizer.lr"] == "0.003"
        assert child.data.params["data.tokenizer.kind"] == "word"
        for split in ("val", "test"):
            assert {f"{split}/{name}" for name in ("loss", "accuracy", "f1", "auroc")} <= set(child.data.metrics)
        history = client.get_metric_history(child.info.run_id, "val/accuracy")
        epochs = client.get_metric_history(child.info.run_id, "epoch")
        assert len(history) >= 4
        assert {point.step for point in history} <= {point.step for point in epochs}
        assert {"git.commit", "overrides", "data.fingerprint", "version.torch", "device"} <= set(child.data.tags)


def test_artifacts_of_children_and_parent(checkout, runs):
    client = MlflowClient(tracking_uri=checkout.store)
    parent, children = runs
    assert {"ranking.csv", "comparison.png"} <= {item.path for item in client.list_artifacts(parent.info.run_id)}
    for child in children.values():
        assert {"confusion_matrix.png", "config"} <= {item.path for item in client.list_artifacts(child.info.run_id)}


def test_the_ranking_is_on_disk_too(checkout, runs):
    [table] = checkout.folder.glob("multirun/*/ranking.csv")
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert float(rows[0]["val/accuracy"]) >= float(rows[1]["val/accuracy"])


def test_the_model_answers_in_another_folder_without_the_checkout(checkout, runs, tmp_path):
    _, children = runs
    texts = ["The plot was not dull.", "The plot was dull.", "", "Ünïcode ✓"]
    request = json.dumps([checkout.store, f"runs:/{children['rnn'].info.run_id}/model", texts])
    done = subprocess.run(
        [sys.executable, "-I", "-c", PREDICT, request], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers["label"][:2] == ["positive", "negative"]
    for negative, positive in zip(answers["probability_negative"], answers["probability_positive"], strict=True):
        assert negative + positive == pytest.approx(1, abs=1e-5)

"""Promotion with real trainings: paused trials are seen as such everywhere, and survive a kill."""

from __future__ import annotations

import json
import signal
import time

import pytest
from mlflow import MlflowClient

from sentiment.search.study.history import read_study

pytestmark = pytest.mark.slow

STUDY = (
    "-m", "search=rnn", "hydra.sweeper.study_name=climb", "hydra/sweeper/pruner=promotion", "hydra.sweeper.n_trials=7",
    "hydra.sweeper.n_jobs=2", "trainer.patience=null", "model.depth=1",
)  # fmt: skip


def read_states(checkout):
    client = MlflowClient(checkout.store)
    (experiment,) = client.search_experiments(filter_string="name != 'Default'")
    runs = client.search_runs([experiment.experiment_id])
    return {int(run.data.tags["job"]): (run.info.status, run.data.tags) for run in runs if "job" in run.data.tags}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_study_that_is_stopped_between_pause_and_promotion_loses_and_repeats_nothing(fresh_checkout, tiny, sent):
    study_dir = fresh_checkout.folder / "multirun" / "climb"
    command = (*STUDY, *(option for option in tiny if "embedding_size" not in option and "depth" not in option))
    command = (*command, "model.embedding_size=8", "trainer.max_epochs=4")
    process = fresh_checkout.start(*command)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        time.sleep(0.5)
        if (study_dir / "journal.log").exists():
            trials = read_study(None, study_dir).trials
            if sum(trial.state == "paused" for trial in trials) >= 3:
                break
    process.send_signal(sent)
    output, errors = process.communicate(timeout=60)

    between = read_study(None, study_dir)
    paused = [trial.number for trial in between.trials if trial.state == "paused"]
    assert len(paused) >= 3, output + errors
    for number in paused:
        assert json.loads((study_dir / str(number) / "result.json").read_text())["status"] == "PAUSED"
        assert (study_dir / str(number) / "checkpoints" / "last.ckpt").exists()
    if sent == signal.SIGINT:  # what is noted is delivered on the way out
        states = read_states(fresh_checkout)
        assert {states[number][0] for number in paused} == {"SCHEDULED"}
        assert " paused" in (study_dir / "report" / "report.html").read_text()

    result = fresh_checkout.run(*command)
    assert result.returncode == 0, result.stdout + result.stderr
    after = read_study(None, study_dir)
    assert [trial.state for trial in after.trials].count("complete") >= 1
    assert {trial.state for trial in after.trials} == {"complete", "pruned"}
    assert len(after.trials) == 7
    states = read_states(fresh_checkout)
    for trial in after.trials:
        record = json.loads((study_dir / str(trial.number) / "result.json").read_text())
        epochs = [point["epoch"] for point in record["history"]]
        assert epochs == [float(epoch) for epoch in range(1, len(trial.intermediate) + 1)], "each epoch once"
        assert len(epochs) in (1, 3, 4)
        assert record["status"] == {"complete": "FINISHED", "pruned": "PRUNED"}[trial.state]
        status, tags = states[trial.number]
        assert (status, tags["trial.state"]) == ("FINISHED", trial.state.upper())
        assert not (study_dir / str(trial.number) / "checkpoints" / "last.ckpt").exists()


def test_a_population_trains_copies_on_from_checkpoints_and_says_so(fresh_checkout, tiny):
    study_dir = fresh_checkout.folder / "multirun" / "population"
    result = fresh_checkout.run(
        "-m", "search=rnn", "hydra.sweeper.study_name=population", "hydra/sweeper/pruner=population",
        "hydra.sweeper.pruner.quantile=0.5", "hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=1",
        *(option for option in tiny if "embedding_size" not in option and "depth" not in option),
        "trainer.patience=null", "model.embedding_size=8", "model.depth=1", "trainer.max_epochs=3",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    trials = read_study(None, study_dir).trials
    states = [trial.state for trial in trials]
    assert states.count("complete") == 4, "as many come to the end as there are in the population"
    assert len(trials) > 4, "some in the places of others"
    tags = read_states(fresh_checkout)
    for trial in trials[4:]:
        record = json.loads((study_dir / str(trial.number) / "result.json").read_text())
        origin = int(record["tags"]["trial.continues"])
        assert tags[trial.number][1]["trial.continues"] == str(origin)
        assert record["history"][0]["epoch"] > 1, "it began after its origin's checkpoint"
        settings = (
            json.loads((study_dir / str(n) / "result.json").read_text())["params"] for n in (origin, trial.number)
        )
        here, there = ({key: text for key, text in params.items() if key != "optimizer.lr"} for params in settings)
        assert here == there

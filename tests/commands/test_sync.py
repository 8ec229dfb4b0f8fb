"""``python -m sentiment sync`` says that all is delivered of what is for MLflow, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentiment.__main__ import main
from sentiment.config.home import PROJECT_DIR, read_portable
from sentiment.config.reference import read_option_file
from sentiment.errors import TrackingError
from sentiment.tracking import runs
from sentiment.tracking.outbox import Outbox
from sentiment.tracking.result_file import RESULT_FILE

OWN_DIRS = (runs.MULTIRUN_DIR, *runs.OTHER_DIRS)


@pytest.fixture(autouse=True)
def multirun(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "MULTIRUN_DIR", tmp_path / "multirun")
    monkeypatch.setattr(runs, "OTHER_DIRS", (tmp_path / "debug", tmp_path / "words"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "multirun"


def deliver(outbox: Outbox, uri: str = "sqlite:///x.db") -> None:
    outbox.note("tags", tags={})
    outbox.begin("0" * 32, uri)


def test_a_folder_without_records_for_mlflow_is_an_error_that_names_others(multirun, tmp_path):
    deliver(Outbox(multirun / "transformer" / "0"))
    (multirun / "transformer" / "0" / RESULT_FILE).write_text("{}")
    (tmp_path / "docs").mkdir()
    for name in ("docs", "transfromer", "no/such/folder"):
        with pytest.raises(TrackingError, match=rf"nothing for MLflow in {name}(?s:.)*\n  -> did you mean transformer"):
            main(["sync", name])


def test_a_name_under_multirun_is_found_also_where_a_folder_here_is_called_so(multirun, tmp_path, capsys):
    deliver(Outbox(multirun / "transformer" / "0"))
    (tmp_path / "transformer").mkdir()
    main(["sync", "transformer"])
    assert capsys.readouterr().out == "Everything is delivered.\n"


def test_a_store_that_nothing_goes_to_is_refused(multirun, tmp_path, capsys):
    x, y = (f"sqlite:///{tmp_path}/{name}.db" for name in "xy")
    deliver(Outbox(multirun / "a" / "0"), x)  # as it is noted, however it was typed
    deliver(Outbox(multirun / "b" / "0"), "http://mlflow.example:5000")
    for uri in (x, "sqlite:///x.db", "sqlite:///multirun/../x.db", "http://me@mlflow.example:5000"):
        main(["sync", "--tracking-uri", uri])
        assert capsys.readouterr().out == "Everything is delivered.\n"
    for typed, uri in (("sqlite:///y.db", y), *[("http://mlflow.example:6000",) * 2]):
        with pytest.raises(TrackingError, match=f"goes to {uri}: it is for http://mlflow.example:5000, {x}"):
            main(["sync", "--tracking-uri", typed])


def test_a_store_that_an_earlier_version_noted_as_it_was_typed_is_found(multirun, capsys):
    deliver(Outbox(multirun / "a" / "0"), "sqlite:///x.db")
    main(["sync", "--tracking-uri", "sqlite:///x.db"])
    assert capsys.readouterr().out == "Everything is delivered.\n"


def test_where_nothing_was_run_there_is_nothing_to_deliver(multirun, capsys):
    main(["sync"])
    assert f"no run for MLflow under {multirun}, " in capsys.readouterr().out
    with pytest.raises(TrackingError, match="\n  -> name the folder of a run or a sweep"):
        main(["sync", "docs"])


def test_runs_that_lie_elsewhere_in_the_project_are_delivered_too(multirun, tmp_path, capsys):
    """Words that were learned while the server was away, and runs of ``debug=...``."""
    deliver(Outbox(multirun / "a" / "0"))
    waiting = [Outbox(tmp_path / "debug" / "b"), Outbox(tmp_path / "words" / "c")]
    for outbox in waiting:
        outbox.note("tags", tags={})  # of no run: nothing is written anywhere for it
    main(["sync"])
    assert capsys.readouterr().out == "2 delivered.\n"
    assert all(outbox.is_delivered for outbox in waiting)


def test_a_sweep_that_lies_on_another_disk_behind_a_link_is_delivered_once(multirun, tmp_path, capsys):
    for folder in (tmp_path / "disk/0", multirun / "here"):
        Outbox(folder).note("tags", tags={})
    (multirun / "big").symlink_to(tmp_path / "disk")
    (multirun / "latest").symlink_to(multirun / "here")
    for said in ("2 delivered.\n", "Everything is delivered.\n"):
        main(["sync"])
        assert capsys.readouterr().out == said
    assert Outbox(tmp_path / "disk/0").is_delivered


def test_what_several_links_lead_to_is_delivered_once(multirun, tmp_path, capsys):
    for folder in (tmp_path / "disk/sub/0", multirun / "here"):
        Outbox(folder).note("tags", tags={})
    for name, target in (("a", "disk/sub"), ("b", "disk"), ("c", "disk"), ("up", "."), ("us", "multirun")):
        (multirun / name).symlink_to(tmp_path / target)
    main(["sync"])
    assert capsys.readouterr().out == "2 delivered.\n"


def test_a_link_in_the_folder_of_a_sweep_is_no_job_of_it(multirun, tmp_path, capsys):
    for folder in (multirun / "x/0", multirun / "y/5", tmp_path / "disk/6"):
        Outbox(folder).note("tags", tags={})
    (multirun / "x/start").symlink_to(multirun / "y/5")
    (multirun / "x/old").symlink_to(tmp_path / "disk/6")
    main(["sync", "x"])
    assert capsys.readouterr().out == "1 delivered.\n"
    assert not Outbox(multirun / "y/5").is_delivered


def test_every_place_that_conf_gives_a_run_is_delivered_from():
    places = set()
    for file in (PROJECT_DIR / "conf").rglob("*.yaml"):
        keys = ("hydra.run.dir", "hydra.sweep.dir", *(["cache_dir"] if file.parent.name == "pretrain" else []))
        settings = read_option_file(file).settings
        places |= {read_portable(settings[key]) for key in keys if key in settings}
    assert len(places) >= 4, places
    assert not [place for place in places if not any(Path(place).is_relative_to(own) for own in OWN_DIRS)]


def test_what_another_command_is_at_is_left_to_it(multirun, capsys):
    deliver(Outbox(multirun / "a" / "0"))
    busy = Outbox(multirun / "a" / "1")
    busy.note("tags", tags={})
    with busy.delivering():
        main(["sync", "a"])
    told = f"Another command is at work on {busy.folder}, and delivers it itself.\nEverything else is delivered.\n"
    assert capsys.readouterr().out == told

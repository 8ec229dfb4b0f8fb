"""The data behind a configuration has a name that changes with the data and with how it is read."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from sentiment.config.home import PROJECT_DIR
from sentiment.job import identify_data


def identify(file: Path, *overrides: str) -> str:
    with initialize_config_dir(str(PROJECT_DIR / "conf")):
        config = compose("config", ["data=files", f"data.path={file}", *overrides])
    with open_dict(config):
        config.hydra = {"runtime": {"cwd": str(file.parent)}}
    return identify_data(config)


def test_settings_that_hold_a_list_are_identified_too(tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\na,x\nb,y\n")
    names = [identify(file, *overrides) for overrides in ([], ["data.labels=[x,y]"], ["data.labels=[y,x]"])]
    assert len(set(names)) == 3
    assert identify(file, "data.labels=[x,y]") == names[1]


def test_other_content_has_another_name(tmp_path):
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text("text,label\na,x\nb,y\n")
    other.write_text("text,label\na,x\nc,y\n")
    assert identify(one) != identify(other)
    assert identify(one, "model=rnn", "data.batch_size=4") == identify(one), "no matter which model reads it"

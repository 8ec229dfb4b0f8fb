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


def test_data_that_is_split_otherwise_than_by_an_earlier_version_has_another_name(tmp_path):
    """A study would go on over two splits; one whose splits are what they were goes on."""
    names = {}
    for rare in (20, 3):
        rows = [f"review {n},{'x' if n < 20 else 'y'}" for n in range(20 + rare)]
        (tmp_path / f"{rare}.csv").write_text("\n".join(["text,label", *rows]) + "\n")
        names[rare] = identify(tmp_path / f"{rare}.csv", f"data.cache_dir={tmp_path}/cache")
    assert names[20].startswith("files:")
    assert "draw version" not in names[20]
    assert names[3].endswith(":draw version 2")

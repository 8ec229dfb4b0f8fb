"""What changes between or during commands: files that are edited, settings and spaces that differ."""

from __future__ import annotations

import shlex
import shutil

import pytest

pytestmark = pytest.mark.slow


def copy_app(study) -> None:
    """Give the study an application of its own, to edit."""
    shutil.copytree(study.app.parent, study.folder / "toy")
    study.app = study.folder / "toy" / "app.py"


def edit(study, old: str, new: str) -> None:
    path = study.folder / "toy" / "conf" / "config.yaml"
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))


def test_a_file_that_is_edited_during_a_study_changes_none_of_its_trials(study):
    copy_app(study)
    command = study.start(n_trials=4, seconds=0.3)
    study.wait_until(lambda: len(study.starts) == 1)
    edit(study, "accident: none", "accident: error")
    (study.folder / "toy" / "conf" / "shape" / "flat.yaml").write_text("name: bent\n")
    assert command.finish() == 0, command.output
    study.require_whole(4)
    assert study.states() == {"COMPLETE": 4}


def test_a_study_that_differs_is_not_gone_on_with_unless_told(study, is_one_screen):
    code, output = study.run(n_trials=2)
    assert code == 0, output
    code, output = study.run("noise=1.5", "x=interval(-4,5)", n_trials=3)
    assert code == 1
    assert "setting noise: stored 0.0, now 1.5" in output
    assert "space x" not in output, "the space may change"
    assert is_one_screen(output)
    assert study.states() == {"COMPLETE": 2}
    code, output = study.run("noise=1.5", "hydra.sweeper.allow_changes=true", n_trials=3)
    assert code == 0, output
    assert study.states() == {"COMPLETE": 3}


def test_a_file_that_was_edited_between_two_commands_is_a_change(study):
    copy_app(study)
    code, output = study.run(n_trials=1)
    assert code == 0, output
    edit(study, "noise: 0.0", "noise: 2.0")
    code, output = study.run(n_trials=2)
    assert code == 1
    assert "setting noise: stored 0.0, now 2.0" in output


def test_a_folder_holds_one_study(study):
    """Two would number their jobs alike, and write into the same folders."""
    assert study.run(n_trials=1)[0] == 0
    code, output = study.run("hydra.sweeper.study_name=other", n_trials=1)
    assert code == 1
    assert "holds the study 'study', and this one is other" in output
    assert "hydra.sweep.dir=FOLDER" in output
    assert "Traceback" not in output
    assert [number for number, _ in study.starts] == [0]


def test_a_study_in_a_renamed_folder_goes_on_as_it_is_told_to(study):
    """Where the folder's name follows from the study's, as in every search here."""
    named = f"hydra.sweep.dir={study.folder}/${{hydra.sweeper.study_name}}"
    assert study.run(named, "hydra.sweeper.study_name=study", n_trials=1)[0] == 0
    renamed = (study.folder / "study").rename(study.folder / "new name")
    code, output = study.run(named, "hydra.sweeper.study_name=new name", n_trials=2)
    assert code == 1
    remedy = shlex.split(output.rpartition("the one that is there: ")[2])[:2]
    code, output = study.run(named, *remedy, n_trials=2)
    assert code == 0, output
    assert [number for number, _ in study.starts] == [0, 1]
    assert not (study.folder / "study").exists()
    assert (renamed / "1").is_dir()

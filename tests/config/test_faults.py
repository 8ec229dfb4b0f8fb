"""Faults of config groups: the remedy is one that helps on this machine."""

from __future__ import annotations

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher

from sentiment.config.faults import LAUNCHER_EXTRAS, explain_unknown_option

ALL = ["basic", *LAUNCHER_EXTRAS]


@pytest.mark.parametrize(
    ("option", "there", "remedy"),
    [
        ("ray", ["basic"], "pip install -e '.[ray]' brings it; options: basic"),
        ("submitit_slurm", ["basic", "ray"], "pip install -e '.[submitit]' brings it; options: basic, ray"),
        ("pbs", ["basic"], "options: basic; pip install -e '.[joblib,ray,submitit]' brings others"),
        ("joblip", ALL, f"did you mean hydra/launcher=joblib? options: {', '.join(ALL)}"),
    ],
)
def test_a_launcher_that_is_not_installed_is_told_with_what_brings_it(option, there, remedy):
    assert explain_unknown_option("hydra/launcher", option, there).remedy == remedy


def test_every_launcher_with_an_extra_is_one_that_its_package_brings():
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="needs the launchers: pip install -e '.[dev]'")
    modules = {launcher.__module__ for launcher in Plugins.instance().discover(Launcher)}
    for extra in set(LAUNCHER_EXTRAS.values()):
        assert any(f"hydra_{extra}_launcher" in module for module in modules), extra

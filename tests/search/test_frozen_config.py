"""A study composes from files read once: an edit in mid-study changes nothing."""

from __future__ import annotations

import pytest
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode
from omegaconf import OmegaConf

from sentiment.search.application import freeze, freeze_loader

pytestmark = pytest.mark.usefixtures("_composed_anew")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "config.yaml").write_text("defaults: [_self_, model: small]\nrate: 1\n", encoding="utf-8")
    (tmp_path / "model" / "small.yaml").write_text("width: 8\n", encoding="utf-8")
    (tmp_path / "model" / "large.yaml").write_text("width: 64\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def context(folder):
    hydra = Hydra.create_main_hydra2("application", create_config_search_path(str(folder)))
    yield HydraContext(config_loader=hydra.config_loader, callbacks=Callbacks())
    GlobalHydra.instance().clear()


def compose(context, *overrides):
    return context.config_loader.load_configuration("config", list(overrides), run_mode=RunMode.RUN)


def test_an_edit_changes_nothing_after_the_first_reading(context, folder):
    frozen = freeze(context)
    before = compose(frozen)
    (folder / "config.yaml").write_text("defaults: [_self_, model: large]\nrate: 2\n", encoding="utf-8")
    (folder / "model" / "small.yaml").write_text("width: 9\n", encoding="utf-8")
    after = compose(frozen)
    assert (after.rate, after.model.width) == (before.rate, before.model.width) == (1, 8)


def test_a_file_that_is_deleted_is_still_known(context, folder):
    frozen = freeze(context)
    assert compose(frozen, "model=large").model.width == 64
    (folder / "model" / "large.yaml").unlink()
    assert compose(frozen, "model=large").model.width == 64


def test_the_context_that_was_frozen_stays_live(context, folder):
    freeze(context)
    compose(context)
    (folder / "model" / "small.yaml").write_text("width: 9\n", encoding="utf-8")
    assert compose(context).model.width == 9


def test_compositions_do_not_change_what_was_read(context):
    frozen = freeze(context)
    assert compose(frozen, "rate=3", "model.width=16", "+model.depth=2").model == {"width": 16, "depth": 2}
    again = compose(frozen)
    assert (again.rate, again.model) == (1, {"width": 8})


def test_an_unchanged_file_composes_as_without_freezing(context):
    frozen, live = compose(freeze(context), "model=large"), compose(context, "model=large")
    assert OmegaConf.to_yaml(frozen) == OmegaConf.to_yaml(live)  # text: ${now:...} changes from second to second


def test_an_edit_between_two_trials_changes_no_trial(sweep, folder):
    seen = []

    def edit(config):
        seen.append(config.model.width)
        (folder / "model" / "small.yaml").write_text("width: 9\n", encoding="utf-8")
        return float(config.rate)

    sweep("rate=choice(1,2,3)", "hydra/sweeper/sampler=grid", task=edit, config_dir=folder)
    assert seen == [8, 8, 8]


def test_a_loader_that_is_frozen_in_place_changes_no_more(context, folder):
    freeze_loader(context.config_loader)
    compose(context)
    (folder / "config.yaml").write_text("defaults: [_self_, model: large]\nrate: 2\n", encoding="utf-8")
    assert compose(context).rate == 1

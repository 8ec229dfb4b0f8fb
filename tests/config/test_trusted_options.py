"""Whatever can be chosen by name is trusted."""

from __future__ import annotations

import pytest

from sentiment.config.forbidden import TRUSTED
from sentiment.search.plugin.registration import PRUNERS, SAMPLERS


@pytest.mark.parametrize("name", [*PRUNERS, *SAMPLERS])
def test_every_pruner_and_sampler_of_the_engine_may_be_constructed(name):
    assert TRUSTED.fullmatch({**PRUNERS, **SAMPLERS}[name]._target_)
